"""`payment-infra render`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.artifacts import code_keys
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import config_options
from payment_infra.cli.views.output import note, print_data
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.files import read_text, write_file
from payment_infra.rendering import FORMATS, render
from payment_infra.template import build_template

if TYPE_CHECKING:
    from payment_infra.sources import Resolved


@click.command("render")
@config_options()
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="[default: from FILE's name, else yaml]"
)
@click.option("-o", "--out", metavar="FILE", default="-", help="Where to write; - is stdout.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 with a diff if FILE is stale.")
@everywhere
def command(resolved: Resolved, form: str | None, out: str, check: bool) -> None:
    """Write the CloudFormation template; offline.

    The template is the same, byte for byte, for the same configuration and handlers. With --suffix
    and --bucket their values become the parameters' defaults.

    \b
    Example:
      payment-infra render --suffix dev-001 --bucket my-zips -o template.yaml
    """
    form = form or ("json" if out.endswith(".json") else "yaml")
    text = render(build_template(resolved.config, code_keys()), form)
    if check:
        _check(out, text)
    elif out == "-":
        print_data(text)
    else:
        write_file(Path(out), text.encode())
        note(f"wrote {out} ({len(text.encode())} bytes)")


def _check(path: str, text: str) -> None:
    if path == "-":
        raise UsageError("--check compares with a file; name it with -o FILE")
    try:
        found = read_text(Path(path))
    except OSError as error:
        raise PaymentInfraError(f"{path}: cannot be read ({error.strerror})") from error
    if found == text:
        note(f"{path} is up to date")
        return
    diff = difflib.unified_diff(
        found.splitlines(keepends=True), text.splitlines(keepends=True), path, "rendered"
    )
    click.echo("".join(diff), nl=False)
    raise PaymentInfraError(f"{path} is stale; render it again without --check")
