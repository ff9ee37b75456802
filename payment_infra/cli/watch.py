"""`payment-infra watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import (
    aws_options,
    config_options,
    output_option,
    stack_name_option,
    stack_of,
)
from payment_infra.cli.views.output import note
from payment_infra.cli.views.terminal import at_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved


@click.command("watch")
@config_options("suffix")
@stack_name_option
@output_option
@aws_options
@everywhere
def command(session: Session, resolved: Resolved, output: str) -> None:
    """Show the operation in progress on the stack.

    From its start to its end. Exits with 3 if it fails or is rolled back. Ctrl-C stops the showing,
    not the operation.

    \b
    Example:
      payment-infra watch --suffix dev-001
    """
    from payment_infra.cloud.stacks import intervention

    stack = stack_of(session, resolved)
    with at_terminal(stack.name, output) as operator:
        result = intervention.watch(stack, operator, lambda: _sources(resolved))
        if result.changed or output == "json":
            operator.tell(result)
        else:
            note(f"{stack.name}: {result.status}, and no operation is in progress")


def _sources(resolved: Resolved) -> Mapping[str, str]:
    """Return by logical id which module builds a resource; only a failure needs it."""
    from payment_infra.artifacts import code_keys
    from payment_infra.combinations import conflicts
    from payment_infra.config import PRESETS
    from payment_infra.template import sources

    # The stack may have been made with another preset than the one that is named here.
    found: dict[str, str] = {}
    for preset in PRESETS:
        config = resolved.on(preset).config
        if not any(conflicts(config)):
            found |= sources(config, code_keys())
    return found
