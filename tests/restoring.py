"""An environment in memory whose table is restored, while clients pay; it can be broken off.

Where clients pay, they validate and process payments whenever they are let in, some with every
change that somebody makes to the account: before, between and after the steps.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import names
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.journal import find_journals
from payment_infra.cloud.environment.locking import find
from payment_infra.cloud.restoring import restoration, resuming, undoing
from payment_infra.cloud.restoring.work import RestoreOptions, Work
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import AwsError
from payment_infra.names import OPERATIONS_TABLE
from tests.aws import FakeAws, FakeBoto
from tests.breaking import BrokenOff
from tests.intake import FakeIntake
from tests.operators import FakeOperator
from tests.stacks import Answer, FakeStack, Refused, own_event
from tests.tables import START, FakeTable, FakeTables

if TYPE_CHECKING:
    from payment_infra.cloud.environment.journal import Journal
    from payment_infra.cloud.events import Report
    from tests.expressions import Item

NAME = "payment-infra-dev"
OWN = "TransactionsTable"
OVERRIDE = names.TRANSACTIONS_TABLE_OVERRIDE
PARAMETERS = {OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev", "LogLevel": "WARNING"}
TEMPLATE = json.dumps(
    {
        "Parameters": {name: {"Type": "String", "Default": "default"} for name in PARAMETERS},
        "Resources": {},
        "Outputs": {"TransactionsTableName": {"Value": ""}},
    }
)
RESOURCES = (
    *(OWN, "RetryEventSource", "PaymentAPI"),
    *("ValidationFunction", "ProcessingFunction", "RetryFunction"),
)
URL = "https://abc.execute-api.eu-central-1.amazonaws.com/prod/"
TO = START - timedelta(minutes=15)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
# A call takes a little, a request that processes a payment longer, and less than the timeout.
CALL = timedelta(milliseconds=10)
REQUEST = timedelta(seconds=20)


def payment(transaction_id: str, status: str, at: datetime, created: datetime) -> Item:
    """Return a payment's row, as it was written at a moment."""
    terms = {"amount": "0.01", "currency": "EUR", "customer_id": "c-1"}
    canonical = json.dumps(terms, sort_keys=True, separators=(",", ":"))
    texts = {
        **terms,
        "fingerprint": hashlib.sha256(canonical.encode()).hexdigest(),
        "transaction_id": transaction_id,
        "status": status,
        "created_at": created.isoformat(timespec="microseconds"),
        "updated_at": at.isoformat(timespec="microseconds"),
    }
    return {name: {"S": text} for name, text in texts.items()} | {"amount_minor": {"N": "1"}}


def with_mark(row: Item, moment: datetime) -> Item:
    """Return a row that is marked as rewound to a moment."""
    return {**row, "rewound": {"N": str(seconds(moment))}}


def seconds(moment: datetime) -> int:
    """Return a moment in whole epoch seconds, as marks are."""
    return int(moment.timestamp())


def marks(table: FakeTable) -> dict[str, int]:
    """Return the mark of each row that has one."""
    return {
        name: int(row["rewound"]["N"]) for name, row in table.rows().items() if "rewound" in row
    }


@dataclass
class Clients:
    """Who pays. charges counts what the gateway took for each payment; one is too much twice.

    The gateway knows no key any more, but all that it took: what is marked as rewound is looked up.
    """

    tables: FakeTables
    intake: FakeIntake
    active: Callable[[], str]
    charges: Counter[str] = field(default_factory=Counter)
    known: list[str] = field(default_factory=list)
    under_way: list[tuple[datetime, str, str]] = field(default_factory=list)

    def go_on(self) -> None:
        """Validate a payment and process the last one, as far as they are let in."""
        self.finish()
        rows = self.tables.tables[self.active()].rows()
        last = self.known[-1]
        if rows[last]["status"]["S"] == "validated":
            if self.intake.takes_requests or self.intake.takes_retries:
                self.process(last)
        elif self.intake.takes_requests:
            self.known.append(f"new-{len(self.known)}")
            self._write(self.active(), self.known[-1], "validated")

    def process(self, name: str) -> None:
        """Begin to process a payment, which its row has to allow."""
        row = self.tables.tables[self.active()].rows().get(name)
        if row and row["status"]["S"] == "validated":
            self._write(self.active(), name, "processing")
            if "rewound" not in row or not self.charges[name]:
                self.charges[name] += 1
            self.under_way.append((self.tables.now + REQUEST, self.active(), name))

    def finish(self, *, all_of_them: bool = False) -> None:
        """Let requests come to their end, in the table that they began with."""
        over = [one for one in self.under_way if all_of_them or one[0] <= self.tables.now]
        self.under_way = [one for one in self.under_way if one not in over]
        for _, table, name in over:
            self._write(table, name, "processed")

    def _write(self, table: str, name: str, status: str) -> None:
        now, rows = self.tables.now, self.tables.tables[table].rows()
        created = rows[name]["created_at"]["S"] if name in rows else now.isoformat()
        row = payment(name, status, now, datetime.fromisoformat(created))
        if status == "processing" and "rewound" in rows.get(name, {}):
            row["rewound"] = rows[name]["rewound"]
        self.tables.tables[table].write(now, name, row)


@cache
def _shared() -> tuple[FakeBoto, Session]:
    """Return what makes clients, which takes longer than a restore."""
    boto: Any = FakeBoto(FakeAws())
    return boto, Session(boto)


@dataclass
class World:
    """The account with all that is in it, and the runs of the command; the last one made is it."""

    aws: BrokenOff = field(default_factory=BrokenOff)
    tables: FakeTables = field(default_factory=FakeTables)
    intake: FakeIntake = field(default_factory=FakeIntake)
    operator: FakeOperator = field(default_factory=FakeOperator)
    clients: Clients = field(init=False)
    pauses: list[float] = field(default_factory=list)
    session: Session = field(init=False)
    clients_pay: bool = False
    # What the gateway lists, as payment-retry tells it, or why it does not.
    listed: list[dict[str, Any]] | str = "not_listing"
    # Whether the stack's updates come to a good end, each with an event of its own.
    updates_end: bool = True
    runs: int = 0

    def __post_init__(self) -> None:
        stack = FakeStack(
            NAME,
            parameters=dict(PARAMETERS),
            template=TEMPLATE,
            resources=dict.fromkeys(RESOURCES, "CREATE_COMPLETE"),
            physical_ids={"RetryEventSource": "14e0db71-5d35-4eb5-b481-8945cf9d10c2"},
            derive=lambda of: {
                "TransactionsTableName": of[OVERRIDE] or OWN,
                "APIEndpoint": URL,
            },
        )
        stack.outputs = {"TransactionsTableName": OWN, "APIEndpoint": URL}
        self.aws.stacks[NAME] = stack
        self.aws.answers |= {**self.tables.answers(), **self.intake.answers()}
        self.aws.answers["lambda:Invoke"] = self._by_hand
        self.aws.on_call = self._on_call
        boto, self.session = _shared()
        boto.aws = self.aws
        self.clients = Clients(self.tables, self.intake, lambda: self.active)
        own = self.tables.add(OWN, recovery_since=START - 2 * DAY, protected=True)
        own.tags = {"Environment": "dev", "aws:cloudformation:stack-name": NAME}
        self.pay("old", ("validated", -DAY - CALL), ("processed", -DAY))
        self.pay("open", ("validated", -timedelta(minutes=30)))
        for number in range(3):
            before = -timedelta(minutes=30 + number)
            self.pay(f"since-{number}", ("validated", before), ("processed", timedelta(minutes=1)))
        self.pay("made-since", ("validated", timedelta(minutes=2)))

    @property
    def stack(self) -> FakeStack:
        return self.aws.stacks[NAME]

    @property
    def active(self) -> str:
        return self.stack.outputs["TransactionsTableName"]

    @property
    def own(self) -> FakeTable:
        return self.tables.tables[OWN]

    @property
    def copies(self) -> list[FakeTable]:
        return [one for name, one in self.tables.standing().items() if name != OWN]

    @property
    def updates(self) -> list[Answer]:
        """Return the updates of payments' rows."""
        calls = self.aws.called("dynamodb:UpdateItem")
        return [one for one in calls if one["TableName"] != OPERATIONS_TABLE]

    @property
    def journal(self) -> Journal:
        """What is written down of the only restore."""
        [journal] = find_journals(self.work().environment, OWN)
        return journal

    def pay(self, name: str, *steps: tuple[str, timedelta], table: str = OWN) -> None:
        """Have a payment in a table: its statuses, each with how long after TO it was written."""
        created = TO + steps[0][1]
        for status, since in steps:
            row = payment(name, status, TO + since, created)
            self.tables.tables[table].write(TO + since, name, row)
        self.clients.known.insert(0, name)
        self.clients.charges[name] += steps[-1][0] == "processed"

    def lose(self, name: str, *statuses: str) -> None:
        """Have a payment go through statuses before TO, and its row lost after it."""
        for number, status in enumerate(statuses):
            at = TO + (number - 30) * MINUTE
            self.own.write(at, name, payment(name, status, at, TO - 30 * MINUTE))
        self.own.write(TO + MINUTE, name, None)
        self.clients.known.insert(0, name)

    def statuses(self, table: str) -> dict[str, str]:
        """Return the status of each payment in a table."""
        return {key: row["status"]["S"] for key, row in self.tables.tables[table].rows().items()}

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        assert len(self.pauses) < 1000, "it waits for what never comes"
        self.tables.now += timedelta(seconds=seconds)
        self.clients.finish()

    def work(self, **options: Any) -> Work:
        """Return what a new run of the command works with."""
        stack = Stack(self.session.client("cloudformation"), NAME, self.sleep, "--suffix dev")
        self.runs += 1
        if self.updates_end:
            ended = own_event(self.stack, 8 + self.runs, "UPDATE_COMPLETE")
            self.aws.timeline = [("UPDATE_IN_PROGRESS", []), ("UPDATE_COMPLETE", [ended])]
        environment = Environment.find(self.session, stack, "dev")
        held = find(self.session, stack)  # by a run that was killed: nobody else is here
        asked = {"yes": True, "smoke": False, "take_over": held and held.generation}
        given = RestoreOptions(**{**asked, **options})
        return Work(environment, given, self.operator, self.sleep, lambda: self.tables.now)

    def restore(self, **options: Any) -> Report:
        """Run `restore --to`; return the report."""
        self.pauses.clear()
        return restoration.restore(self.work(**{"to": TO, **options}))

    def stop_at(self, operation: str) -> FakeTable:
        """Let a restore fail where this operation is called; return its copy."""
        self.aws.errors[operation] = Refused("ValidationException", "stop here")
        with pytest.raises(AwsError, match="stop here"):
            self.restore()
        self.aws.errors.clear()
        [copy] = self.copies
        return copy

    def undo(self, **options: Any) -> Report:
        """Run `restore --undo`; return the report."""
        self.pauses.clear()
        return undoing.undo(self.work(**options))

    def resume(self, **options: Any) -> Report:
        """Run `resume`; return the report."""
        self.pauses.clear()
        return resuming.resume(self.work(**options))

    def _by_hand(self, params: dict[str, Any]) -> dict[str, Any]:
        """Answer an order for the list, or about a payment, of which the gateway cannot tell."""
        order = json.loads(params["Payload"])["by_hand"]
        told: dict[str, Any] = {"refused": {"code": self.listed, "about": ""}}
        if order["do"] == "ask":
            told = {"status": "processed", "gateway": {"outcome": "unknown"}}
        elif not isinstance(self.listed, str):
            told = {"payments": self.listed, "cursor": None, "marks": {"gateway": "acme:Acme"}}
        return {"Payload": BytesIO(json.dumps({"by_hand": told}).encode())}

    def _on_call(self, changes: bool) -> None:
        self.tables.now += CALL
        if changes and self.clients_pay:
            self.clients.go_on()


def paying() -> World:
    """Return a world with clients who pay meanwhile."""
    world = World()
    world.clients_pay = True
    return world


def active(world: World) -> FakeTable:
    """Return the table that payments are in."""
    return world.tables.tables[world.active]


def actions(report: Report) -> dict[str, str]:
    """Return what was done about each payment that differed."""
    rows: Any = report.document["rows"]
    return {row["transaction_id"]: row["action"] for row in rows}
