"""The handlers in a world of fakes whose gateway is Stripe's stand-in: its client, and its time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from handlers import cancellation, gateway_events, processing, validation
from handlers.shared.aws import clients
from handlers.shared.idempotency import HEADER
from handlers.shared.recovery import MAX_LOOK_SECONDS
from handlers.shared.states import ASIDE_KEYS, PENDING, PROCESSING, VALIDATED
from handlers.shared.stripe import StripeGateway
from handlers.shared.stripe_api import Api
from handlers.shared.stripe_http import send
from handlers.shared.stripe_secret import parse_secret
from tests.expressions import plain
from tests.model.faults import Killed
from tests.model.invocations import Invocation, run
from tests.model.services import VISIBILITY_TIMEOUT
from tests.model.world import World

if TYPE_CHECKING:
    import pytest

    from handlers.shared.stripe_http import HttpAnswer, HttpRequest, Send
    from tests.localstripe.notices import Event
    from tests.localstripe.standin import Stripe

RETURN_URL = "https://shop.example/back"
# More than three receives and three recoveries take.
MOST_ROUNDS = 60


class Context:
    """Of an invocation that has the whole of its time left."""

    aws_request_id = "invocation"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass
class Shop:
    """A client of the API, and who looks at both sides of it.

    `carry` carries the gateway's requests; its waits let the world's time go by, and take none.
    """

    account: Stripe
    patch: pytest.MonkeyPatch
    carry: Send = send
    world: World = field(default_factory=lambda: World(lambda _: None, two_steps=True))

    def __post_init__(self) -> None:
        self.world.install(self.patch)
        self.account.clock = self.world.clock
        for entry in (validation, processing, cancellation, gateway_events):
            self.patch.setattr(entry, "utc_now", self.world.clock)
        self.patch.setenv("GATEWAY", f"{StripeGateway.__module__}:{StripeGateway.__qualname__}")
        self.patch.setattr(clients, "gateway_class", lambda: StripeGateway)
        self.open()

    def open(self) -> StripeGateway:
        """Make the gateway anew, as a new container does, with the secret as it is now."""
        api = Api(
            parse_secret(self.account.secret()),
            self._carried,
            lambda: self.world.clock().timestamp(),
            self.world.clock.advance,
        )
        gateway = StripeGateway(None, api)
        gateway.fetch_secret = self.account.secret
        self.patch.setattr(clients, "gateway", lambda: gateway)
        return gateway

    def _carried(self, request: HttpRequest, seconds: float) -> HttpAnswer:
        return self.carry(request, seconds)

    # What clients do

    def validate(
        self, method: str = "pm_card_visa", *, key: str | None = None, **fields: object
    ) -> str:
        """Return the id of a new payment, or of the one with this Idempotency-Key."""
        body = {"amount": 100.5, "currency": "USD", "customer_id": "customer"}
        details = {"payment_method": method, "return_url": RETURN_URL}
        given = {name: value for name, value in (body | details | fields).items() if value}
        answer = self._ask(validation.handler, given, {} if key is None else {HEADER: key})
        assert answer["statusCode"] == 200, answer
        return str(json.loads(answer["body"])["transaction_id"])

    def process(self, payment: str) -> tuple[int, dict[str, Any]]:
        """Ask for the charge; return the status and the body of the answer, 0 and nothing if the
        process was killed."""
        try:
            return _told(self._ask(processing.handler, {"transaction_id": payment}))
        except Killed:
            return 0, {}

    def cancel(self, payment: str) -> tuple[int, dict[str, Any]]:
        """Ask for the cancellation, as for the charge."""
        return _told(self._ask(cancellation.handler, {"transaction_id": payment}))

    # What happens by itself

    def notify(self, event: Event, **options: Any) -> int:
        """Deliver an event; return the status of the answer."""
        headers, body = self.account.notification(event, **options)
        told = {"headers": headers, "body": body.decode(), "requestContext": {}}
        with run(Invocation()):
            return int(gateway_events.handler(told, Context())["statusCode"])

    def settle(self) -> None:
        """Let retries, recoveries and looks do what they can, for hours."""
        for _ in range(MOST_ROUNDS):
            while self.world.retry():
                pass
            assert self.world.scheduled_run()
            if not self.world.queue.live and not self.unsettled:
                return
            waits = VISIBILITY_TIMEOUT.total_seconds() if self.world.queue.live else 0
            self.world.advance(waits or MAX_LOOK_SECONDS)

    # What one sees

    @property
    def unsettled(self) -> set[str]:
        """Payments in process, and those that are pending here and not at Stripe; not what is left
        to a person."""
        rows = {name: self.row(name) for name in self.world.table.items}
        pending_there = {
            str(one["id"])
            for one in self.account.payments()
            if one["status"] in {"requires_action", "processing"}
        }
        return {
            name
            for name, row in rows.items()
            if (row["status"] == PROCESSING and row.get("in_flight") not in ASIDE_KEYS)
            or (row["status"] == PENDING and row["gateway_id"] not in pending_there)
        }

    def row(self, payment: str) -> dict[str, Any]:
        """Return a payment's row."""
        item = self.world.table.items[payment]
        return {name: plain(value) for name, value in item.items()}

    def status(self, payment: str) -> str:
        return str(self.row(payment)["status"])

    def check(self) -> None:
        """Make sure that no payment is captured twice, and that each row says what is true."""
        for payment in self.world.table.items:
            row, captures = self.row(payment), self.account.captures(payment)
            assert len(captures) <= 1, (payment, captures)
            if row["status"] == "processed":
                assert captures == [row["gateway_reference"]], row
            else:
                assert not captures or row["status"] in {PROCESSING, PENDING}, row
            if row["status"] in {"declined", "canceled", VALIDATED}:
                left = {one["status"] for one in self.account.payments(payment)}
                of_row = [
                    one
                    for one in self.account.payments(payment)
                    if one["id"] == row.get("gateway_id")
                ]
                assert {one["status"] for one in of_row} <= {"canceled"}, (row, left)

    def _ask(
        self,
        handler: Callable[..., Any],
        body: dict[str, object],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Any]:
        event = {"headers": dict(headers), "body": json.dumps(body), "requestContext": {}}
        with run(Invocation()):
            answer: dict[str, Any] = handler(event, Context())
        return answer


def _told(answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return answer["statusCode"], json.loads(answer["body"])
