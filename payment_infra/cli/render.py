"""`payment-infra render`."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from payment_infra.artifacts import code_keys
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import config_options, out_option
from payment_infra.cli.sections import Sectioned
from payment_infra.cli.views.output import note, print_data
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.files import write_file
from payment_infra.names import ARTIFACT_BUCKET, ENVIRONMENT_SUFFIX, STACK_NAME_PREFIX
from payment_infra.rendering import FORMATS, MAX_BODY_BYTES, render
from payment_infra.template import build_template
from payment_infra.texts import read_text

if TYPE_CHECKING:
    from payment_infra.sources import Resolved


@click.command("render", cls=Sectioned)
@config_options()
@click.option(
    "--format", "form", type=click.Choice(FORMATS), help="[default: from FILE's name, else yaml]"
)
@out_option("out", "Where to write; - is stdout.", default="-")
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
    text = render(build_template(resolved.config, code_keys(config=resolved.config)), form)
    if check:
        _check(out, text)
    elif out == "-":
        print_data(text)
    else:
        write_file(Path(out), text.encode())
        note(f"wrote {out} ({len(text.encode())} bytes)")
    if not check and len(text.encode()) > MAX_BODY_BYTES:
        note(
            f"CloudFormation takes more than {MAX_BODY_BYTES:,} bytes through a bucket only; the "
            f"AWS CLI does that: {_deploy_command(resolved, out)}"
        )


def _deploy_command(resolved: Resolved, out: str) -> str:
    """Return the AWS CLI's command that deploys a large template that was written to a file."""
    config, place = resolved.config, resolved.place
    suffix, bucket = config.suffix or "SUFFIX", config.bucket or "BUCKET"
    name = place.stack_name or f"{STACK_NAME_PREFIX}-{suffix}"
    words = [
        *("aws", "cloudformation", "deploy", "--template-file", "FILE" if out == "-" else out),
        *("--s3-bucket", bucket, "--stack-name", name, "--capabilities", config.capability),
        *(("--region", place.region) if place.region else ()),
        *(("--profile", place.profile) if place.profile else ()),
        *("--parameter-overrides", f"{ENVIRONMENT_SUFFIX}={suffix}"),
        f"{ARTIFACT_BUCKET}={bucket}",
    ]
    return shlex.join(words)


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
