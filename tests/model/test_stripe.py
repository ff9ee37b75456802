"""Payments at Stripe's stand-in: at most one capture, and the right row, whatever goes wrong."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import count, permutations
from typing import TYPE_CHECKING

import pytest

from handlers.shared.aws import metrics
from handlers.shared.stripe import StripeGateway
from handlers.shared.stripe_http import HttpAnswer, HttpRequest, NotAnswered, send
from payment_infra.conformance import Request, run
from tests.localstripe.faults import Fault
from tests.model.faults import Fault as AwsFault
from tests.model.hands import rewind
from tests.model.shop import RETURN_URL, Shop

if TYPE_CHECKING:
    from tests.localstripe.standin import Stripe

DAY_SECONDS = 24 * 3600
PAYS = "pm_card_visa"
DECLINES = "pm_card_visa_chargeDeclinedInsufficientFunds"
AUTHENTICATES = "pm_card_authenticationRequired"
DEBIT = "pm_usBankAccount_success"
DEBIT_FAILS = "pm_usBankAccount_insufficientFunds"
# As often as the gateway repeats a request within one call.
EVERY_TRY = 3


@pytest.fixture
def shop(account: Stripe, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(account, monkeypatch)


def finish(account: Stripe) -> None:
    """Let customers and banks do what is left to do."""
    for one in account.payments():
        if one["status"] == "requires_action":
            account.authenticate(one["id"])
        if one["status"] == "processing":
            account.decide(one["id"])


def test_a_payment_is_charged_and_its_row_names_the_charge(shop: Shop, account: Stripe) -> None:
    payment = shop.validate()
    status, told = shop.process(payment)
    assert (status, told["status"]) == (200, "processed")
    assert account.captures(payment) == [shop.row(payment)["gateway_reference"]]
    [made] = account.payments(payment)
    assert (made["amount"], made["currency"], made["id"]) == (
        *(10050, "usd", shop.row(payment)["gateway_id"]),
    )
    assert [call.kind for call in account.calls] == ["prepare", "confirm"]
    shop.check()


@pytest.mark.parametrize(
    ("currency", "amount", "units"),
    [("JPY", 1250, 1250), ("ISK", 1250, 125000), ("UGX", 1250, 125000), ("KWD", 12.5, 12500)],
)
def test_an_amount_is_counted_as_stripe_counts_the_currency(
    shop: Shop, account: Stripe, currency: str, amount: float, units: int
) -> None:
    payment = shop.validate(currency=currency, amount=amount)
    assert shop.process(payment)[0] == 200
    [made] = account.payments(payment)
    assert (made["currency"], made["amount_received"]) == (currency.lower(), units)
    shop.check()


def test_a_declined_card_is_canceled_at_stripe_before_it_is_called_declined(
    shop: Shop, account: Stripe
) -> None:
    payment = shop.validate(DECLINES)
    status, told = shop.process(payment)
    assert (status, told["reason"], told["another_method"]) == (402, "insufficient_funds", True)
    assert [one["status"] for one in account.payments(payment)] == ["canceled"]
    assert [call.kind for call in account.calls] == ["prepare", "confirm", "cancel"]
    shop.check()


def test_a_method_that_stripe_does_not_know_is_declined_and_leaves_no_payment(
    shop: Shop, account: Stripe
) -> None:
    status, told = shop.process(shop.validate("pm_none"))
    assert (status, told["another_method"]) == (402, True)
    assert account.payments() == []


@pytest.mark.parametrize("times", [1, EVERY_TRY])
@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize(
    ("method", "call"),
    [
        (PAYS, "prepare"),
        (PAYS, "confirm"),
        (DECLINES, "confirm"),
        (DECLINES, "cancel"),
        (AUTHENTICATES, "confirm"),
        (DEBIT_FAILS, "confirm"),
    ],
)
def test_a_fault_at_any_call_ends_in_one_capture_at_most_and_the_right_row(
    shop: Shop, account: Stripe, method: str, call: str, fault: Fault, times: int
) -> None:
    """A fault that lasts for as long as the gateway tries leaves the payment to the retries."""
    account.release()  # what is slow is not waited for
    account.fail(call, fault, times)
    payment = shop.validate(method)
    shop.process(payment)
    shop.check()
    account.arrive()
    shop.check()
    shop.settle()
    finish(account)
    shop.settle()
    shop.check()
    is_paid = method in {PAYS, AUTHENTICATES}
    row = shop.row(payment)
    assert (row["status"], row.get("decline_reason")) == (
        ("processed", None) if is_paid else ("declined", "insufficient_funds")
    )
    assert len(account.captures(payment)) == is_paid
    assert not shop.world.journal.metrics[metrics.CONTRADICTED]
    assert not shop.world.queue.dead


@pytest.mark.parametrize("call", ["prepare", "confirm", "cancel"])
def test_an_answer_that_takes_too_long_is_lost(shop: Shop, account: Stripe, call: str) -> None:
    """The gateway really waits, if only for a moment."""

    def impatient(request: HttpRequest, seconds: float) -> HttpAnswer:
        kind = "prepare" if request.url.endswith("/payment_intents") else request.url.split("/")[-1]
        return send(request, 0.2 if kind == call else seconds)

    payment = shop.validate(DECLINES if call == "cancel" else PAYS)
    account.fail(call, Fault.SLOW, EVERY_TRY)
    shop.carry = impatient
    status, told = shop.process(payment)
    assert (status, told["retry"]) == (500, "queued")
    assert shop.status(payment) == "processing"
    account.release()
    shop.carry = send
    shop.settle()
    shop.check()
    assert shop.status(payment) == ("declined" if call == "cancel" else "processed")


@pytest.mark.parametrize("call", ["prepare", "confirm"])
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.FAILED, Fault.FAILED_DONE, Fault.UNREACHED])
def test_a_retry_a_day_later_whose_keys_stripe_has_forgotten_charges_once(
    shop: Shop, account: Stripe, call: str, fault: Fault
) -> None:
    payment = shop.validate()
    account.fail(call, fault, 2 * EVERY_TRY)
    shop.process(payment)
    shop.world.advance(25 * 3600)
    shop.settle()
    shop.check()
    assert shop.status(payment) == "processed"
    assert len(account.captures(payment)) == 1


@pytest.mark.parametrize("fault", AwsFault)
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("method", [PAYS, DECLINES, DEBIT])
def test_a_crash_or_a_lost_write_around_stripes_calls_ends_in_one_capture_at_most(
    shop: Shop, account: Stripe, method: str, position: int, fault: AwsFault
) -> None:
    """Before and after each write: of the claim, of the id, and of the end."""
    payment = shop.validate(method)
    numbers = count()
    shop.world.network.decide = lambda _: fault if next(numbers) == position else None
    shop.process(payment)
    shop.check()
    shop.world.network.decide = lambda _: None
    shop.world.network.deliver_late()
    shop.settle()
    finish(account)
    shop.settle()
    shop.check()
    assert shop.status(payment) in (
        {"validated", "processed"} if method != DECLINES else {"validated", "declined"}
    )


def test_many_who_ask_at_once_charge_once(shop: Shop, account: Stripe) -> None:
    payment = shop.validate()
    with ThreadPoolExecutor(8) as callers:
        statuses = Counter(status for status, _ in callers.map(shop.process, [payment] * 24))
    assert statuses[200] >= 1
    assert statuses.keys() <= {200, 409}
    assert [call.kind for call in account.calls] == ["prepare", "confirm"]
    shop.check()


def test_a_key_that_an_earlier_release_has_used_otherwise_keeps_no_payment_from_its_end(
    shop: Shop, account: Stripe
) -> None:
    def of_another_release(request: HttpRequest, seconds: float) -> HttpAnswer:
        send(replace(request, body=f"{request.body}&description=earlier"), seconds)
        raise NotAnswered("lost")

    payment = shop.validate()
    shop.carry = of_another_release
    shop.process(payment)
    shop.carry = send
    shop.settle()
    shop.check()
    assert shop.status(payment) == "processed"
    made = [one["status"] for one in account.payments(payment)]
    assert made == ["requires_confirmation", "succeeded"]


@pytest.mark.parametrize("amount", [100.5, 99.5])
@pytest.mark.parametrize("method", [PAYS, AUTHENTICATES])
def test_a_payment_whose_row_was_lost_is_not_charged_again_when_it_is_validated_anew(
    shop: Shop, account: Stripe, method: str, amount: float
) -> None:
    """With the same Idempotency-Key, within a day, and another method or amount."""
    payment = shop.validate(method, key="order-1")
    shop.process(payment)
    finish(account)
    del shop.world.table.items[payment]
    shop.world.advance(3600)
    assert shop.validate("pm_card_mastercard", key="order-1", amount=amount) == payment
    shop.process(payment)
    assert len(account.captures(payment)) == 1
    is_so = amount == 100.5
    assert shop.status(payment) == ("processed" if is_so else "processing")
    assert is_so or shop.row(payment)["in_flight"] == "mismatched"


def test_what_was_prepared_twice_is_confirmed_once(shop: Shop, account: Stripe) -> None:
    payment = shop.validate()
    account.fail("prepare", Fault.LOST, EVERY_TRY)
    shop.process(payment)
    shop.world.advance(25 * 3600)
    shop.process(payment)
    made = account.payments(payment)
    assert sorted(one["status"] for one in made) == ["requires_confirmation", "succeeded"]
    shop.check()


@pytest.mark.parametrize("hears", [True, False])
@pytest.mark.parametrize("pays", [True, False])
def test_3d_secure_that_is_confirmed_days_later_settles_by_a_notification_or_a_look(
    shop: Shop, account: Stripe, *, pays: bool, hears: bool
) -> None:
    payment = shop.validate(AUTHENTICATES)
    status, told = shop.process(payment)
    [made] = account.payments(payment)
    action = made["next_action"]["redirect_to_url"]
    assert (status, told["status"], told["next_action"]) == (202, "pending", action["url"])
    assert action["return_url"] == RETURN_URL
    shop.settle()
    shop.world.advance(3 * DAY_SECONDS)
    assert shop.status(payment) == "pending"
    account.authenticate(made["id"], succeeds=pays)
    if hears:
        assert shop.notify(account.events.made[-1]) == 200
        assert shop.status(payment) == ("processed" if pays else "declined")
    shop.settle()
    shop.check()
    row = shop.row(payment)
    assert row["status"] == ("processed" if pays else "declined")
    assert row.get("decline_reason") == (None if pays else "payment_intent_authentication_failure")


def test_without_a_place_to_return_to_a_card_that_wants_authentication_is_declined(
    shop: Shop, account: Stripe
) -> None:
    payment = shop.validate(AUTHENTICATES, return_url=None)
    status, told = shop.process(payment)
    assert (status, told["reason"]) == (402, "authentication_required")
    assert [one["status"] for one in account.payments(payment)] == ["canceled"]
    shop.check()


def test_a_client_cancels_what_waits_for_its_customer_and_not_what_a_bank_has(
    shop: Shop, account: Stripe
) -> None:
    waits, at_bank = shop.validate(AUTHENTICATES), shop.validate(DEBIT)
    shop.process(waits)
    shop.process(at_bank)
    status, told = shop.cancel(waits)
    assert (status, told["status"]) == (200, "canceled")
    status, told = shop.cancel(at_bank)
    assert (status, told["status"]) == (409, "pending")
    finish(account)
    shop.settle()
    shop.check()
    assert (shop.status(waits), shop.status(at_bank)) == ("canceled", "processed")


def test_a_cancellation_whose_answer_is_lost_is_one(shop: Shop, account: Stripe) -> None:
    payment = shop.validate(AUTHENTICATES)
    shop.process(payment)
    account.fail("cancel", Fault.LOST, EVERY_TRY)
    assert shop.cancel(payment)[0] == 500
    assert shop.cancel(payment)[0] == 200
    shop.settle()
    shop.check()
    assert shop.status(payment) == "canceled"


def test_a_customer_who_pays_before_the_cancellation_arrives_has_paid(
    shop: Shop, account: Stripe
) -> None:
    payment = shop.validate(AUTHENTICATES)
    shop.process(payment)
    account.fail("cancel", Fault.LATE, EVERY_TRY)
    shop.cancel(payment)
    finish(account)
    account.arrive()
    status, _ = shop.cancel(payment)
    shop.settle()
    shop.check()
    assert (status, shop.status(payment)) == (409, "processed")


def test_a_bank_debit_without_a_mandate_is_declined_and_that_of_a_customer_is_not(
    shop: Shop, account: Stripe
) -> None:
    account.intents.asks_for_mandates = True
    without, mandated = shop.validate(DEBIT), shop.validate(DEBIT, customer_id="cus_1")
    status, told = shop.process(without)
    assert (status, told["reason"], told["another_method"]) == (402, "mandate_missing", True)
    assert [one["status"] for one in account.payments(without)] == ["canceled"]
    assert shop.process(mandated)[0] == 202
    finish(account)
    shop.settle()
    shop.check()
    assert shop.status(mandated) == "processed"


@pytest.mark.parametrize("method", [DEBIT, DEBIT_FAILS])
def test_a_bank_debit_ends_as_the_bank_says_days_later(
    shop: Shop, account: Stripe, method: str
) -> None:
    payment = shop.validate(method)
    status, told = shop.process(payment)
    assert (status, told["status"], told.get("next_action")) == (202, "pending", None)
    for _ in range(4):
        shop.world.advance(DAY_SECONDS)
        shop.settle()
        assert shop.status(payment) == "pending"
    finish(account)
    shop.settle()
    shop.check()
    row = shop.row(payment)
    assert (row["status"], row.get("decline_reason")) == (
        ("processed", None) if method == DEBIT else ("declined", "insufficient_funds")
    )


@pytest.mark.parametrize("method", [PAYS, DECLINES, AUTHENTICATES, DEBIT_FAILS])
@pytest.mark.parametrize("loses", [True, False])
def test_notifications_in_any_order_and_twice_end_in_the_right_row(
    account: Stripe, monkeypatch: pytest.MonkeyPatch, method: str, *, loses: bool
) -> None:
    """Also where the answers to the client's own request were lost."""
    orders = permutations(range(3))
    for order in orders:
        account.reset()
        shop = Shop(account, monkeypatch)
        payment = shop.validate(method)
        if loses:
            account.fail("confirm", Fault.LOST, EVERY_TRY)
        shop.process(payment)
        finish(account)
        events = account.events.of(account.payments(payment)[0]["id"])
        for place in (*order, *order):
            if place < len(events):
                assert shop.notify(events[place]) in {200, 503}
                shop.check()
        shop.settle()
        for event in events:
            assert shop.notify(event) == 200
        shop.check()
        is_paid = method in {PAYS, AUTHENTICATES}
        assert shop.status(payment) == ("processed" if is_paid else "declined")


def test_a_notification_settles_alone_what_nobody_looks_at(shop: Shop, account: Stripe) -> None:
    payment = shop.validate(DEBIT)
    shop.process(payment)
    finish(account)
    calls = len(account.calls)
    assert shop.notify(account.events.made[-1]) == 200
    assert shop.status(payment) == "processed"
    assert [call.kind for call in account.calls[calls:]] == ["fetch"]


def test_a_notification_that_is_forged_old_or_of_the_other_mode_asks_nobody(
    shop: Shop, account: Stripe
) -> None:
    payment = shop.validate(DEBIT)
    shop.process(payment)
    finish(account)
    event = account.events.made[-1]
    calls = len(account.calls)
    now = shop.world.clock()
    assert shop.notify(event, secrets=["whsec_other"]) == 400
    assert shop.notify(event, at=now - timedelta(minutes=6)) == 400
    assert shop.notify(event, at=now + timedelta(minutes=6)) == 400
    live = type(event)(event.id, event.kind, event.created, {**event.payment, "livemode": True})
    assert shop.notify(live) == 400
    assert (len(account.calls), shop.status(payment)) == (calls, "pending")
    # While the endpoint's secret is changed, Stripe signs with both.
    assert shop.notify(event, secrets=["whsec_other", *account.signing_secrets]) == 200
    assert shop.status(payment) == "processed"


def test_a_payment_that_others_made_is_no_concern(shop: Shop, account: Stripe) -> None:
    account.intents.create({"amount": "500", "currency": "usd", "payment_method": PAYS})
    [event] = account.events.made
    account.intents.confirm(event.payment["id"], {"return_url": RETURN_URL})
    assert shop.notify(account.events.made[-1]) == 200
    assert shop.world.table.items == {}
    assert not shop.world.journal.metrics[metrics.CONTRADICTED]


@pytest.mark.parametrize("call", ["prepare", "confirm", "cancel"])
def test_a_key_that_is_rotated_in_the_middle_is_fetched_anew_once(
    shop: Shop, account: Stripe, call: str
) -> None:
    payment = shop.validate(DECLINES if call == "cancel" else PAYS)
    account.before = {call: account.rotate}
    status, _ = shop.process(payment)
    assert status == (402 if call == "cancel" else 200)
    assert [one.kind for one in account.calls].count(call) == 2
    shop.check()


def test_a_key_that_is_rotated_before_a_notification_is_fetched_anew_once(
    shop: Shop, account: Stripe
) -> None:
    payment = shop.validate(DEBIT)
    shop.process(payment)
    finish(account)
    account.rotate()
    assert shop.notify(account.events.made[-1]) == 200
    assert shop.status(payment) == "processed"
    assert [one.kind for one in account.calls][-2:] == ["fetch", "fetch"]


def test_a_key_that_is_refused_for_good_charges_nothing_and_declines_nothing(
    shop: Shop, account: Stripe
) -> None:
    payment = shop.validate()
    secret = account.secret()
    account.rotate()
    gateway = shop.open()
    account.rotate()
    gateway.fetch_secret = lambda: secret  # the secret holds the old key still
    status, told = shop.process(payment)
    assert (status, told["retry"]) == (500, "queued")
    assert (account.payments(), shop.status(payment)) == ([], "processing")
    gateway.fetch_secret = account.secret
    shop.settle()
    assert shop.status(payment) == "processed"
    shop.check()


@pytest.mark.parametrize("tells_account", [True, False])
@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_a_payment_that_was_charged_and_taken_back_by_a_restore_is_found_and_not_charged_again(
    shop: Shop, account: Stripe, earlier: int, *, tells_account: bool
) -> None:
    """Taken back to before its claim, its id, and its end."""
    account.tells_account = tells_account
    payment = shop.validate()
    shop.process(payment)
    assert rewind(shop.world, payment, earlier)
    shop.process(payment)
    shop.settle()
    shop.check()
    assert len(account.payments(payment)) == 1
    assert shop.status(payment) == "processed"


@pytest.mark.parametrize(
    ("account_id", "tells_account", "status"),
    [
        (None, True, "declined"),
        # Nobody can tell whether the list that has nothing is that of the account.
        (None, False, "processing"),
        ("acct_other", True, "processing"),
    ],
)
def test_a_restored_payment_that_stripe_has_not_is_declined_only_if_the_list_is_the_accounts(
    shop: Shop, account: Stripe, account_id: str | None, status: str, *, tells_account: bool
) -> None:
    account.tells_account = tells_account
    payment = shop.validate()
    shop.process(payment)
    assert rewind(shop.world, payment, 1)
    account.reset()
    account.clock = shop.world.clock
    account.tells_account = tells_account
    account.account = account_id or account.account
    shop.process(payment)
    shop.settle()
    assert shop.status(payment) == status
    assert account.payments() == []


def test_a_payment_of_the_other_mode_is_set_aside(shop: Shop, account: Stripe) -> None:
    account.intents.livemode = True
    payment = shop.validate()
    shop.process(payment)
    shop.settle()
    assert shop.status(payment) == "processing"
    assert account.captures(payment) == []


def test_the_gateway_does_what_every_gateway_has_to(account: Stripe) -> None:
    tokens = Request(
        *("", ""),
        payment_method=PAYS,
        declined_method=DECLINES,
        pending_method=AUTHENTICATES,
    )
    found = list(run(StripeGateway, account.secret(), tokens))
    assert [one for one in found if one.level != "ok"] == []
    assert len(found) > 10
