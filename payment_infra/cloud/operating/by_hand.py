"""Orders to the stack's payment-retry, which has the gateway's class and secret: about one payment,
or for a page of the gateway's list."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError, PaymentInfraError
from payment_infra.foreign import escaped, parsed
from payment_infra.moments import iso
from payment_infra.names import RETRY_FUNCTION

if TYPE_CHECKING:
    from datetime import datetime

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
    "not_listing": (
        "the stack's payment gateway does not list its payments, so none can be compared with it"
    ),
    "row_unreadable": "its row is not as a payment's is ({about}); mend that first",
}


class Refused(PaymentInfraError):
    """The function does not do what it was asked for; code is its own word for why, and about what
    of the payment that is."""

    def __init__(self, text: str, code: str, about: str) -> None:
        super().__init__(text)
        self.code, self.about = code, about


def give(environment: Environment, do: str, transaction_id: str, **more: object) -> dict[str, Any]:
    """Give an order about a payment, and return what the function says.

    Args:
        environment: whose.
        do: ask, settle or cancel.
        transaction_id: of the payment.
        more: what else the order has (handlers/shared/orders.py).

    Raises:
        AwsError: the function cannot be invoked, knows no orders, or has failed.
        Refused: it has refused; the text says why, and what to do next.
    """
    answer = _answer(environment, {"do": do, "transaction_id": transaction_id, **more})
    match answer:
        case {"refused": {"code": str(code), "about": str(about)}}:
            raise refusal(environment, transaction_id, code, about)
    return answer


def give_list(
    environment: Environment, since: datetime, until: datetime, cursor: str | None
) -> dict[str, Any]:
    """Return a page of what the gateway has made from `since` until before `until`; `cursor` is
    that of the page before (handlers/shared/listing.py).

    Raises as `give` does.
    """
    moments = {"since": iso(since), "until": iso(until)}
    answer = _answer(environment, {"do": "list", **moments, "cursor": cursor})
    match answer:
        case {"refused": {"code": str(code), "about": str(about)}}:
            raise refusal(environment, None, code, about)
        case {"payments": list(), "cursor": None | str(), "marks": dict()}:
            return answer
    raise _failed(environment)


def _answer(environment: Environment, order: dict[str, object]) -> dict[str, Any]:
    """Return what the function says to an order."""
    target = environment.invoked(RETRY_FUNCTION)
    with translated(f"function {target['FunctionName']}"):
        answer = environment.client("lambda").invoke(
            **target, Payload=json.dumps({ORDER: order}).encode()
        )
        text = answer["Payload"].read().decode("utf-8", "replace")
    match parsed(text):
        case {"by_hand": dict(told)}:
            return dict(told)
    raise _failed(environment)


def _failed(environment: Environment) -> AwsError:
    name = environment.invoked(RETRY_FUNCTION)["FunctionName"]
    logs = environment.command("logs retry")
    return AwsError(
        f"function {name}: it failed, or is of a release that takes no orders; `{logs}` has what "
        f"it says, `{environment.command('deploy')}` brings it up to date"
    )


def refusal(
    environment: Environment, transaction_id: str | None, code: str, about: str = ""
) -> Refused:
    """Return why nothing is done about a payment, or no list is had, by the function's code of
    that."""
    if transaction_id is None:
        told, named = "the gateway's list: ", ""
    else:
        told, named = f"payment {transaction_id}: ", shlex.quote(transaction_id)
    if code in REFUSALS:
        return Refused(
            told
            + REFUSALS[code].format(
                about=escaped(about),
                cancel=environment.command(f"payment cancel {named}"),
                deploy=environment.command("deploy"),
                settle=environment.command(f"payment settle {named}"),
            ),
            code,
            about,
        )
    why = " ".join(filter(None, (escaped(code), about and f"({escaped(about)})")))
    return Refused(
        f"{told}{why}; repeat the command, `{environment.command('logs retry')}` has what the "
        "function says",
        code,
        about,
    )
