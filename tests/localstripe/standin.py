"""What stands for Stripe: its API before localstripe, and the hands of those who act there."""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Condition
from threading import Event as Signal
from typing import Any

import urllib3

from handlers.shared.clock import utc_now
from tests.localstripe import answers, notices
from tests.localstripe.answers import Answer, Refused
from tests.localstripe.faults import Fault, Faults
from tests.localstripe.intents import PATH, Intents
from tests.localstripe.keys import Keys
from tests.localstripe.notices import Event, Events
from tests.localstripe.process import Localstripe, localstripe
from tests.localstripe.serving import PAGE, Connection, Dropped, serving

ACCOUNT = "acct_1standin"
SIGNING_SECRET = "whsec_standin"
# For how long an answer is held back at most that the test lets go.
HOLD_SECONDS = 30
_KEY = re.compile(r"[rs]k_test_standin\d+")


@dataclass(frozen=True)
class Call:
    """What came: kind is prepare, confirm, cancel, fetch, list or account."""

    kind: str
    transaction_id: str | None
    key: str | None
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    path: str


@dataclass
class _Late:
    call: Call
    payment_id: str | None


class Stripe:
    """One account at Stripe. `url` is where its API is."""

    def __init__(self, origin: Localstripe) -> None:
        self.url = ""
        self._origin = origin
        self._underway, self._over = 0, Condition()
        self._release = Signal()
        self.reset()

    def reset(self) -> None:
        """Forget all that was, once the calls are over that nobody waits for any more."""
        self.release()
        with self._over:
            assert self._over.wait_for(lambda: not self._underway, HOLD_SECONDS)
        self._origin.forget()
        self.clock: Callable[[], datetime] = utc_now
        self.account = ACCOUNT
        # Those that are valid; the newest is the last.
        self.api_keys = ["sk_test_standin1"]
        # Whether a key may read whose account it is, which a restricted one needs a permission for.
        self.tells_account = True
        self.signing_secrets = [SIGNING_SECRET]
        self.faults = Faults()
        # What happens, once, before the next call of a kind is read.
        self.before: dict[str, Callable[[], object]] = {}
        self.calls: list[Call] = []
        self.events = Events()
        # Whom each event is told at once.
        self.listeners: list[Callable[[Event], None]] = []
        self.intents = Intents(self._origin, f"{self.url}{PAGE}", self._now, self._tell)
        self._keys = Keys()
        self._late: list[_Late] = []
        self._release = Signal()

    # What an operator has

    def secret(self, **fields: object) -> str:
        """Return the secret for a gateway; `fields` take the place of its own."""
        told = {
            "api_key": self.api_keys[-1],
            "account": self.account,
            "signing_secrets": self.signing_secrets,
            "api_base": self.url,
        }
        return json.dumps(told | fields)

    def rotate(self, *, expires: bool = True) -> None:
        """Make a new API key; the others expire, at once if so wished."""
        number = int(self.api_keys[-1].removeprefix("sk_test_standin")) + 1
        self.api_keys = [*([] if expires else self.api_keys), f"sk_test_standin{number}"]

    # What goes wrong

    def fail(
        self, call: str, fault: Fault | str, times: int = 1, transaction_id: str | None = None
    ) -> None:
        """Let the next calls of a kind meet a fault: all, or those of one transaction."""
        self.faults.plan(call, Fault(fault), times, transaction_id)

    def arrive(self) -> None:
        """Let the calls arrive that are late."""
        late, self._late = self._late, []
        for one in late:
            self._answered(one.call, one.payment_id, None)

    def release(self) -> None:
        """Let the answers go that are held back, now and later."""
        self._release.set()

    # Whom Stripe tells

    def notify(self, url: str, told: Callable[[Event, str], object] = lambda *_: None) -> None:
        """Send each event from now on to a URL, one after the other, as to an endpoint that was set
        up at Stripe; `told` hears what it has answered."""
        events: queue.Queue[Event] = queue.Queue()
        self.listeners.append(events.put)

        def work() -> None:
            while True:
                event = events.get()
                try:
                    answered = str(self.send(event, url))
                except urllib3.exceptions.HTTPError as error:
                    answered = type(error).__name__
                told(event, answered)

        threading.Thread(target=work, daemon=True).start()

    # What customers and banks do

    def authenticate(self, payment_id: str, *, succeeds: bool = True) -> str | None:
        """Let the customer authenticate, or fail to; return where the browser is sent then."""
        return self.intents.authenticate(payment_id, succeeds=succeeds)

    def decide(self, payment_id: str) -> None:
        """Let the bank say what became of its debit, as the method of payment has it."""
        self.intents.decide(payment_id)

    # What one sees at Stripe

    def payments(self, transaction_id: str | None = None) -> list[dict[str, Any]]:
        """Return the payments, the oldest first: all, or those of one transaction."""
        return self.intents.made(transaction_id)

    def captures(self, transaction_id: str) -> list[str]:
        """Return the charges that took a transaction's money: more than one must never be."""
        return [
            one["latest_charge"]
            for one in self.payments(transaction_id)
            if one["status"] == "succeeded"
        ]

    def notification(
        self, event: Event, *, secrets: Sequence[str] | None = None, at: datetime | None = None
    ) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body with which an event is sent: now, unless `at` says
        otherwise, and signed with the secrets that are in use."""
        body = event.body
        return notices.headers(body, secrets or self.signing_secrets, at or self._now()), body

    def send(self, event: Event, url: str) -> int:
        """Send an event to a URL; return the status of the answer."""
        return notices.send(url, event, self.signing_secrets, self._now())

    def _now(self) -> datetime:
        return self.clock()

    def _tell(self, kind: str, created: int, payment: Mapping[str, Any]) -> None:
        event = self.events.add(kind, created, payment)
        for listener in self.listeners:
            listener(event)

    # The API

    def answer(self, connection: Connection) -> Answer:
        """Answer one call of the API; raise Dropped if nothing is answered."""
        with self._over:
            self._underway += 1
        try:
            return self._answer(connection)
        finally:
            with self._over:
                self._underway -= 1
                self._over.notify_all()

    def _answer(self, connection: Connection) -> Answer:
        call, payment_id = self._read(connection)
        self.calls.append(call)
        self.before.pop(call.kind, lambda: None)()
        fault = self.faults.take(call.kind, call.transaction_id)
        if fault is Fault.LATE:
            self._late.append(_Late(call, payment_id))
        if fault in {Fault.LATE, Fault.UNREACHED}:
            raise Dropped
        answer = self._answered(call, payment_id, fault)
        if fault is Fault.LOST:
            raise Dropped
        if fault is Fault.SLOW:
            self._release.wait(HOLD_SECONDS)
        if fault is Fault.GARBLED:
            return Answer(answer.status, b"<html>")
        return answer

    def _read(self, connection: Connection) -> tuple[Call, str | None]:
        kind, payment_id = _routed(connection.method, connection.path)
        transaction_id = (
            self.intents.transaction_of(payment_id)
            if payment_id
            else connection.parameters.get("metadata[transaction_id]")
        )
        headers = connection.headers
        key = headers.get("idempotency-key") if connection.method == "POST" else None
        call = Call(kind, transaction_id, key, connection.parameters, headers, connection.path)
        return call, payment_id

    def _answered(self, call: Call, payment_id: str | None, fault: Fault | None) -> Answer:
        try:
            self._authorize(call)
            if fault in _REFUSALS:
                return _REFUSALS[fault]()
            if call.key is None:
                return self._carried_out(call, payment_id, fault)
            return self._keys.answered(
                call.key,
                call.path,
                call.parameters,
                self._now(),
                lambda: self._carried_out(call, payment_id, fault),
            )
        except Refused as refused:
            return refused.answer

    def _authorize(self, call: Call) -> None:
        key = call.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in self.api_keys:
            raise Refused(answers.unauthorized(expired=bool(_KEY.fullmatch(key))))
        if call.kind == "account" and not self.tells_account:
            raise Refused(answers.forbidden())

    def _carried_out(self, call: Call, payment_id: str | None, fault: Fault | None) -> Answer:
        if fault is Fault.FAILED:
            return answers.failure()
        answer = self._acted(call, payment_id)
        return answers.failure() if fault is Fault.FAILED_DONE else answer

    def _acted(self, call: Call, payment_id: str | None) -> Answer:
        match call.kind, payment_id:
            case "prepare", None:
                return self.intents.create(call.parameters)
            case "list", None:
                return self.intents.listed(call.parameters)
            case "account", None:
                return Answer(200, {"id": self.account, "object": "account"})
            case "fetch", str(name):
                return self.intents.fetch(name, call.parameters)
            case "confirm", str(name):
                return self.intents.confirm(name, call.parameters)
            case "cancel", str(name):
                return self.intents.cancel(name, call.parameters)
        message = f"Unrecognized request URL ({call.path})."
        raise Refused(answers.error(404, answers.INVALID, message))


_REFUSALS: Mapping[Fault | None, Callable[[], Answer]] = {
    Fault.UNAVAILABLE: answers.unavailable,
    Fault.TOO_MANY: answers.too_many,
    Fault.LOCKED: answers.locked,
    Fault.KEY_IN_USE: answers.in_use,
}


def _routed(method: str, path: str) -> tuple[str, str | None]:
    """Return what a call is, and the payment that it is about."""
    if (method, path) == ("GET", "/v1/account"):
        return "account", None
    if path == PATH:
        return ("list" if method == "GET" else "prepare"), None
    if not path.startswith(f"{PATH}/"):
        return "unknown", None
    match method, path.removeprefix(f"{PATH}/").split("/"):
        case "GET", [payment_id]:
            return "fetch", payment_id
        case "POST", [payment_id, ("confirm" | "cancel") as verb]:
            return verb, payment_id
    return "unknown", None


@contextmanager
def stripe(port: int = 0) -> Iterator[Stripe]:
    """Run a stand-in until the end of the block, on any free port unless one is named."""
    with localstripe() as origin:
        account = Stripe(origin)
        with serving(account, port) as url:
            account.url = url
            account.reset()
            yield account
