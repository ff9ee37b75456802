"""`payment-infra health`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import environment_options, output_option
from payment_infra.cli.views.output import note, print_json, print_table
from payment_infra.errors import AwsError, PaymentInfraError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.smoke import Answer

FIELDS = ("status", "metric", "value", "threshold", "resource")


@click.command("health")
@output_option
@environment_options
@everywhere
def command(environment: Environment, output: str) -> None:
    """Ask the API how it is.

    Calls GET /health, as a load balancer does, signed if the API wants that. Where the API is out
    of reach, or tells no names, the function behind it is asked. Exits 1 unless it is healthy.

    \b
    Example:
      payment-infra health --suffix dev-001
    """
    from payment_infra.cloud.environment.smoke import unhealthy

    api = environment.api()
    answer = api.call("GET", "health")
    if api.told:
        note(f"Warning: {api.told}")
    report = _report(api.url, answer, environment.command("logs health"))
    if "checks" not in report:
        note("the API tells no names, so the checks are from the function behind it")
        answer = environment.functions().call("GET", "health")
        report = _report(api.url, answer, environment.command("logs health"))
    if output == "json":
        print_json(report)
    else:
        print_checks(report["checks"])
    if report["overall_status"] != "healthy":
        raise PaymentInfraError(f"{report['overall_status']}: {', '.join(unhealthy(report))}")


def print_checks(checks: Sequence[Mapping[str, object]]) -> None:
    """Print a table of the checks; the resource, which may be long, comes last."""
    print_table(FIELDS, [[_cell(check.get(field)) for field in FIELDS] for check in checks])


def _report(url: str, answer: Answer, logs: str) -> Any:
    if answer.status == 0:
        raise AwsError(f"{url}health: no answer: {answer.body}")
    if answer.status != 200 or answer.field("overall_status") is None:
        raise AwsError(f"{url}health: {answer.status} {answer.told}; see `{logs}`")
    return answer.body


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
