"""The scripted gateway: what it does of its own, as real gateways do it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from handlers.shared import scripted, scripted_ledger
from handlers.shared.aws import logs
from handlers.shared.failures import DependencyFailed
from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayKeyFailed,
    GatewayPayment,
    GatewayTimeout,
    GatewayUnavailable,
    InvalidSecret,
    NoCharge,
    NoSuchPayment,
    NotCharged,
    Open,
    Pending,
)
from handlers.shared.money import MINOR_DIGITS, Money
from handlers.shared.scripted import UNKNOWN_METHOD, ScriptedGateway
from handlers.shared.scripted_ledger import KeyReused, Ledger
from handlers.shared.scripted_payment import SCRIPTS, fault_of
from handlers.shared.transactions import Transaction
from tests.documents import REPOSITORY, Page
from tests.unit.handlers.harness import Output

if TYPE_CHECKING:
    from tests.unit.handlers.harness import Aws, Clock

Make = Callable[..., ScriptedGateway]
BACK = "https://shop.example/back?order=1"


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Make:
    """Makes gateways that share a memory, but for one of another place."""

    def make(secret: str | None = None, place: str = "here") -> ScriptedGateway:
        return ScriptedGateway(secret, Ledger(tmp_path / place), clock)

    return make


def transaction(
    clock: Clock,
    method: str = "paid",
    customer: str = "c",
    currency: str = "USD",
    name: str = "t-1",
    **details: str,
) -> Transaction:
    return Transaction.validated(
        name,
        Money(10050, currency),
        customer,
        clock(),
        details={"payment_method": method, **details},
    )


def prepared(gateway: ScriptedGateway, payment: Transaction, key: str = "k") -> GatewayPayment:
    made = gateway.prepare(payment, key)
    assert isinstance(made, GatewayPayment)
    return made


AT_ONCE = {
    "paid": Charged,
    "tok_whatever": Charged,
    "declined": Declined("card_declined", another_method=True),
    "insufficient-funds": Declined("insufficient_funds", another_method=True),
    "blocked": Declined("customer_blocked"),
}


@pytest.mark.parametrize("method", AT_ONCE)
def test_a_payment_is_open_until_it_is_confirmed_and_then_what_its_method_says(
    make: Make, clock: Clock, method: str
) -> None:
    gateway, expected = make(), AT_ONCE[method]
    made = prepared(gateway, transaction(clock, method))
    assert (made.amount, made.currency, made.account, made.mode) == (
        *(10050, "USD", "scripted", "test"),
    )
    assert made.outcome == gateway.fetch(made.id).outcome == Open()
    ended = gateway.confirm(made.id, "k-1", None).outcome
    assert isinstance(ended, Charged) if expected is Charged else ended == expected
    # Whoever confirms it, how often, and in which container.
    assert gateway.confirm(made.id, "k-2", None).outcome == gateway.fetch(made.id).outcome == ended
    assert make(place="elsewhere").confirm(made.id, "k-3", None).outcome == ended


def test_a_method_that_nobody_knows_leaves_no_payment(make: Make, clock: Clock) -> None:
    gateway, payment = make(), transaction(clock, "unknown-method")
    assert gateway.find(payment) == NoCharge()
    declined = gateway.prepare(payment, "k")
    assert declined == Declined("payment_method_unknown", another_method=True)
    assert gateway.prepare(payment, "k") == declined
    assert gateway.find(payment) == NoCharge()
    assert gateway.prepare(replace(payment, currency="KPW"), "k-2") == Declined(
        "currency_not_supported"
    )


LATER = {
    "redirect-paid": (True, Charged),
    "redirect-failed": (True, Declined("authentication_failed", another_method=True)),
    "redirect-expired": (True, NotCharged()),
    "debit-paid": (False, Charged),
    "debit-failed": (False, Declined("debit_returned", another_method=True)),
}


@pytest.mark.parametrize("method", LATER)
def test_a_pending_payment_ends_so_many_seconds_after_it_was_confirmed(
    make: Make, clock: Clock, method: str
) -> None:
    gateway, (redirects, expected) = make(), LATER[method]
    made = prepared(gateway, transaction(clock, f"{method}:60", return_url=BACK))
    clock.tick(10)
    pending = gateway.confirm(made.id, "k-1", BACK).outcome
    assert isinstance(pending, Pending)
    if redirects:
        start = "https://scripted.example/authenticate/"
        back = "?return_url=https%3A%2F%2Fshop.example%2Fback%3Forder%3D1"
        assert str(pending.next_action).startswith(start)
        assert str(pending.next_action).endswith(back)
    else:
        assert pending.next_action is None
    clock.tick(59.5)
    assert (
        gateway.fetch(made.id).outcome == gateway.confirm(made.id, "k-2", BACK).outcome == pending
    )
    clock.tick(0.5)
    ended = gateway.fetch(made.id).outcome
    assert isinstance(ended, Charged) if expected is Charged else ended == expected
    # What another container presumes ends so too.
    assert make(place="elsewhere").fetch(made.id).outcome == ended


@pytest.mark.parametrize(
    ("method", "first", "then"),
    [
        ("paid", NotCharged(), NotCharged()),
        ("redirect-paid", NotCharged(), NotCharged()),
        ("debit-paid", Pending(), Charged),
        ("debit-failed", Pending(), NotCharged("debit_returned")),
    ],
)
def test_what_is_canceled_stays_so_and_what_the_bank_has_cannot_be(
    make: Make, clock: Clock, method: str, first: object, then: object
) -> None:
    gateway = make()
    made = prepared(gateway, transaction(clock, method))
    if method != "paid":
        gateway.confirm(made.id, "k-1", None)
    assert gateway.cancel(made.id, "k-2").outcome == first
    clock.tick(5)
    confirmed = gateway.confirm(made.id, "k-3", None).outcome
    assert gateway.cancel(made.id, "k-4").outcome in {then, confirmed}
    last = gateway.fetch(made.id).outcome
    assert isinstance(last, Charged) if then is Charged else last == then


def test_a_confirm_and_a_cancel_at_once_have_one_winner(make: Make, clock: Clock) -> None:
    gateway = make()
    with ThreadPool(4) as pool:
        for number in range(10):
            made = prepared(gateway, transaction(clock, name=f"t-{number}"), f"k-{number}")
            confirm = partial(gateway.confirm, return_url=None)
            calls = [confirm, gateway.cancel, confirm, gateway.cancel]
            keys = [f"{made.id}-{call}" for call in range(4)]
            ends = pool.starmap(
                lambda call, key, made=made: call(made.id, key).outcome,
                zip(calls, keys, strict=True),
            )
            assert ends == [gateway.fetch(made.id).outcome] * 4


def test_a_key_has_one_answer_for_a_day_and_belongs_to_one_question(
    make: Make, clock: Clock
) -> None:
    gateway, payment = make(), transaction(clock)
    made = prepared(gateway, payment)
    gateway.confirm(made.id, "k-1", None)
    assert gateway.prepare(payment, "k") == made  # as it was then
    with pytest.raises(KeyReused):
        gateway.prepare(replace(payment, amount_minor=1), "k")
    with pytest.raises(KeyReused):
        gateway.prepare(replace(payment, return_url=BACK), "k")
    with pytest.raises(KeyReused):
        gateway.confirm(made.id, "k-1", BACK)
    with pytest.raises(KeyReused):
        gateway.cancel(made.id, "k-1")
    clock.tick(timedelta(hours=24).total_seconds())
    anew = prepared(gateway, replace(payment, return_url=BACK))
    assert (anew.id != made.id, anew.outcome) == (True, Open())
    # Another account has other keys.
    assert prepared(make('{"account": "acct_2"}'), payment).account == "acct_2"


@pytest.mark.parametrize(
    ("fault", "error", "done", "again"),
    [
        ("timeout", GatewayTimeout, Open, Charged),
        ("lost", GatewayTimeout, Charged, Charged),
        ("500", GatewayKeyFailed, Open, GatewayKeyFailed),
        ("500-done", GatewayKeyFailed, Charged, GatewayKeyFailed),
        ("late", GatewayTimeout, Open, Charged),
        ("unavailable", GatewayUnavailable, Open, GatewayUnavailable),
    ],
)
def test_a_fault_is_of_the_first_call_and_what_it_has_done_is_done(
    make: Make,
    clock: Clock,
    fault: str,
    error: type[DependencyFailed],
    done: type,
    again: type,
) -> None:
    gateway = make()
    made = prepared(gateway, transaction(clock, customer=f"fault-confirm-{fault}"))
    with pytest.raises(error):
        gateway.confirm(made.id, "k-1", None)
    assert isinstance(gateway.fetch(made.id).outcome, done)
    if issubclass(again, DependencyFailed):
        with pytest.raises(again):
            gateway.confirm(made.id, "k-1", None)
    else:
        assert isinstance(gateway.confirm(made.id, "k-1", None).outcome, again)
    if fault != "unavailable":
        assert isinstance(gateway.confirm(made.id, "k-2", None).outcome, Charged)


@pytest.mark.parametrize("is_canceled", [False, True])
def test_a_call_that_is_late_arrives_by_itself_and_finds_what_has_been_done_meanwhile(
    make: Make, clock: Clock, is_canceled: bool
) -> None:
    gateway = make()
    made = prepared(gateway, transaction(clock, customer="fault-confirm-late"))
    with pytest.raises(GatewayTimeout):
        gateway.confirm(made.id, "k-1", None)
    clock.tick(4)
    assert gateway.fetch(made.id).outcome == Open()
    if is_canceled:
        assert gateway.cancel(made.id, "k-2").outcome == NotCharged()
    clock.tick(1)
    assert isinstance(gateway.fetch(made.id).outcome, NotCharged if is_canceled else Charged)


@pytest.mark.parametrize(
    ("fault", "error", "made"),
    [
        ("timeout", GatewayTimeout, 0),
        ("lost", GatewayTimeout, 1),
        ("500", GatewayKeyFailed, 0),
        ("500-done", GatewayKeyFailed, 1),
    ],
)
def test_a_payment_whose_answer_nobody_got_is_an_open_one(
    make: Make, clock: Clock, fault: str, error: type[DependencyFailed], made: int
) -> None:
    gateway, payment = make(), transaction(clock, customer=f"fault-prepare-{fault}")
    assert gateway.find(payment) == NoCharge()
    with pytest.raises(error):
        gateway.prepare(payment, "k")
    found = gateway.find(payment)
    assert isinstance(found, GatewayPayment) if made else found == NoCharge()
    stored = error is GatewayKeyFailed
    if stored:
        with pytest.raises(GatewayKeyFailed):
            gateway.prepare(payment, "k")
    again = prepared(gateway, payment, "k-1" if stored else "k")
    assert (found == again) == (fault == "lost")


def test_a_fetch_fails_as_a_customer_wants_it(make: Make, clock: Clock) -> None:
    gateway = make()
    made = prepared(gateway, transaction(clock, customer="fault-fetch-timeout"))
    with pytest.raises(GatewayTimeout):
        gateway.fetch(made.id)
    assert gateway.fetch(made.id) == made
    made = prepared(gateway, transaction(clock, customer="fault-fetch-unavailable"), "k-2")
    for _ in range(2):
        with pytest.raises(GatewayUnavailable):
            gateway.fetch(made.id)


def test_of_several_payments_the_one_that_went_furthest_is_found(make: Make, clock: Clock) -> None:
    gateway, payment = make(), transaction(clock, "redirect-failed")
    orphan, used = prepared(gateway, payment, "k-1"), prepared(gateway, payment, "k-2")
    last = prepared(gateway, payment, "k-3")
    assert gateway.find(payment) == orphan
    gateway.confirm(used.id, "confirm", None)
    assert gateway.find(payment) == gateway.fetch(used.id)
    clock.tick(5)
    for _ in range(2):
        found = gateway.find(payment)
        assert isinstance(found, GatewayPayment)
        assert (found.id, type(found.outcome)) in {(used.id, Declined), (used.id, NotCharged)}
        gateway.cancel(used.id, "cancel")
    assert gateway.fetch(last.id).outcome == Open()
    assert make('{"account": "acct_2"}').find(payment) == NoCharge()


def test_that_there_is_no_payment_is_known_only_where_the_memory_is_whole(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, before = make(), transaction(clock, name="before")
    clock.tick(1)
    assert gateway.find(before) is None
    after = transaction(clock, name="after")
    assert gateway.find(after) == NoCharge()
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13")
    assert gateway.find(after) is None
    monkeypatch.delenv("AWS_EXECUTION_ENV")
    monkeypatch.setattr(scripted_ledger, "MAX_REMEMBERED", 1)
    clock.tick(1)
    for number in range(2):
        prepared(gateway, transaction(clock, name=str(number)), str(number))
    assert gateway.find(after) is None
    assert gateway.find(transaction(clock, name="0")) == NoCharge()


def test_the_documents_have_every_script_and_every_fault() -> None:
    page = Page(REPOSITORY / "docs" / "gateway.md")
    rows = page.rows("## The scripted payment gateway")
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    faults = {name for name in names if fault_of(f"fault-confirm-{name}")}
    assert names - faults == {*SCRIPTS, UNKNOWN_METHOD}
    assert faults == {"timeout", "lost", "500", "500-done", "late", "unavailable"}
    assert fault_of("fault-cancel-late") == fault_of("fault-fetch-500") == ""


def listed(gateway: ScriptedGateway, since: datetime, until: datetime) -> list[GatewayPayment]:
    """Return the whole list."""
    found: list[GatewayPayment] = []
    cursor = None
    while True:
        page = gateway.payments(since, until, cursor)
        found += page.payments
        if page.cursor is None:
            return found
        cursor = page.cursor


def test_all_payments_of_an_account_are_listed_by_pages_with_what_they_have_come_to(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted, "PAGE_SIZE", 2)
    gateway, since = make(), clock()
    made = [prepared(gateway, transaction(clock, name=f"t-{n}"), f"k-{n}") for n in range(4)]
    other = prepared(make('{"account": "acct_2"}'), transaction(clock))
    gateway.confirm(made[1].id, "c", None)
    first = gateway.payments(since, clock() + timedelta(seconds=1), None)
    assert len(first.payments) == 2
    # What is made meanwhile leads past none.
    later = prepared(gateway, transaction(clock, name="t-9"), "k-9")
    found = listed(gateway, since, clock() + timedelta(seconds=1))
    assert [payment.id for payment in found] == [*(payment.id for payment in made), later.id]
    assert other.id not in [payment.id for payment in found]
    assert [payment.transaction_id for payment in found[:2]] == ["t-0", "t-1"]
    assert isinstance(found[1].outcome, Charged)
    assert found == [gateway.fetch(payment.id) for payment in found]
    assert {payment.created_at for payment in found} == {clock()}


def test_only_what_was_made_in_a_time_is_listed(make: Make, clock: Clock) -> None:
    gateway, begun = make(), clock()
    made = []
    for number in range(3):
        made.append(prepared(gateway, transaction(clock, name=f"t-{number}"), f"k-{number}"))
        clock.tick(60)
    minute = timedelta(minutes=1)
    assert [payment.id for payment in listed(gateway, begun + minute, begun + 2 * minute)] == [
        made[1].id
    ]


def test_a_memory_that_may_lack_payments_gives_no_list(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, since = make(), clock()
    monkeypatch.setattr(scripted_ledger, "MAX_REMEMBERED", 2)
    for number in range(3):
        clock.tick(10)
        prepared(gateway, transaction(clock, name=f"t-{number}"), f"k-{number}")
    with pytest.raises(GatewayUnavailable):
        gateway.payments(since, clock(), None)
    clock.tick(1)
    assert gateway.payments(clock(), clock() + timedelta(1), None).payments == ()
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13")
    with pytest.raises(GatewayUnavailable):
        gateway.payments(clock(), clock() + timedelta(1), None)


def test_payments_of_others_are_not_there(make: Make, clock: Clock) -> None:
    made = prepared(make(), transaction(clock))
    with pytest.raises(NoSuchPayment):
        make('{"account": "acct_2"}').fetch(made.id)
    for payment_id in ("", "pi_1", made.id + "0", made.id.replace("10050", "x")):
        with pytest.raises(NoSuchPayment):
            make().confirm(payment_id, "k-1", None)


@pytest.mark.parametrize("secret", ["sk_live_1", "[]", '{"mode": "live"}'])
def test_a_secret_of_another_gateway_is_refused(make: Make, secret: str) -> None:
    with pytest.raises(InvalidSecret, match="has to be a JSON object"):
        make(secret)


def test_a_memory_that_cannot_be_used_is_a_gateway_that_is_unavailable(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    with pytest.raises(GatewayUnavailable):
        make(place="no/folder").prepare(transaction(clock), "k")
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(GatewayUnavailable):
        make(place="text").prepare(transaction(clock), "k")


def test_it_counts_some_currencies_otherwise_and_does_not_take_all() -> None:
    other = {
        currency: ScriptedGateway.digits(currency)
        for currency, digits in MINOR_DIGITS.items()
        if ScriptedGateway.digits(currency) != digits
    }
    assert other == {
        "KPW": None,
        **dict.fromkeys(("ISK", "UGX"), 2),
        **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 2),
    }
    assert ScriptedGateway.digits("XXX") is None


def test_its_amounts_are_in_its_own_units(make: Make, clock: Clock) -> None:
    gateway = make()
    for number, (currency, amount) in enumerate(
        [("ISK", 1_005_000), ("KWD", 1005), ("JPY", 10050)]
    ):
        payment = transaction(clock, currency=currency, name=currency)
        assert prepared(gateway, payment, str(number)).amount == amount


def test_a_capture_is_one_line_in_the_log(
    aws: Aws, make: Make, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.begin(request_id="r-1")
    gateway = make()
    made = prepared(gateway, transaction(clock, "debit-paid", return_url=BACK))
    gateway.confirm(made.id, "k-1", None)
    clock.tick(5)
    outcome = gateway.fetch(made.id).outcome
    assert isinstance(outcome, Charged)
    gateway.confirm(made.id, "k-2", None)
    [line] = Output.read(capsys).of("captured")
    assert (line["transaction_id"], line["gateway_reference"]) == ("t-1", outcome.reference)
    assert (line["amount"], line["currency"]) == (10050, "USD")
