"""Stripe's API: what is asked of it within one call of the gateway's protocol, and how it fails.

The rules are those of Stripe's pages "Errors", "Advanced error handling", "Idempotent requests",
"Rate limits" and "Pagination". What Stripe says of a failure is told by its codes alone: its text
may hold what a customer has sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from handlers.shared.aws import logs
from handlers.shared.gateway import (
    GATEWAY_TIMEOUT_SECONDS,
    GatewayKeyFailed,
    GatewayTimeout,
    GatewayUnavailable,
)
from handlers.shared.stripe_http import HttpAnswer, HttpRequest, NotAnswered, NotSent, Send, send
from handlers.shared.stripe_secret import InvalidSecret, StripeSecret, parse_secret

if TYPE_CHECKING:
    from handlers.shared.failures import DependencyFailed

# Of 2025-12-15 (Stripe, "Set a Stripe API version"). Another one may answer otherwise: it is to be
# tried with `gateway check` before it stands here.
API_VERSION = "2025-12-15.clover"

# All that is asked within one call of the protocol ends by then.
CALL_SECONDS = GATEWAY_TIMEOUT_SECONDS - 0.5
# With less than that, nothing more is asked: an answer takes some tenths of a second.
LEAST_SECONDS = 0.5
# To fetch the secret anew: as long as deadline.py gives it.
SECRET_SECONDS = 2.0
# Between one try and the next: doubled each time, and no more than that.
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 1.0
# How often a request is sent that does not arrive, or that Stripe cannot carry out. What waits for
# another request is sent as often as the time lasts.
MAX_TRIES = 3

# What Stripe's codes, and the names of its parameters and requests, are made of.
_WORD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,80}", re.ASCII)

Params = Mapping[str, str]
Object = dict[str, Any]


class Refused(Exception):
    """Stripe would not do what was asked, for a reason that stays: nothing was done.

    code and param are Stripe's own; payment is the PaymentIntent that it was about, as it is now.
    lacks_mandate is said where Stripe gives neither of both: that its text has the word is all that
    is made of the text (Stripe, "Accept an ACH Direct Debit payment": Resolve disputes).
    """

    def __init__(self, status: int, error: Object) -> None:
        self.status = status
        self.type = word(error.get("type"))
        self.code = word(error.get("decline_code")) or word(error.get("code"))
        self.param = word(error.get("param"))
        message = error.get("message")
        is_named = bool(self.code or self.param)
        self.lacks_mandate = not is_named and isinstance(message, str) and "mandate" in message
        payment = error.get("payment_intent")
        self.payment: Object | None = payment if isinstance(payment, dict) else None
        super().__init__(self.told)

    @property
    def told(self) -> str:
        """The code, or what else says what it was."""
        return self.code or self.type or f"http_{self.status}"


class KeyReused(GatewayKeyFailed):
    """The key came with other parameters before: nothing was done now, but something was then."""


class Api:
    """Stripe as one account sees it, with one key; `fetch_secret` returns the secret as it is now.

    seconds is a clock, and wait sleeps for so many seconds.
    """

    def __init__(
        self,
        secret: StripeSecret,
        carry: Send = send,
        seconds: Callable[[], float] = monotonic,
        wait: Callable[[float], object] = sleep,
    ) -> None:
        self.secret = secret
        self.fetch_secret: Callable[[], str | None] | None = None
        self.carry, self.seconds, self.wait = carry, seconds, wait

    def begin(self) -> Call:
        """Return what one call of the protocol asks with, from now on."""
        return Call(self, self.seconds() + CALL_SECONDS)

    def renew(self) -> bool:
        """Fetch the secret anew, since its key was refused; return whether there is another key.

        One of another account, or of another mode, is not taken: a payment stays where it began.
        Raises GatewayUnavailable if there is none to be had.
        """
        if self.fetch_secret is None:
            return False
        try:
            secret = parse_secret(self.fetch_secret())
        except InvalidSecret as invalid:
            raise GatewayUnavailable("secret_invalid") from invalid
        used = self.secret
        if (secret.account, secret.mode) != (used.account, used.mode):
            return False
        self.secret = secret
        return secret.api_key != used.api_key


@dataclass
class Call:
    """What is asked within one call of the protocol, which ends at a moment of the API's clock."""

    api: Api
    ends_at: float
    renewed: bool = False

    @property
    def left(self) -> float:
        """How many seconds are left."""
        return self.ends_at - self.api.seconds()

    @property
    def is_over(self) -> bool:
        """Whether there is no time to ask for more."""
        return self.left < LEAST_SECONDS

    def get(self, path: str, params: Params | None = None) -> Object:
        """Return an object, or a list; raises as `post` does, but GatewayKeyFailed."""
        return self._ask("GET", f"{path}?{urlencode(params)}" if params else path, None, None)

    def post(self, path: str, params: Params, key: str) -> Object:
        """Have something done, and return what it is about.

        Raises:
            Refused: it was not done.
            GatewayUnavailable: it was not done, for a reason that passes, or is the operator's.
            GatewayTimeout: whether it was done is unknown.
            GatewayKeyFailed: it failed at Stripe, which says so for as long as it knows the key; as
                KeyReused, the key is one for other parameters.
        """
        return self._ask("POST", path, urlencode(params), key)

    def _ask(self, method: str, path: str, body: str | None, key: str | None) -> Object:
        """Ask, again while that may help and the time lasts; a repeated key does nothing twice."""
        is_unknown = False
        for tries in count(1):
            failure: DependencyFailed
            pause: float | None = _pause(tries) if tries < MAX_TRIES else None
            try:
                answer = self._send(method, path, body, key)
                found = _object(answer)
                if 200 <= answer.status < 300 and found is not None:
                    return found
                failure, pause = self._judge(answer, found or {}, key, tries)
            except NotSent as not_sent:
                failure = GatewayUnavailable(not_sent.code)
                pause = None if not_sent.stays else pause
            except NotAnswered as lost:
                failure, is_unknown = GatewayTimeout(lost.code), True
            if pause is None or pause + LEAST_SECONDS > self.left:
                # What one try may have done is not undone by how another one fails.
                raise GatewayTimeout(failure.code) if is_unknown else failure
            self.api.wait(pause)
        raise AssertionError("it is asked until there is an answer")

    def _send(self, method: str, path: str, body: str | None, key: str | None) -> HttpAnswer:
        secret = self.api.secret
        headers = {
            "Authorization": f"Bearer {secret.api_key}",
            "Stripe-Version": API_VERSION,
            "User-Agent": "payment-infra",
            "Accept": "application/json",
        }
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if key is not None:
            headers["Idempotency-Key"] = key
        url = f"{secret.api_base}/v1/{path}"
        return self.api.carry(HttpRequest(method, url, headers, body), self.left)

    def _judge(
        self, answer: HttpAnswer, found: Object, key: str | None, tries: int
    ) -> tuple[DependencyFailed, float | None]:
        """Return what a failure is, and after how many seconds to ask again, None for not at all.

        Raises Refused.
        """
        told = found.get("error")
        refused = Refused(answer.status, told if isinstance(told, dict) else {})
        _log(answer, refused)
        advised = answer.headers.get("stripe-should-retry")
        pause = None if advised == "false" else _pause(tries)
        match answer.status:
            case 401:
                return GatewayUnavailable(refused.told), 0 if self._renew() else None
            case 409:
                # Another request with this key is under way, and has yet to end.
                return GatewayTimeout(refused.told), pause
            case 429:
                after = _seconds(answer.headers.get("retry-after"))
                if after is not None:
                    pause = max(after, _pause(tries))
                return GatewayUnavailable(refused.told), pause
            case status if status >= 500 or status == 424:
                # A failure that is stored comes again; another one may be stored by now.
                is_stored = answer.headers.get("idempotent-replayed") == "true"
                is_over = tries >= MAX_TRIES or (is_stored and advised != "true")
                kind = GatewayUnavailable if key is None else GatewayKeyFailed
                return kind(refused.told), None if is_over else pause
            case 400 if refused.type == "idempotency_error":
                return KeyReused(refused.told), None
            case 400 | 402 | 404:
                raise refused
            case status if 200 <= status < 300:
                return GatewayTimeout(refused.told), None
        return GatewayUnavailable(refused.told), None

    def _renew(self) -> bool:
        """Fetch the secret anew, once within a call."""
        if self.renewed or self.left < SECRET_SECONDS + LEAST_SECONDS:
            return False
        self.renewed = True
        return self.api.renew()


def _pause(tries: int) -> float:
    return min(FIRST_WAIT_SECONDS * 2.0 ** (tries - 1), LONGEST_WAIT_SECONDS)


def word(value: object) -> str:
    """Return a code of Stripe's, "" for what is none: only such may get into a log, or a row."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _object(answer: HttpAnswer) -> Object | None:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _seconds(text: str | None) -> float | None:
    """Return how long to wait; Stripe says it in seconds."""
    return float(text) if text is not None and re.fullmatch(r"[0-9]{1,4}", text) else None


def _log(answer: HttpAnswer, refused: Refused) -> None:
    """Log what Stripe's support asks for."""
    logs.info(
        "stripe refused",
        status=answer.status,
        code=refused.told,
        param=refused.param,
        request=word(answer.headers.get("request-id")),
    )
