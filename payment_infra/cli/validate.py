"""`payment-infra validate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from payment_infra.cli.app import App
from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import config_options, connect, output_option, region_option
from payment_infra.cli.sections import Sectioned
from payment_infra.cli.views.output import note, print_json
from payment_infra.errors import PaymentInfraError, UnknownRegion

if TYPE_CHECKING:
    from payment_infra.sources import Resolved


@click.command("validate", cls=Sectioned)
@click.argument("file", required=False)
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@config_options()
@region_option
@output_option
@everywhere
def command(resolved: Resolved, file: str | None, strict: bool, output: str) -> None:
    """Check a template with cfn-lint.

    Without FILE it is the template as it would be rendered. It is checked for the region in use.

    \b
    Example:
      payment-infra validate --strict template.yaml
    """
    from payment_infra.linting import lint, lint_file

    region = _region(resolved)
    if file:
        findings = lint_file(file, [region])
    else:
        from payment_infra.artifacts import code_keys
        from payment_infra.rendering import render
        from payment_infra.template import build_template

        template = build_template(resolved.config, code_keys(config=resolved.config))
        findings = lint(render(template, "json"), [region])

    subject = file or "the rendered template"
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    if output == "json":
        print_json([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            place = f"{finding.path}  (line {finding.line})"
            click.echo(f"{finding.level}  {finding.rule}  {place}\n  {finding.message}")
    if errors or (strict and warnings):
        raise PaymentInfraError(f"{subject}: {errors} errors, {warnings} warnings")
    note(f"{subject}: no errors, {warnings} warnings in {region}")


def _region(resolved: Resolved) -> str:
    """Return the region that `deploy` would go to, or else the default one.

    What needs no AWS needs no profile either, and cfn-lint knows no region that is new.
    """
    from payment_infra.cloud.sdk.configuration import DEFAULT_REGION
    from payment_infra.linting import is_known

    try:
        app = click.get_current_context().ensure_object(App)
        region = resolved.place.region or connect(app, resolved.place, None).region
    except UnknownRegion:
        raise
    except PaymentInfraError as error:  # whatever is wrong with the AWS configuration
        problem = str(error)
    else:
        if is_known(region):
            return region
        problem = f"cfn-lint does not know {region}"
    note(f"{problem}; the template is checked for {DEFAULT_REGION}")
    return DEFAULT_REGION
