"""`payment-infra deploy`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.everywhere import entered, everywhere
from payment_infra.cli.option_types import Span
from payment_infra.cli.options import (
    MAX_TIMEOUT_MINUTES,
    allow_option,
    aws_options,
    config_options,
    names_of,
    output_option,
    require_suffix,
    skip_option,
    stack_name_option,
    stack_of,
    take_over_option,
    yes_option,
)
from payment_infra.cli.sections import Sectioned
from payment_infra.cli.streams import sheltered
from payment_infra.cli.views.terminal import at_terminal
from payment_infra.errors import UsageError

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.sources import Resolved

ALLOWABLE = ("broaden", "open", "replace", "gateway", "live-key", "test-key")
CHECKS = ("template", "bucket", "names", "table", "key", "quotas", "secret")


def _pairs(ctx: click.Context, _: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in value]
    if not all(name and separator for name, separator, _ in pairs):
        raise click.BadParameter("must be NAME=VALUE", ctx=ctx)
    return {name: text for name, _, text in pairs}


def _policy(ctx: click.Context, _: click.Parameter, value: Path | None) -> str | None:
    from payment_infra.texts import read_json_object

    return None if value is None else read_json_object(value)


@click.command("deploy", cls=Sectioned)
@click.option("--no-execute", is_flag=True, help="Leave the change set, and print its name.")
@click.option("--change-set", metavar="NAME", help="Execute a change set that was left.")
@partial(
    allow_option,
    names=ALLOWABLE,
    help_text=(
        "Let it broaden IAM, open the API, or replace what holds data, without a question; change "
        "the gateway while payments are in flight; charge with a live key outside production, or "
        "a test key in it: broaden, open, replace, gateway, live-key, test-key."
    ),
)
@click.option("--detach", is_flag=True, help="Return as soon as the execution has begun.")
@click.option("--force", is_flag=True, help="Make a change set though nothing seems changed.")
@click.option("--at-once", is_flag=True, help="Give new versions all requests, without a canary.")
@click.option("--no-rollback", is_flag=True, help="Keep what was made if the deployment fails.")
@click.option(
    "--wait/--no-wait", default=None, help="Wait for another operation on the stack, or give up."
)
@skip_option
@click.option("--role-arn", metavar="ARN", help="Role that CloudFormation works with.")
@click.option(
    "--notification-arn",
    "notification_arns",
    multiple=True,
    metavar="ARN",
    help="Topic that gets the stack's events.",
)
@click.option(
    "--stack-policy",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_policy,
    help="Stack policy, as JSON.",
)
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_pairs,
    help="Value of a template parameter.",
)
@click.option(
    "--import-existing-resources",
    "import_existing",
    is_flag=True,
    help="Bring back an environment whose stack is gone, over what it has kept.",
)
@click.option(
    "--timeout",
    "timeout_minutes",
    type=Span(min=0, min_open=True, max=MAX_TIMEOUT_MINUTES),
    metavar="MINUTES",
    help="Cancel the operation after this time.",
)
@click.option("--strict", is_flag=True, help="Let a warning of the checks end the deployment.")
@click.option(
    "--skip-check",
    "skip_checks",
    multiple=True,
    metavar=",".join(CHECKS),
    callback=names_of(CHECKS),
    help="Leave out a check before the deployment.",
)
@take_over_option
@config_options()
@stack_name_option
@output_option
@partial(yes_option, others="--allow answers")
@aws_options
@everywhere
@sheltered()
def command(
    session: Session,
    resolved: Resolved,
    output: str,
    no_execute: bool,
    no_rollback: bool,
    notification_arns: tuple[str, ...],
    timeout_minutes: float | None,
    **options: Any,
) -> None:
    """Create or update the stack.

    Shows what will change, asks, and shows it happen. Prints the stack's outputs. Without a bucket,
    the account's own is used, and made the first time.

    \b
    Example:
      payment-infra deploy --suffix dev-001
    """
    require_suffix(resolved)
    if no_execute and options["change_set"] is not None:
        raise UsageError("--no-execute leaves a change set, and --change-set executes one")
    if options["import_existing"] and (no_execute or options["change_set"] is not None):
        raise UsageError(
            "--import-existing-resources takes an import and an update, and --no-execute and "
            "--change-set are about one change set; leave them out: each is shown, and "
            "asked about, before it changes anything"
        )
    fixed = options["parameters"] or options["role_arn"] or notification_arns
    if (fixed or options["at_once"]) and options["change_set"] is not None:
        raise UsageError(
            "--change-set: a change set has its parameters, role and topics already; leave out "
            "--parameter, --at-once, --role-arn and --notification-arn"
        )
    if timeout_minutes is not None and options["detach"]:
        raise UsageError(
            "--timeout cancels a deployment that is followed, and --detach follows none; leave one "
            "of them out"
        )
    from payment_infra.cloud.deploying.deployment import Deployment
    from payment_infra.cloud.deploying.options import DeployOptions

    stack = stack_of(session, resolved)
    chosen = DeployOptions(
        execute=not no_execute,
        rollback=not no_rollback,
        notification_arns=notification_arns or None,
        timeout_seconds=None if timeout_minutes is None else timeout_minutes * 60,
        command=entered(),
        **options,
    )
    with at_terminal(stack.name, output) as operator:
        operator.tell(Deployment(session, stack, resolved, chosen, operator).run())
