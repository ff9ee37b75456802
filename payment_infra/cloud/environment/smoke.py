"""A check of a deployed stack with real requests: what a client would notice first."""

from __future__ import annotations

import json
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from payment_infra.cloud.sdk import network
from payment_infra.errors import AwsError
from payment_infra.foreign import escaped, parsed
from payment_infra.gateway_names import gateway_name, moves_money, needs_method
from payment_infra.names import CANCEL_PATH, LOOKUP_PATH

# How API Gateway answers who has not signed, or may not call.
REFUSED = frozenset({401, 403})
ALREADY_PROCESSED = "Transaction already processed"
HEALTH = "health"
CHECK = "check the network"
# What a gateway may need of a payment; one that needs neither leaves it unread.
PAYMENT_METHOD = "smoke-check"
RETURN_URL = "https://example.com/"
CURRENCY = "USD"
# How often, and how far apart, a stage that has been stopped is asked whether it is still.
THROTTLED_LOOKS = 30
THROTTLED_PAUSE_SECONDS = 2.0
# What of an answer stands in a line; a table with it fits into 80 columns.
TOLD_LENGTH = 40


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 and the reason as body if nothing did."""

    status: int
    body: Any
    milliseconds: float

    def field(self, name: str) -> object:
        """Return a field of a JSON object, None where the body is not one."""
        return self.body.get(name) if isinstance(self.body, dict) else None

    @property
    def told(self) -> str:
        """What the answer says of itself, on one short line.

        Of an object that is its error, or its message; API Gateway's own answers have the latter.
        """
        told = self.field("error") or self.field("message") or self.body
        text = told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
        return _short(text) or "nothing"


def _short(text: str) -> str:
    return textwrap.shorten(text, TOLD_LENGTH, placeholder=" …")


@dataclass(frozen=True)
class Check:
    """One check with its request and its outcome."""

    name: str
    verb: str
    path: str
    request: str
    expected: str
    got: str
    answer: Answer

    @property
    def passed(self) -> bool:
        """Whether the answer was the expected one."""
        return self.expected == self.got


class Detour(Protocol):
    """Another way to what answers than the API's address; told says in a line why it is taken."""

    told: str

    def call(self, verb: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """Make a request and return what came back."""
        ...


class Api:
    """The deployed API; signs what it sends, once it is known that the API wants it.

    An API that is out of reach from the first request on, and may well be so, is gone around.
    """

    def __init__(
        self,
        url: str,
        region: str,
        credentials: Callable[[], Any],
        around: Callable[[str], Detour | None] = lambda _: None,
        http: network.Http | None = None,
        *,
        looks_up: bool = True,
        cancels: bool = True,
    ) -> None:
        """Send nothing yet.

        Args:
            url: where the API is.
            region: its region.
            credentials: gives those that sign.
            around: is told how the API answers, and gives the way around it, None for none.
            http: sends the requests; None: one that goes directly, as on this machine.
            looks_up: whether it tells where a payment stands.
            cancels: whether it cancels payments.
        """
        self.url = url
        self.looks_up = looks_up
        self.cancels = cancels
        self._region = region
        self._credentials = credentials
        self._around = around
        self._detour: Detour | None = None
        self._reached = False
        # What is signed: the requests to /health, and those to the others.
        self._signed: set[bool] = set()
        self._http = http or network.Http()

    @property
    def told(self) -> str:
        """What to know of how the API was called, "" for nothing."""
        return self._detour.told if self._detour else ""

    def find_authorization(self) -> None:
        """Find out whether the payment methods want a signature, by a request that changes nothing.

        Raises:
            AwsError: nothing answers at the API's address.
        """
        answer = self.call("POST", "validate", {})
        if answer.status == 0:
            raise AwsError(f"{self.url}: no answer: {answer.body}")

    def call(self, verb: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """Send a request and return what came back; one that is refused unsigned is sent signed."""
        if self._detour:
            return self._detour.call(verb, path, body)
        answer = self._send(verb, path, body)
        if answer.status in REFUSED and _is_health(path) not in self._signed:
            self._signed.add(_is_health(path))
            answer = self._send(verb, path, body)
        if answer.status and answer.status not in REFUSED:
            self._reached = True
        elif not self._reached:
            told = answer.told if answer.status else answer.body
            how = f"{answer.status or 'no answer:'} {told}".partition("; ")[0]
            self._detour = self._around(f"{self.url} cannot be reached from here ({how})")
            if self._detour:
                return self._detour.call(verb, path, body)
        return answer

    def _send(self, verb: str, path: str, body: Mapping[str, object] | None) -> Answer:
        request = AWSRequest(
            method=verb,
            url=self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if _is_health(path) in self._signed:
            SigV4Auth(self._credentials(), "execute-api", self._region).add_auth(request)
        start = time.perf_counter()
        try:
            response = self._http.send(request)
        except network.FAILURES as error:
            return Answer(0, network.told(error, CHECK), since(start))
        content = parsed(response.text)
        content = response.text if content is None else content
        return Answer(response.status_code, content, since(start))


def _is_health(path: str) -> bool:
    return path.partition("?")[0] == HEALTH


@dataclass(frozen=True)
class Verdict:
    """Whether payments work: what shows that they do not, "" if they do; and what else to know."""

    failed: str
    cautions: tuple[str, ...]


def charges(gateway: str, *, pay: bool) -> bool:
    """Whether a check may charge: where money may move, `pay` decides."""
    return pay or not moves_money(gateway)


def not_tried(gateway: str) -> str:
    """Say what a check without a charge leaves open."""
    name = gateway_name(gateway)
    return f"not tried: a charge, which moves money at {name}; --pay makes one of 100.50 USD"


def lacks_method(gateway: str, *, pay: bool, method: str) -> str:
    """Say that a charge would be declined for want of a payment method, "" if it would not."""
    if not pay or method or not needs_method(gateway):
        return ""
    return (
        f"a charge takes a payment method of {gateway_name(gateway)}'s; name one by "
        "--payment-method, such as pm_card_visa with a test key"
    )


def judge(
    api: Api, gateway: str, sleep: Callable[[float], None], *, pay: bool, method: str = ""
) -> Verdict:
    """Find out whether payments work; that the system is not healthy is another question.

    A stage that has just been told to let payments in answers 429 for some seconds more.
    """
    lacking = lacks_method(gateway, pay=pay, method=method)
    charged = charges(gateway, pay=pay) and not lacking
    cautions = [] if charged else [f"not tried: {lacking}" if lacking else not_tried(gateway)]
    failed = []
    for _ in range(THROTTLED_LOOKS):
        if api.call("POST", "validate", {}).status != 429:
            break
        sleep(THROTTLED_PAUSE_SECONDS)
    try:
        for check in run(api, charge=charged, method=method):
            if check.passed:
                continue
            if check.name == HEALTH:
                ill = ", ".join(unhealthy(check.answer.body)) or check.got
                cautions.append(f"the system is not healthy: {ill}")
            else:
                failed.append(f"{check.name}: {check.got}, not {check.expected}")
    except AwsError as error:
        failed.append(str(error))
    if api.told:
        cautions.append(api.told)
    return Verdict("; ".join(failed), tuple(cautions))


def currency_refused(check: Check, currency: str) -> str:
    """Say what to do where a check has failed since its payment's currency is not taken, "" where
    that is not why."""
    if check.passed or check.answer.field("error") != "Invalid currency":
        return ""
    why = escaped(str(check.answer.field("message")))
    return f"{escaped(currency)} is not taken ({why}); name another by --currency"


def unhealthy(report: object) -> list[str]:
    """Return a few words on each check of a health report that is not healthy."""
    checks = report.get("checks") if isinstance(report, dict) else None
    return [
        f"{check.get('metric')} of {check.get('resource')} is {check.get('status')}"
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict) and check.get("status") != "healthy"
    ]


def run(api: Api, *, charge: bool, method: str = "", currency: str = CURRENCY) -> Iterator[Check]:
    """Run the checks in order, and yield each as soon as it is done.

    Args:
        api: of the stack.
        charge: whether the payment that is recorded is charged, too; else it is canceled.
        method: the gateway's token of what is charged, "" for one that no real gateway knows.
        currency: of the payment, which is of 100.50 USD, or 100 of any other: not every currency
            has decimals (ISO 4217).
    """
    api.find_authorization()
    check = partial(_check, api)
    amount = 100.50 if currency == CURRENCY else 100
    payment: dict[str, object] = {"amount": amount, "currency": currency}
    payment |= {"customer_id": "smoke-check"}
    payment |= {"payment_method": method or PAYMENT_METHOD, "return_url": RETURN_URL}
    validated = check("validate", "POST", "validate", payment, "200 validated", "status")
    yield validated
    known = {"transaction_id": validated.answer.field("transaction_id") or "none"}
    if charge:
        again = "200 already processed"
        yield check("process", "POST", "process", known, "200 processed", "status")
        yield check("process again", "POST", "process", known, again, "message")
        if api.looks_up:
            place = f"{LOOKUP_PATH}/{known['transaction_id']}"
            yield check("look up", "GET", place, None, "200 processed", "status")
    if api.cancels:
        told = ("409 already processed", "error") if charge else ("200 canceled", "status")
        yield check("cancel", "POST", CANCEL_PATH, known, *told)
    negative = payment | {"amount": -1}
    yield check("rejected amount", "POST", "validate", negative, "400 Invalid amount", "error")
    unknown = {"transaction_id": str(uuid.uuid4())}
    missing = "404 Transaction not found"
    yield check("unknown id", "POST", "process", unknown, missing, "error")
    yield check(HEALTH, "GET", "health", None, "200 healthy", "overall_status")


def _check(
    api: Api,
    name: str,
    verb: str,
    path: str,
    body: Mapping[str, object] | None,
    expected: str,
    field: str,
) -> Check:
    answer = api.call(verb, path, body)
    return Check(
        name=name,
        verb=verb,
        path=path,
        request="" if body is None else json.dumps(body),
        expected=expected,
        got=f"{answer.status or 'no answer:'} {_told(answer, field)}",
        answer=answer,
    )


def _told(answer: Answer, field: str) -> str:
    if not answer.status:
        return str(answer.body)
    told = answer.field(field)
    if told == ALREADY_PROCESSED:
        return "already processed"
    known = isinstance(told, str) and told and answer.field("error") is None
    return _short(str(told)) if known else answer.told


def since(start: float) -> float:
    """Return the milliseconds since a moment of `time.perf_counter`."""
    return (time.perf_counter() - start) * 1000
