"""`payment-infra health`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import environment_options, output_option
from payment_infra.cli.output import print_json, print_table
from payment_infra.errors import AwsError, PaymentInfraError

if TYPE_CHECKING:
    from payment_infra.cloud.operations.environment import Environment
    from payment_infra.cloud.smoke import Answer

FIELDS = ("service", "metric", "value", "threshold", "status")


@click.command("health")
@output_option
@environment_options
@everywhere
def command(environment: Environment, output: str) -> None:
    """Ask the API how it is.

    Calls GET /health, as a load balancer does. Exits 1 unless it is healthy.

    \b
    Example:
      payment-infra health --suffix dev-001
    """
    api = environment.api()
    answer = api.call("GET", "health")
    report = _report(api.url, answer)
    if output == "json":
        print_json(report)
    else:
        print_table(
            FIELDS, [[_cell(check.get(field)) for field in FIELDS] for check in report["checks"]]
        )
    if report["overall_status"] != "healthy":
        unhealthy = [one["metric"] for one in report["checks"] if one.get("status") == "unhealthy"]
        raise PaymentInfraError(f"{report['overall_status']}: {', '.join(unhealthy)}")


def _report(url: str, answer: Answer) -> Any:
    if answer.status == 0:
        raise AwsError(f"{url}health: no answer ({answer.body}); is the stack deployed whole?")
    if answer.status != 200 or answer.field("overall_status") is None:
        told = answer.field("message") or answer.body
        raise AwsError(f"{url}health: {answer.status} {told}; see `payment-infra logs health`")
    return answer.body


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
