"""`payment-infra doctor`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.app import App
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import (
    CONFIG_FLAGS,
    aws_flags,
    config_flags,
    connect,
    entered_flags,
    output_option,
)
from payment_infra.cli.views.output import print_json
from payment_infra.errors import PaymentInfraError, UnknownProfile, UnknownRegion

if TYPE_CHECKING:
    from payment_infra.checks import Check


@click.command("doctor")
@output_option
@config_flags("suffix")
@aws_flags
@everywhere
@click.pass_context
def command(ctx: click.Context, /, output: str, **flags: Any) -> None:
    """Check this machine and the access to AWS; changes nothing.

    Python, settings, payment gateway, credentials, clock, bucket, and what may be
    called. A warning or a failure says how to mend it. Exits 1 on a failure.

    \b
    Example:
      payment-infra doctor
      payment-infra doctor --suffix dev-001 --profile payments
    """
    from payment_infra.cli.views.doctor import draw

    width = shutil.get_terminal_size().columns
    found = []
    for check in _checks(ctx.ensure_object(App), **flags):
        found.append(check)
        if output == "text":
            click.echo(draw(check, width))
    if output == "json":
        print_json([asdict(check) for check in found])
    if failed := [check.name for check in found if check.level == "fail"]:
        raise PaymentInfraError(f"failed: {', '.join(failed)}")


def _checks(
    app: App, config: Path | None, endpoint_url: str | None, **flags: str | None
) -> Iterator[Check]:
    from payment_infra.checks import Check, not_checked
    from payment_infra.doctor.machine import check_gateway, check_machine, check_settings

    yield from check_machine()
    settings, resolved = check_settings(flags, os.environ, config)
    yield settings
    yield not_checked("gateway") if resolved is None else check_gateway(resolved.config)
    try:
        from payment_infra.config import StackConfig
        from payment_infra.doctor.access import check_access
        from payment_infra.place import entered_place

        place = resolved.place if resolved else entered_place(flags)
        session = connect(app, place, endpoint_url)
        session.flags = f"{entered_flags(*CONFIG_FLAGS)} {session.flags}".strip()
    except PaymentInfraError as error:
        names = {UnknownRegion: "region", UnknownProfile: "profile"}
        name = names.get(type(error), "AWS configuration")
        yield Check.told(name, "fail", str(error), "see --profile and --region")
        yield not_checked("what needs AWS")
        return
    except ImportError as error:
        yield Check("imports", "fail", str(error), "install payment-infra anew")
        yield not_checked("what needs AWS")
        return
    yield from check_access(
        session.quick(),
        resolved.config if resolved else StackConfig(),
        lambda: datetime.now(UTC),
        place.stack_name,
    )
