"""Orders about one payment to the stack's payment-retry: it has the gateway's class and secret."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.foreign import escaped, parsed
from payment_infra.names import RETRY_FUNCTION

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

# The function's name for an order, in the event and in what it answers.
ORDER = "by_hand"
# Why it has not done what it was asked for, and what to do next, by its code of that; `about` says
# more, and `cancel` and `settle` are the commands.
REFUSALS: Mapping[str, str] = {
    "not_found": "there is no such payment",
    "held": "an attempt has it for another {about} s at most; repeat the command then",
    "validated": "it is validated, and no gateway was asked for it; `{cancel}` cancels it",
    "settled": "it is {about} already",
    "changed": (
        "it, or what the gateway says of it, has changed meanwhile; nothing was written, repeat "
        "the command"
    ),
    "unknown": (
        "the gateway cannot tell whether it was charged; ask whoever runs it, by the transaction "
        "id, then `{settle} --charged REFERENCE`, or --not-charged"
    ),
    "known": "the gateway itself can tell; leave out --charged and --not-charged",
    "open": (
        "it can still be paid at the gateway, and nothing was written; POST /process goes on with "
        "it, `{cancel}` ends it"
    ),
    "pending": (
        "the gateway waits for its customer or a bank, and nothing was written; `{cancel}` ends it"
    ),
    "not_cancelable": (
        "the gateway does not cancel it now; `{settle}` writes what it says, once it has ended"
    ),
    "in_one_step": (
        "its gateway charges in one step, and has nothing to cancel; `{settle}` writes what it says"
    ),
    "other_gateway": (
        "it is of another gateway, account or mode (its {about} says so), which alone can tell of "
        "it; deploy that once more, then repeat the command, or ask whoever runs it, by the "
        "transaction id, then `{settle} --charged REFERENCE`, or --not-charged"
    ),
    "gateway_payment_mismatched": (
        "what the gateway has is not this payment: its {about} is another; compare its records "
        "with the row"
    ),
    "not_an_order": (
        "payment-retry is of another release, and does not take this order ({about}); `{deploy}` "
        "brings it up to date"
    ),
    "row_unreadable": "its row is not as a payment's is ({about}); mend that first",
}


def give(environment: Environment, do: str, transaction_id: str, **more: object) -> dict[str, Any]:
    """Give an order about a payment, and return what the function says.

    Args:
        environment: whose.
        do: ask, settle or cancel.
        transaction_id: of the payment.
        more: what else the order has (handlers/shared/orders.py).

    Raises:
        AwsError: the function cannot be invoked, knows no orders, or has failed.
        PaymentInfraError: it has refused; the text says why, and what to do next.
    """
    target = environment.invoked(RETRY_FUNCTION)
    name = target["FunctionName"]
    event = {ORDER: {"do": do, "transaction_id": transaction_id, **more}}
    with translated(f"function {name}"):
        answer = environment.client("lambda").invoke(**target, Payload=json.dumps(event).encode())
        text = answer["Payload"].read().decode("utf-8", "replace")
    match parsed(text):
        case {"by_hand": {"refused": {"code": str(code), "about": str(about)}}}:
            raise refusal(environment, transaction_id, code, about)
        case {"by_hand": dict(told)}:
            return dict(told)
    logs = environment.command("logs retry")
    raise AwsError(
        f"function {name}: it failed, or is of a release that takes no orders; `{logs}` has what "
        f"it says, `{environment.command('deploy')}` brings it up to date"
    )


def refusal(
    environment: Environment, transaction_id: str, code: str, about: str = ""
) -> PaymentInfraError:
    """Return why nothing is done about a payment, by the function's code of that."""
    told, named = f"payment {transaction_id}: ", shlex.quote(transaction_id)
    if code in REFUSALS:
        return PaymentInfraError(
            told
            + REFUSALS[code].format(
                about=escaped(about),
                cancel=environment.command(f"payment cancel {named}"),
                deploy=environment.command("deploy"),
                settle=environment.command(f"payment settle {named}"),
            )
        )
    why = " ".join(filter(None, (escaped(code), about and f"({escaped(about)})")))
    return PaymentInfraError(
        f"{told}{why}; repeat the command, `{environment.command('logs retry')}` has what the "
        "function says"
    )
