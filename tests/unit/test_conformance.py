"""What every gateway has to pass: a sound one does, and one that is wrong fails where it is."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from handlers.shared.gateway import (
    Charged,
    Declined,
    GatewayPayment,
    GatewayUnavailable,
    InvalidSecret,
    NoCharge,
    NotCharged,
    Open,
    Page,
    Pending,
    SimulatedGateway,
)
from handlers.shared.scripted import ScriptedGateway
from payment_infra.conformance import Request, Result, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from handlers.shared.transactions import Transaction

TOKENS = Request(
    "",
    "",
    payment_method="pm_paid",
    declined_method="pm_declined",
    pending_method="pm_pending",
    declined_customer="sim-decline",
)


class Sound:
    """A gateway in two steps that does what it should, in memory."""

    NEEDS: ClassVar = frozenset({"payment_method"})
    mode = "test"
    account = "acct_1"

    def __init__(self, secret: str | None) -> None:
        assert secret == "key"
        self.held: dict[str, GatewayPayment] = {}
        self.methods: dict[str, str] = {}

    @staticmethod
    def digits(currency: str) -> int | None:
        return {"USD": 2, "ISK": 2}.get(currency)

    def prepare(self, transaction: Transaction, idempotency_key: str) -> Any:
        payment_id = f"pay-{idempotency_key}"
        self.methods[payment_id] = transaction.payment_method or ""
        return self.held.setdefault(payment_id, self.made(payment_id, transaction))

    def made(self, payment_id: str, transaction: Transaction) -> GatewayPayment:
        factor = 100 if transaction.currency == "ISK" else 1
        return GatewayPayment(
            id=payment_id,
            amount=transaction.amount_minor * factor,
            currency=transaction.currency,
            account=self.account,
            mode="test",
            outcome=Open(),
            transaction_id=transaction.transaction_id,
            created_at=datetime.now(UTC),
        )

    def fetch(self, payment_id: str) -> GatewayPayment:
        if payment_id not in self.held:
            raise GatewayUnavailable("unknown")
        return self.held[payment_id]

    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        if not isinstance(self.held[payment_id].outcome, Open):
            raise GatewayUnavailable("has ended")
        return self.came_to(payment_id, self.confirmed(payment_id))

    def confirmed(self, payment_id: str) -> Any:
        return {"pm_declined": Declined("expired_card"), "pm_pending": Pending("https://a")}.get(
            self.methods[payment_id], Charged(f"ch-{payment_id}")
        )

    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        if isinstance(self.held[payment_id].outcome, Charged):
            return self.held[payment_id]
        return self.came_to(payment_id, NotCharged())

    def find(self, transaction: Transaction) -> Any:
        return self.held.get(f"pay-{transaction.transaction_id}", NoCharge())

    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        """Return pages of three."""
        made = [
            payment
            for payment in self.held.values()
            if payment.created_at and since <= payment.created_at < until
        ]
        start = int(cursor or 0)
        return Page(tuple(made[start : start + 3]), str(start + 3) if made[start + 3 :] else None)

    def came_to(self, payment_id: str, outcome: Any) -> GatewayPayment:
        self.held[payment_id] = replace(self.held[payment_id], outcome=outcome)
        return self.held[payment_id]


def tried(made: Callable[[str | None], Any], **changes: Any) -> list[Result]:
    return list(run(made, "key", replace(TOKENS, **changes)))


def failed(made: Callable[[str | None], Any], **changes: Any) -> dict[str, str]:
    found = tried(made, **changes)
    return {result.name: result.message for result in found if result.level == "fail"}


def test_a_sound_gateway_passes_them_all() -> None:
    found = tried(Sound)
    assert {result.level for result in found} == {"ok"}
    assert [result.name for result in found][-1] == "time"
    assert len(found) == 16


def test_the_simulated_gateway_passes_them_all() -> None:
    found = tried(lambda _: SimulatedGateway())
    assert {result.level for result in found} == {"ok"}


def test_the_scripted_gateway_passes_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tokens = Request(
        "", "", payment_method="paid", declined_method="declined", pending_method="debit-paid"
    )
    found = list(run(ScriptedGateway, None, tokens))
    assert {result.level for result in found} == {"ok"}, found


def test_what_was_not_given_is_left_out_and_told() -> None:
    found = tried(Sound, declined_method="", declined_customer="", pending_method="")
    left_out = {result.name for result in found if result.level == "warn"}
    assert left_out == {"decline", "pending"}
    assert not failed(Sound, declined_method="", declined_customer="", pending_method="")


class _NoAccount(Sound):
    account = ""


class _Uncounted(Sound):
    @staticmethod
    def digits(currency: str) -> Any:
        return "2"


class _MinorUnits(Sound):
    """Sends the amount as the row has it, in whatever digits the gateway counts."""

    def made(self, payment_id: str, transaction: Transaction) -> GatewayPayment:
        return replace(super().made(payment_id, transaction), amount=transaction.amount_minor)


class _Major(Sound):
    def made(self, payment_id: str, transaction: Transaction) -> GatewayPayment:
        return replace(super().made(payment_id, transaction), amount=1)


class _LowerCase(Sound):
    def made(self, payment_id: str, transaction: Transaction) -> GatewayPayment:
        made = super().made(payment_id, transaction)
        return replace(made, currency=made.currency.lower())


class _OtherAccount(Sound):
    def made(self, payment_id: str, transaction: Transaction) -> GatewayPayment:
        return replace(super().made(payment_id, transaction), account="acct_2")


class _ChargesAtOnce(Sound):
    def made(self, payment_id: str, transaction: Transaction) -> GatewayPayment:
        return replace(super().made(payment_id, transaction), outcome=Charged("ch"))


class _ForgetsKeys(Sound):
    def prepare(self, transaction: Transaction, idempotency_key: str) -> Any:
        return super().prepare(transaction, f"{idempotency_key}-{len(self.held)}")


class _OnePayment(Sound):
    def prepare(self, transaction: Transaction, idempotency_key: str) -> Any:
        return super().prepare(transaction, "the one")


class _FindsNothing(Sound):
    def find(self, transaction: Transaction) -> Any:
        return NoCharge()


class _FindsAnything(Sound):
    def find(self, transaction: Transaction) -> Any:
        return next(iter(self.held.values()))


class _FetchesAnything(Sound):
    def fetch(self, payment_id: str) -> GatewayPayment:
        return self.held.get(payment_id, next(iter(self.held.values())))


class _ChargesAgain(Sound):
    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        outcome = self.confirmed(payment_id)
        if isinstance(outcome, Charged):
            outcome = Charged(f"ch-{idempotency_key}")
        return self.came_to(payment_id, outcome)


class _NeverSettles(Sound):
    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        return self.held[payment_id]


class _CancelsTheCharged(Sound):
    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        return self.came_to(payment_id, NotCharged())


class _CancelsNothing(Sound):
    def cancel(self, payment_id: str, idempotency_key: str) -> GatewayPayment:
        return self.held[payment_id]


class _PaysTheCanceled(Sound):
    def confirm(
        self, payment_id: str, idempotency_key: str, return_url: str | None
    ) -> GatewayPayment:
        if isinstance(self.held[payment_id].outcome, Charged):
            return self.held[payment_id]
        return self.came_to(payment_id, self.confirmed(payment_id))


class _DeclinesNobody(Sound):
    def confirmed(self, payment_id: str) -> Any:
        return Charged(f"ch-{payment_id}")


class _SendsElsewhere(Sound):
    def confirmed(self, payment_id: str) -> Any:
        outcome = super().confirmed(payment_id)
        return Pending("http://plain.example") if isinstance(outcome, Pending) else outcome


class _Listing(Sound):
    """Lists something else than there is."""

    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        page = super().payments(since, until, cursor)
        return replace(page, payments=self.listed(page.payments))

    def listed(self, payments: tuple[GatewayPayment, ...]) -> tuple[GatewayPayment, ...]:
        return payments


class _ListsTwice(_Listing):
    def listed(self, payments: tuple[GatewayPayment, ...]) -> tuple[GatewayPayment, ...]:
        return payments + payments[:1]


class _ListsSome(_Listing):
    def listed(self, payments: tuple[GatewayPayment, ...]) -> tuple[GatewayPayment, ...]:
        return payments[1:]


class _ListsForNobody(_Listing):
    def listed(self, payments: tuple[GatewayPayment, ...]) -> tuple[GatewayPayment, ...]:
        return tuple(replace(payment, transaction_id=None) for payment in payments)


class _ListsAtNoTime(_Listing):
    def listed(self, payments: tuple[GatewayPayment, ...]) -> tuple[GatewayPayment, ...]:
        return tuple(replace(payment, created_at=None) for payment in payments)


class _ListsWhatWasOpen(_Listing):
    def listed(self, payments: tuple[GatewayPayment, ...]) -> tuple[GatewayPayment, ...]:
        return tuple(replace(payment, outcome=Open()) for payment in payments)


class _ListsFirstPages(Sound):
    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        return super().payments(since, until, None)


class _ListsAnyTime(Sound):
    def payments(self, since: datetime, until: datetime, cursor: str | None) -> Page:
        return Page(tuple(self.held.values()), None)


class _ListsNothing(Sound):
    payments = None  # type: ignore[assignment]


def test_a_gateway_need_not_list() -> None:
    left_out = {result.name for result in tried(_ListsNothing) if result.level == "warn"}
    assert left_out == {"list"}
    assert not failed(_ListsNothing)


class _Raises(Sound):
    def find(self, transaction: Transaction) -> Any:
        raise KeyError("canary")


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (_NoAccount, {"account"}),
        (_Uncounted, {"currencies"}),
        (_MinorUnits, {"other digits"}),
        (_Major, {"prepare"}),
        (_LowerCase, {"prepare"}),
        (_OtherAccount, {"prepare"}),
        (_ChargesAtOnce, {"prepare"}),
        (_ForgetsKeys, {"the same key"}),
        (_OnePayment, {"another payment"}),
        (_FindsNothing, {"find"}),
        (_FindsAnything, {"unknown payment"}),
        (_FetchesAnything, {"unknown payment"}),
        (_ChargesAgain, {"confirm again"}),
        (_NeverSettles, {"confirm", "decline", "pending"}),
        (_CancelsTheCharged, {"cancel after it"}),
        (_CancelsNothing, {"cancel", "decline"}),
        (_PaysTheCanceled, {"cancel", "decline"}),
        (_DeclinesNobody, {"decline", "pending"}),
        (_SendsElsewhere, {"pending"}),
        (_Raises, {"find"}),
        (_ListsTwice, {"list"}),
        (_ListsSome, {"list"}),
        (_ListsForNobody, {"list"}),
        (_ListsAtNoTime, {"list"}),
        (_ListsWhatWasOpen, {"list"}),
        (_ListsFirstPages, {"list"}),
        (_ListsAnyTime, {"list"}),
    ],
)
def test_what_is_wrong_fails_where_it_is(made: type[Sound], names: set[str]) -> None:
    assert names <= failed(made).keys()


def test_what_hangs_on_a_check_that_failed_is_left_out() -> None:
    told = {result.name: result for result in tried(_NeverSettles)}
    for name in ("confirm again", "cancel after it"):
        assert (told[name].level, told[name].message) == (
            "warn",
            "not tried: an earlier check has failed",
        )


def test_without_a_payment_method_a_gateway_that_needs_one_is_not_tried() -> None:
    [result] = tried(Sound, payment_method="")
    assert (result.level, result.message) == (
        "fail",
        "name what the sandbox charges by --payment-method",
    )


def test_of_what_a_gateway_raises_the_type_and_the_place_are_told_alone() -> None:
    message = failed(_Raises)["find"]
    assert message.startswith("KeyError at test_conformance.py:")
    assert "canary" not in str(tried(_Raises))


def test_the_code_of_a_failure_that_the_protocol_names_is_told_unless_it_may_be_a_secret() -> None:
    class Refused(Sound):
        code = "invalid_api_key"

        def find(self, transaction: Transaction) -> Any:
            raise GatewayUnavailable(self.code)

    class Talkative(Refused):
        code = "what Stripe has said: a customer's card"

    class Careless(Refused):
        def find(self, transaction: Transaction) -> Any:
            raise GatewayUnavailable("key")

    told = failed(Refused)["find"]
    assert told.startswith("GatewayUnavailable (invalid_api_key) at test_conformance.py:")
    for made in (Talkative, Careless):
        assert failed(made)["find"].startswith("GatewayUnavailable at test_conformance.py:")


class _Live(Sound):
    mode = "live"

    def prepare(self, transaction: Transaction, idempotency_key: str) -> Any:
        raise AssertionError


def test_no_payment_is_made_where_money_moves() -> None:
    assert failed(_Live) == {"mode": "it moves real money: its mode is live"}


def test_one_that_cannot_be_made_is_told_without_its_secret() -> None:
    def make(secret: str | None) -> Any:
        raise ValueError(secret)

    message = failed(make)["make"]
    assert message.startswith("it cannot be made: ValueError at test_conformance.py:")
    assert "key" not in message


def test_what_the_secret_lacks_is_told_by_a_class_that_shows_nothing_of_it() -> None:
    def make(secret: str | None) -> Any:
        raise InvalidSecret("the secret lacks api_key")

    assert failed(make) == {"make": "the secret lacks api_key"}


def test_a_call_that_takes_too_long_fails() -> None:
    ticks = iter(range(0, 10_000, 7))
    [result] = [
        result
        for result in run(Sound, "key", TOKENS, seconds=lambda: next(ticks))
        if result.name == "time"
    ]
    assert result == Result("time", "fail", "a call took 7.0 s, and has 6 s")


class OneStep:
    KEY_RETENTION = timedelta(hours=24)

    def __init__(self, secret: str | None) -> None:
        self.charges: dict[str, Any] = {}

    def charge(self, transaction: Transaction, idempotency_key: str) -> Any:
        declined = transaction.customer_id == "sim-decline"
        result = Declined("no_funds") if declined else Charged(f"ch-{idempotency_key}")
        return self.charges.setdefault(idempotency_key, result)

    def find(self, idempotency_key: str) -> Any:
        return self.charges.get(idempotency_key, NoCharge())


class _Untold(OneStep):
    def charge(self, transaction: Transaction, idempotency_key: str) -> Any:
        raise AssertionError


def test_without_payments_a_class_is_made_and_says_whether_money_moves() -> None:
    assert tried(Sound, payments=False) == [Result("mode", "ok")]
    assert failed(_Live, payments=False) == {"mode": "it moves real money: its mode is live"}
    untold = "it does not say whether its key moves real money"
    assert tried(_Untold, payments=False) == [Result("mode", "warn", untold)]


class _Twice(OneStep):
    def charge(self, transaction: Transaction, idempotency_key: str) -> Any:
        self.charges.pop(idempotency_key, None)
        return super().charge(transaction, f"{idempotency_key}-{len(self.charges)}")


class _Same(OneStep):
    def charge(self, transaction: Transaction, idempotency_key: str) -> Any:
        return Charged("ch")


class _Sure(OneStep):
    def find(self, idempotency_key: str) -> Any:
        return NoCharge()


class _Seer(OneStep):
    def find(self, idempotency_key: str) -> Any:
        return Charged("ch")


class _Text(OneStep):
    def charge(self, transaction: Transaction, idempotency_key: str) -> Any:
        return "ch"


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (OneStep, set()),
        (_Twice, {"the same key"}),
        (_Same, {"another key", "decline"}),
        (_Sure, {"find"}),
        (_Seer, {"find", "unknown key"}),
        (_Text, {"charge", "decline"}),
    ],
)
def test_a_gateway_in_one_step_is_tried_too(made: type[OneStep], names: set[str]) -> None:
    found = failed(made)
    assert names <= found.keys()
    assert bool(names) == bool(found)
