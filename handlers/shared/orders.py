"""Orders from whoever may invoke payment-retry, about one payment, or for a list of them: what they
are, and answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from handlers.shared.aws import logs
from handlers.shared.failures import DependencyFailed, error_code
from handlers.shared.fields import InvalidField, parse_transaction_id
from handlers.shared.flaws import Flawed
from handlers.shared.gateway import Charged, NotCharged
from handlers.shared.known import NotDone

if TYPE_CHECKING:
    from handlers.shared.by_hand import Hand
    from handlers.shared.known import Told


def carry_out(order: object, open_hand: Callable[[], Hand]) -> Told:
    """Carry an order out; return its transaction_id with what came of it, or why nothing did.

    An order has `do`, which is ask, settle or cancel, and `transaction_id`. To settle takes
    `agreed`, too, and maybe `known`: the gateway's `reference` of a capture, null for none. To ask
    and to settle may have `capture`: the gateway's id of a listed capture. To list takes no
    transaction_id, but since, until and cursor (see `listing.page`).
    """
    told: Told = {}
    try:
        fields = cast("Mapping[str, object]", order if isinstance(order, Mapping) else {})
        if fields.get("do") == "list":
            from handlers.shared import listing  # which no other order needs

            hand = open_hand()
            since, until, cursor = (fields.get(name) for name in ("since", "until", "cursor"))
            return listing.page(hand.gateway, since, until, cursor, hand.deadline)
        transaction_id = parse_transaction_id(fields.get("transaction_id"))
        told["transaction_id"] = transaction_id
        hand = open_hand()
        match fields:
            case {"do": "ask"}:
                told |= hand.ask(transaction_id, _capture(fields))
            case {"do": "cancel"}:
                told |= hand.cancel(transaction_id)
            case {"do": "settle", "agreed": agreed, "known": {"reference": str(reference)}}:
                told |= hand.settle(transaction_id, agreed, Charged(reference))
            case {"do": "settle", "agreed": agreed, "known": {"reference": None}}:
                told |= hand.settle(transaction_id, agreed, NotCharged())
            case {"do": "settle", "agreed": agreed, **rest} if "known" not in rest:
                told |= hand.settle(transaction_id, agreed, capture=_capture(fields))
            case _:
                raise NotDone("not_an_order", fields.get("do"))
    except InvalidField as invalid:
        told["refused"] = {"code": "not_an_order", "about": invalid.field}
    except NotDone as refusal:
        told["refused"] = {"code": refusal.code, "about": refusal.about}
    except Flawed as flaw:
        told["refused"] = {"code": flaw.reason, "about": flaw.attribute}
    except DependencyFailed as failure:
        told["refused"] = {"code": failure.reason, "about": failure.code}
    except Exception as error:  # noqa: BLE001
        logs.unexpected(error)
        told["refused"] = {"code": "unforeseen", "about": error_code(error)}
    return told


def _capture(fields: Mapping[str, object]) -> str | None:
    capture = fields.get("capture")
    if not isinstance(capture, str | None) or capture == "":
        raise NotDone("not_an_order", "capture")
    return capture
