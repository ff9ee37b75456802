"""`payment-infra smoke`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from payment_infra.cli.everywhere import everywhere
from payment_infra.cli.options import environment_options, method_option, output_option
from payment_infra.cli.views.output import note, print_json, print_table
from payment_infra.errors import PaymentInfraError, UsageError

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.smoke import Api, Check


@click.command("smoke")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Show every request and its answer.",
)
@click.option("--pay", is_flag=True, help="Charge at a real gateway, too: 100.50 USD.")
@method_option
@click.option(
    "--currency",
    default="USD",
    show_default=True,
    metavar="CODE",
    help="Currency of the payment, where the gateway does not take USD; it is one of 100 then.",
)
@output_option
@environment_options
@everywhere
def command(
    environment: Environment,
    verbose: bool,
    pay: bool,
    payment_method: str,
    currency: str,
    output: str,
) -> None:
    """Check a deployed stack with real requests.

    It records one payment of 100.50 USD for the customer smoke-check, and has it charged; where the
    gateway is a real one, only with --pay. Requests are signed with the AWS credentials if the API
    wants that. Exits 1 if anything is not as expected.

    \b
    Example:
      payment-infra smoke --suffix dev-001
    """
    api = environment.api()
    gateway = environment.gateway()
    run_checks(
        api,
        gateway,
        pay=pay,
        method=payment_method,
        currency=currency,
        verbose=verbose,
        output=output,
    )


def run_checks(
    api: Api,
    gateway: str,
    *,
    pay: bool,
    verbose: bool,
    method: str = "",
    currency: str = "USD",
    output: str = "text",
) -> None:
    """Run the checks and print them.

    Args:
        api: of the stack.
        gateway: the class of its payment gateway.
        pay: whether a real one is to charge.
        method: its token of what is charged.
        currency: of the payment.
        verbose: whether every request and its answer are shown.
        output: text or json.

    Raises:
        UsageError: the charge would have no payment method.
        PaymentInfraError: one of the checks failed.
    """
    from payment_infra.cloud.environment import smoke

    if lacking := smoke.lacks_method(gateway, pay=pay, method=method):
        raise UsageError(lacking)
    charge = smoke.charges(gateway, pay=pay)
    checks: list[Check] = []
    for check in smoke.run(api, charge=charge, method=method, currency=currency):
        if api.told and not checks:
            note(f"Warning: {api.told}")
        if told := smoke.currency_refused(check, currency):
            note(f"Warning: {told}")
        checks.append(check)
        if verbose or not check.passed:
            note(_conversation(api.url, check))
    if output == "json":
        print_json([_document(check) for check in checks])
    else:
        print_table(
            ("check", "expected", "got", "ms", ""),
            [
                (
                    check.name,
                    check.expected,
                    check.got,
                    f"{check.answer.milliseconds:.0f}",
                    _mark(check),
                )
                for check in checks
            ],
        )
    if not charge:
        note(f"Warning: {smoke.not_tried(gateway)}")
    failed = sum(not check.passed for check in checks)
    if failed:
        raise PaymentInfraError(f"{failed} of {len(checks)} checks failed at {api.url}")


def _conversation(url: str, check: Check) -> str:
    request = f"{check.verb} {url}{check.path} {check.request}".rstrip()
    return f"{request}\n{check.answer.status} {_readable(check.answer.body)}\n"


def _readable(body: object) -> str:
    """Return a JSON object with a line for each field, and for each entry of a list in it."""
    if not isinstance(body, dict):
        return json.dumps(body)
    fields = []
    for name, value in body.items():
        if isinstance(value, list):
            entries = ",".join(f"\n    {json.dumps(entry)}" for entry in value)
            fields.append(f"{json.dumps(name)}: [{entries}\n  ]")
        else:
            fields.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n  " + ",\n  ".join(fields) + "\n}"


def _document(check: Check) -> dict[str, object]:
    return {
        "check": check.name,
        "expected": check.expected,
        "got": check.got,
        "milliseconds": round(check.answer.milliseconds, 1),
        "passed": check.passed,
    }


def _mark(check: Check) -> str:
    return "ok" if check.passed else "FAILED"
