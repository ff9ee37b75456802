"""What every payment gateway has to pass, tried with payments at its own sandbox.

It runs where there is what a function has (`gateway_trial`), or beside the handlers. Of what a
gateway raises, type and place are told, and the code of a failure that the protocol names: the text
may hold its secret.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Literal, NoReturn

Level = Literal["ok", "warn", "fail"]

# How far the clocks of two machines may be apart, and so many pages of a list are read.
CLOCKS = timedelta(minutes=2)
MAX_PAGES = 50
# What a code is made of, such as rate_limit.
CODE = re.compile(r"[A-Za-z0-9_. -]{1,40}")
# What a check brings about for those after it.
EARLIER = frozenset({"charged", "first", "id", "reference"})


@dataclass(frozen=True)
class Request:
    """Which class is tried, and with what.

    folders come first on the path, runtime is as for `gateway_probe`. The tokens are of the
    gateway's sandbox: what is charged, declined, and left pending; "" leaves its checks out. amount
    is in minor units of the currency. Without payments, the class is made with its secret, says
    whether that moves real money, and that is all.
    """

    module: str
    name: str
    folders: tuple[str, ...] = ()
    runtime: Mapping[str, str] = field(default_factory=dict)
    payment_method: str = ""
    declined_method: str = ""
    pending_method: str = ""
    customer: str = "payment-infra-check"
    declined_customer: str = ""
    return_url: str = "https://example.com/return"
    currency: str = "USD"
    amount: int = 100
    payments: bool = True


@dataclass(frozen=True)
class Result:
    """One check: its name, how it came out, and what was found."""

    name: str
    level: Level
    message: str = ""


class Failed(Exception):
    """The gateway does not keep to its protocol; the text says in what."""


class LeftOut(Exception):
    """A check that needs something that was not given, or that the gateway cannot do."""


# What a check returns is told behind its "ok".
Check = Callable[[], str]


def run(
    made: Callable[[str | None], Any],
    secret: str | None,
    request: Request,
    seconds: Callable[[], float] = monotonic,
) -> Iterator[Result]:
    """Try a gateway class, and yield what each check found; the first failure to make it ends all.

    Args:
        made: the class.
        secret: the text of its secret.
        request: with what it is tried; module and folders are not looked at.
        seconds: a clock, by which each call is measured.
    """
    from handlers.shared.gateway import InvalidSecret, in_two_steps

    try:
        gateway = made(secret)
    except InvalidSecret as error:  # its text has nothing of the secret
        yield Result("make", "fail", str(error))
        return
    except Exception as error:  # noqa: BLE001 - the class is not ours, and may raise anything
        yield Result("make", "fail", f"it cannot be made: {type(error).__name__}{_place(error)}")
        return
    two_steps, mode = in_two_steps(gateway), getattr(gateway, "mode", None)
    if mode == "live" or (two_steps and mode != "test"):
        yield Result("mode", "fail", f"it moves real money: its mode is {mode}")
        return
    if not request.payments:
        told = "" if mode == "test" else "it does not say whether its key moves real money"
        yield Result("mode", "warn" if told else "ok", told)
        return
    if "payment_method" in getattr(gateway, "NEEDS", ()) and not request.payment_method:
        yield Result("method", "fail", "name what the sandbox charges by --payment-method")
        return
    kind = _TwoSteps if two_steps else _OneStep
    trial = kind(gateway, request, seconds)
    for name, check in (*trial.checks(), ("time", trial.time)):
        yield _result(name, check, secret)


def _result(name: str, check: Check, secret: str | None) -> Result:
    try:
        return Result(name, "ok", check())
    except LeftOut as left_out:
        return Result(name, "warn", str(left_out))
    except Failed as failed:
        return Result(name, "fail", str(failed))
    except Exception as error:  # noqa: BLE001
        return Result(name, "fail", f"{type(error).__name__}{_code(error, secret)}{_place(error)}")


class _Trial:
    """What the trials of both kinds do alike."""

    def __init__(self, gateway: Any, request: Request, seconds: Callable[[], float]) -> None:
        self.gateway, self.request, self._seconds = gateway, request, seconds
        self.longest = 0.0

    def __getattr__(self, name: str) -> Any:
        """Leave out a check of what an earlier one has not brought about."""
        if name in EARLIER:
            raise LeftOut("not tried: an earlier check has failed")
        raise AttributeError(name)

    def time(self) -> str:
        """Each call ends within the time that the functions have for it."""
        from handlers.shared.gateway import GATEWAY_TIMEOUT_SECONDS

        if self.longest > GATEWAY_TIMEOUT_SECONDS:
            _fail(f"a call took {self.longest:.1f} s, and has {GATEWAY_TIMEOUT_SECONDS} s")
        return f"the longest call took {self.longest:.1f} s"

    def call(self, name: str, *args: object, **named: object) -> Any:
        """Call a method of the gateway, and remember the longest."""
        begun = self._seconds()
        try:
            return getattr(self.gateway, name)(*args, **named)
        finally:
            self.longest = max(self.longest, self._seconds() - begun)

    def transaction(self, method: str = "", customer: str = "", **money: Any) -> Any:
        """Return a payment that has just been claimed, as the functions give it."""
        from dataclasses import replace

        from handlers.shared.clock import timestamp
        from handlers.shared.money import Money
        from handlers.shared.transactions import Transaction

        now = datetime.now(UTC)
        details = {"reference": "payment-infra check", "return_url": self.request.return_url}
        made = Transaction.validated(
            str(uuid.uuid4()),
            Money(money.get("amount", self.request.amount), money.get("currency", self.currency)),
            customer or self.request.customer,
            now,
            None,
            details | ({"payment_method": method} if method else {}),
        )
        return replace(made, first_charge_at=timestamp(now), attempt_id=str(uuid.uuid4()))

    @property
    def currency(self) -> str:
        return self.request.currency


class _OneStep(_Trial):
    """A gateway that charges in one step."""

    def checks(self) -> Iterator[tuple[str, Check]]:
        yield "charge", self.charge
        yield "the same key", self.same_key
        yield "find", self.find
        yield "another key", self.another_key
        yield "unknown key", self.unknown_key
        yield "decline", self.decline

    def charge(self) -> str:
        """A payment is charged."""
        self.charged = self.transaction(self.request.payment_method)
        self.reference = self._reference(self._charge(self.charged))
        return f"charged as {self.reference}"

    def same_key(self) -> str:
        """A repeated key returns the first result."""
        if self._reference(self._charge(self.charged)) != self.reference:
            _fail("the same idempotency_key was charged a second time")
        return "the same capture"

    def find(self) -> str:
        """A charge can be found, or the gateway says that it cannot tell."""
        from handlers.shared.gateway import NoCharge

        found = self.call("find", self.charged.transaction_id)
        if isinstance(found, NoCharge):
            _fail("it finds for certain no charge with a key that was charged")
        if found is None:
            raise LeftOut("it cannot tell: after KEY_RETENTION a payment is left to a person")
        if self._reference(found) != self.reference:
            _fail("it finds another capture than it has charged")
        return "the same capture"

    def another_key(self) -> str:
        """Another payment is another capture."""
        if self._reference(self._charge(self.transaction(self.request.payment_method))) == (
            self.reference
        ):
            _fail("two payments have the same capture")
        return "another capture"

    def unknown_key(self) -> str:
        """A key that was never used is no charge."""
        from handlers.shared.gateway import NoCharge

        found = self.call("find", str(uuid.uuid4()))
        if found is not None and not isinstance(found, NoCharge):
            _fail(f"it finds {type(found).__name__} for a key that was never used")
        return "certainly none" if found is not None else "none that it knows of"

    def decline(self) -> str:
        """A declined payment is told as declined, and stays so."""
        from handlers.shared.gateway import Declined

        method, customer = self.request.declined_method, self.request.declined_customer
        if not method and not customer:
            raise LeftOut("not tried: name what the sandbox declines")
        declined = self.transaction(method or self.request.payment_method, customer)
        results = [self._charge(declined) for _ in range(2)]
        if not all(isinstance(result, Declined) for result in results):
            _fail(f"it answers {type(results[0]).__name__}, then {type(results[1]).__name__}")
        return _reason(results[0])

    def _charge(self, transaction: Any) -> Any:
        return self.call("charge", transaction, idempotency_key=transaction.transaction_id)

    def _reference(self, result: Any) -> str:
        from handlers.shared.gateway import Charged

        if not isinstance(result, Charged) or not isinstance(result.reference, str):
            _fail(f"it answers {_told(result)}, and not Charged with a reference")
        return result.reference


class _TwoSteps(_Trial):
    """A gateway that prepares a payment, and charges it when it is confirmed."""

    def __init__(self, gateway: Any, request: Request, seconds: Callable[[], float]) -> None:
        super().__init__(gateway, request, seconds)
        self.begun = _whole(datetime.now(UTC)) - CLOCKS
        # Of what was prepared the id, and its transaction_id.
        self.made: dict[str, str] = {}

    def checks(self) -> Iterator[tuple[str, Check]]:
        yield "account", self.account
        yield "currencies", self.currencies
        yield "prepare", self.prepare
        yield "the same key", self.same_key
        yield "find", self.find
        yield "another payment", self.another_payment
        yield "unknown payment", self.unknown_payment
        yield "confirm", self.confirm
        yield "confirm again", self.confirm_again
        yield "cancel after it", self.cancel_after_it
        yield "cancel", self.cancel
        yield "decline", self.decline
        yield "pending", self.pending
        yield "other digits", self.other_digits
        yield "list", self.listing

    def account(self) -> str:
        """It tells whose account is paid into."""
        name = self.gateway.account
        if not isinstance(name, str) or not name or not all("!" <= one <= "~" for one in name):
            _fail("its account is no text of visible ASCII characters")
        return "test"

    def currencies(self) -> str:
        """It tells for each currency in how many digits it counts, or that it does not take it."""
        from handlers.shared.money import MINOR_DIGITS

        told = {code: self.gateway.digits(code) for code in MINOR_DIGITS}
        for code, digits in told.items():
            if digits is not None and (type(digits) is not int or not 0 <= digits <= 4):
                _fail(f"digits({code!r}) is {digits!r}, and not None or 0 to 4")
        if told[self.currency] is None:
            _fail(f"it does not take {self.currency}; name a currency that it takes")
        taken = [code for code, digits in told.items() if digits is not None]
        other = [code for code in taken if told[code] != MINOR_DIGITS[code]]
        return f"{len(taken)} taken, {len(other)} in other digits than ISO 4217's"

    def prepare(self) -> str:
        """A payment is prepared as it is, and moves no money."""
        self.first = self.transaction(self.request.payment_method)
        payment = self._prepared(self.first)
        self._open(self.call("fetch", payment.id), "fetched")
        self.id = payment.id
        return f"as {payment.id}"

    def same_key(self) -> str:
        """A repeated key returns the first payment."""
        payment = self.call("prepare", self.first, idempotency_key=self.first.transaction_id)
        if payment.id != self.id:
            _fail("the same idempotency_key has prepared a second payment")
        return "the same payment"

    def find(self) -> str:
        """A payment is found by its transaction_id, or the gateway says that it cannot tell."""
        from handlers.shared.gateway import GatewayPayment

        found = self.call("find", self.first)
        if found is None:
            raise LeftOut("it cannot tell: a payment that a restore took back is left to a person")
        if not isinstance(found, GatewayPayment) or found.id != self.id:
            _fail(f"it finds {_told(found)}, and not the payment that it has prepared")
        return "the same payment"

    def another_payment(self) -> str:
        """Another payment is another one."""
        if self._prepared(self.transaction(self.request.payment_method)).id == self.id:
            _fail("two payments have the same id")
        return "another id"

    def unknown_payment(self) -> str:
        """What there is not is not found, and cannot be fetched."""
        from handlers.shared.gateway import NoCharge

        found = self.call("find", self.transaction(self.request.payment_method))
        if found is not None and not isinstance(found, NoCharge):
            _fail(f"it finds {_told(found)} for a payment that was never prepared")
        fetched = self._or_refused("fetch", f"{self.id}x")
        if fetched is not None:
            _fail(f"it fetches {_told(fetched)} for an id that there is not")
        return "certainly none" if found is not None else "none that it knows of"

    def confirm(self) -> str:
        """A confirmed payment is charged, and stays so."""
        from handlers.shared.gateway import Charged

        payment = self._confirm(self.id)
        if not isinstance(payment.outcome, Charged):
            _fail(f"it answers {_told(payment.outcome)}, and not Charged")
        self.reference = payment.outcome.reference
        self._check(self.call("fetch", self.id), self.first)
        if self.call("fetch", self.id).outcome != payment.outcome:
            _fail("what it fetches afterwards is not what confirm has answered")
        return f"charged as {self.reference}"

    def confirm_again(self) -> str:
        """A payment is captured once, whoever confirms it how often."""
        self._confirmed_again(self.id)
        outcome = self.call("fetch", self.id).outcome
        if getattr(outcome, "reference", None) != self.reference:
            _fail(f"a second confirm made {_told(outcome)} of it")
        return "one capture"

    def cancel_after_it(self) -> str:
        """What is charged cannot be canceled."""
        reference = self.reference
        self._or_refused("cancel", self.id, idempotency_key=str(uuid.uuid4()))
        outcome = self.call("fetch", self.id).outcome
        if getattr(outcome, "reference", None) != reference:
            _fail(f"a charged payment was canceled: {_told(outcome)}")
        return "it stays charged"

    def cancel(self) -> str:
        """What is canceled is never charged."""
        payment = self._prepared(self.transaction(self.request.payment_method))
        self._canceled(payment.id)
        self._confirmed_again(payment.id)
        self._is_canceled(self.call("fetch", payment.id))
        return "for good"

    def decline(self) -> str:
        """A payment that failed is told as declined, and can be canceled for good."""
        from handlers.shared.gateway import Declined

        method, customer = self.request.declined_method, self.request.declined_customer
        if not method and not customer:
            raise LeftOut("not tried: name what the sandbox declines")
        transaction = self.transaction(method or self.request.payment_method, customer)
        made = self.call("prepare", transaction, idempotency_key=transaction.transaction_id)
        if isinstance(made, Declined):
            return f"{_reason(made)}, and nothing was prepared"
        payment = self._confirm(made.id)
        if not isinstance(payment.outcome, Declined):
            _fail(f"it answers {_told(payment.outcome)}, and not Declined")
        self._canceled(made.id)
        self._confirmed_again(made.id)
        self._is_canceled(self.call("fetch", made.id))
        return _reason(payment.outcome)

    def pending(self) -> str:
        """A payment that waits for somebody is told as pending."""
        from handlers.shared.gateway import Pending

        if not self.request.pending_method:
            raise LeftOut("not tried: name what the sandbox leaves pending")
        transaction = self.transaction(self.request.pending_method)
        payment = self._confirm(self._prepared(transaction).id)
        if not isinstance(payment.outcome, Pending):
            _fail(f"it answers {_told(payment.outcome)}, and not Pending")
        url = payment.outcome.next_action
        if url is not None and not str(url).startswith(("https://", "http://127.0.0.1:")):
            _fail("its next_action is no https URL")
        return "with a next_action" if url else "without a next_action"

    def other_digits(self) -> str:
        """A currency that it counts otherwise than ISO 4217 is charged in the right amount."""
        from handlers.shared.money import MINOR_DIGITS

        for code, minor in MINOR_DIGITS.items():
            digits = self.gateway.digits(code)
            if digits is not None and digits != minor:
                self._prepared(
                    self.transaction(self.request.payment_method, currency=code, amount=1000)
                )
                return f"{code}, in {digits} digits"
        return "it has none"

    def listing(self) -> str:
        """All that was made since a moment is listed once, page by page, as it is fetched."""
        from handlers.shared.gateway import lists

        if not lists(self.gateway):
            raise LeftOut("it cannot list its payments: nothing is reconciled")
        until = _whole(datetime.now(UTC)) + CLOCKS
        listed = self._listed(self.begun, until)
        ids = [payment.id for payment in listed]
        if len(set(ids)) < len(ids):
            _fail("it lists a payment twice")
        missing = self.made.keys() - set(ids)
        if missing:
            _fail(f"it lists {len(ids)}, and not all of what it has prepared since")
        for payment in listed:
            if not payment.created_at or not self.begun <= payment.created_at < until:
                _fail("a listed payment has no created_at, or one out of the time asked for")
            if payment.id in self.made and payment.transaction_id != self.made[payment.id]:
                _fail(f"a listed payment has the transaction_id {payment.transaction_id!r}")
        charged = next(payment for payment in listed if payment.id == self.id)
        self._check(charged, self.first)
        if charged.outcome != self.call("fetch", self.id).outcome:
            _fail(f"what is charged is listed as {_told(charged.outcome)}")
        if self.made.keys() & {payment.id for payment in self._listed(until, until + CLOCKS)}:
            _fail("it lists what was made before the time asked for")
        return f"{len(ids)} since the first check"

    def _listed(self, since: datetime, until: datetime) -> Sequence[Any]:
        """Return a whole list."""
        found: list[Any] = []
        cursors: list[str | None] = [None]
        while True:
            page = self.call("payments", since, until, cursors[-1])
            found += page.payments
            if page.cursor is None:
                return found
            if not isinstance(page.cursor, str) or page.cursor in cursors:
                _fail("a cursor is a text, and leads on")
            if len(cursors) == MAX_PAGES:
                raise LeftOut(f"more than {MAX_PAGES} pages of the latest payments; nothing failed")
            cursors.append(page.cursor)

    def _prepared(self, transaction: Any) -> Any:
        payment = self.call("prepare", transaction, idempotency_key=transaction.transaction_id)
        self._check(payment, transaction)
        self._open(payment, "prepared")
        self.made[payment.id] = transaction.transaction_id
        return payment

    def _check(self, payment: Any, transaction: Any) -> None:
        """Make sure that the gateway's payment is this one."""
        from handlers.shared.gateway import GatewayPayment
        from handlers.shared.money import Money
        from handlers.shared.needs import units

        if not isinstance(payment, GatewayPayment):
            _fail(f"it answers {_told(payment)}, and not a GatewayPayment")
        amount = units(self.gateway, Money(transaction.amount_minor, transaction.currency))
        for name, expected in (
            ("amount", amount),
            ("currency", transaction.currency),
            ("account", self.gateway.account),
            ("mode", self.gateway.mode),
        ):
            found = getattr(payment, name)
            if found != expected or type(found) is not type(expected):
                _fail(f"its payment has the {name} {found!r}, and not {expected!r}")

    def _open(self, payment: Any, how: str) -> None:
        from handlers.shared.gateway import Open

        if not isinstance(payment.outcome, Open):
            _fail(f"a payment that is {how} is {_told(payment.outcome)}, and not Open")

    def _confirm(self, payment_id: str) -> Any:
        return self.call("confirm", payment_id, **self._confirming)

    def _confirmed_again(self, payment_id: str) -> None:
        """Confirm a payment that has ended."""
        self._or_refused("confirm", payment_id, **self._confirming)

    @property
    def _confirming(self) -> dict[str, str]:
        return {"idempotency_key": str(uuid.uuid4()), "return_url": self.request.return_url}

    def _or_refused(self, name: str, *args: object, **named: object) -> Any:
        """Call what a gateway may refuse, by whatever it raises then; return None if it has."""
        try:
            return self.call(name, *args, **named)
        except Exception:  # noqa: BLE001
            return None

    def _canceled(self, payment_id: str) -> None:
        self._is_canceled(self.call("cancel", payment_id, idempotency_key=str(uuid.uuid4())))
        self._is_canceled(self.call("fetch", payment_id))

    def _is_canceled(self, payment: Any) -> None:
        from handlers.shared.gateway import NotCharged

        if not isinstance(payment.outcome, NotCharged):
            _fail(f"a payment that is canceled is {_told(payment.outcome)}, and not NotCharged")


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _fail(text: str) -> NoReturn:
    raise Failed(text)


def _told(value: object) -> str:
    return type(value).__name__


def _reason(declined: Any) -> str:
    if not isinstance(declined.reason, str) or not declined.reason:
        _fail("a Declined has a reason, a short code")
    return f"declined: {declined.reason}"


def _code(error: BaseException, secret: str | None) -> str:
    """Return the code of a failure that the protocol names, which gets into the logs, too."""
    from handlers.shared.failures import DependencyFailed

    code = error.code if isinstance(error, DependencyFailed) else ""
    is_code = isinstance(code, str) and CODE.fullmatch(code) and code not in (secret or "")
    return f" ({code})" if is_code else ""


def _place(error: BaseException) -> str:
    """Return where an error was raised, without its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    file = os.path.basename(trace.tb_frame.f_code.co_filename)
    return f" at {file}:{trace.tb_lineno}"
