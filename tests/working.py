"""An environment in memory that every command works on, while clients pay, and what it can lose.

Besides the table, which tests/restoring.py restores, it has both queues: dead letters, of which
some are payments without a row, and payment-retry, which takes what is in the main queue.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from payment_infra.artifacts import code_keys
from payment_infra.cli import root
from payment_infra.cli.app import App
from payment_infra.cloud.environment.locking import Held, find
from payment_infra.cloud.events import Caution
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import PaymentInfraError
from payment_infra.rendering import document
from payment_infra.sources import resolve
from payment_infra.template import build_template
from tests.aws import FakeBoto, FakeBucket
from tests.breaking import BrokenOff
from tests.intake import EVERY
from tests.operators import FakeOperator
from tests.queues import DEAD_LETTERS, QUEUE, FakeQueues
from tests.restoring import NAME, OVERRIDE, OWN, URL, Clients, World
from tests.stacks import template

if TYPE_CHECKING:
    from datetime import timedelta

    from tests.stacks import Answer, FakeStack

SUFFIX = ("--suffix", "dev", "--yes")
SETTINGS = ("--bucket", "zips")
# What the command line is given, by the command.
COMMANDS = {
    "deploy": ("deploy", *SUFFIX, *SETTINGS, "--log-retention-days", "{days}"),
    "rollback": ("rollback", *SUFFIX),
    "destroy": ("destroy", *SUFFIX, "--export", "all.jsonl"),
    "redrive --all": ("failed", "redrive", *SUFFIX, "--all"),
    "redrive --id": ("failed", "redrive", *SUFFIX, "--id", "d-0", "--id", "d-1"),
    "purge": ("failed", "purge", *SUFFIX, "--export", "purged-{number}.jsonl"),
}
RUNS: dict[str, Callable[..., object]] = {
    "restore": World.restore,
    "undo": World.undo,
    "resume": World.resume,
}


@dataclass(frozen=True)
class Outcome:
    """What a command came to: the line it failed with, "" if it did not; and all that it said."""

    error: str
    told: str


class Account(BrokenOff):
    """An account in which the deletion of a stack takes what is in it."""

    on_bury: Callable[[], None] = staticmethod(lambda: None)

    def get_template(self, params: Answer) -> Answer:
        """Answer as boto3 does for a template in JSON, which it parses."""
        return {"TemplateBody": template(super().get_template(params)["TemplateBody"])}

    def _bury(self, stack: FakeStack) -> None:
        super()._bury(stack)
        self.on_bury()


@dataclass
class Payers(Clients):
    """Clients, and payment-retry, which does what the main queue's messages say."""

    queues: FakeQueues = field(default_factory=FakeQueues)
    retried: list[str] = field(default_factory=list)

    def go_on(self) -> None:
        super().go_on()
        waiting = [*self.queues.waiting(QUEUE)]
        if not (self.intake.takes_retries and waiting):
            return
        name = json.loads(self.queues.queues[QUEUE].messages.pop(waiting[0]).body)["transaction_id"]
        self.retried.append(name)
        if name not in self.tables.tables[self.active()].rows():
            self.known.insert(0, name)
            self._write(self.active(), name, "validated")
        self.process(name)


@dataclass
class Working(World):
    """The world, and the commands; `folder` is where they write files."""

    folder: Path = Path()
    aws: BrokenOff = field(default_factory=Account)
    queues: FakeQueues = field(default_factory=partial(FakeQueues, old_handles_delete=True))
    updates_end: bool = False
    clients_pay: bool = True
    # How many requests were cut off by the deletion of the table.
    cut_off: int = 0
    letters: dict[str, str] = field(default_factory=dict)
    # What the operator deploys.
    days: int = 14

    def __post_init__(self) -> None:
        super().__post_init__()
        self.own.protected = False
        self.stack.template, parameters = _deployed()
        self.stack.parameters = dict(parameters)
        outputs = {"TransactionsTableName": OWN, "APIEndpoint": URL}
        self.stack.outputs = dict(outputs)
        self.stack.derive = lambda of: {**outputs, "TransactionsTableName": of[OVERRIDE] or OWN}
        self.stack.resources |= dict.fromkeys((QUEUE, DEAD_LETTERS), "CREATE_COMPLETE")
        self.aws.buckets["zips"] = FakeBucket()
        self.aws.answers |= self.queues.answers()
        assert isinstance(self.aws, Account)
        self.aws.on_bury = self._lose
        before = self.clients
        self.clients = Payers(
            *(before.tables, before.intake, before.active, before.charges, before.known),
            queues=self.queues,
        )
        for number, (name, url) in enumerate(
            [("open", DEAD_LETTERS), ("no-row-1", DEAD_LETTERS), ("no-row-2", QUEUE)]
        ):
            self.queues.put(f"d-{number}", json.dumps({"transaction_id": name}), url)
            self.letters[name] = f"d-{number}"

    @property
    def gone(self) -> bool:
        """Whether the stack was deleted, with its table and its queues."""
        return bool(self.aws.deleted)

    @property
    def takes_payments(self) -> bool:
        return (self.intake.methods, self.intake.state) == ({"*/*": EVERY}, "Enabled")

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.queues.now += seconds

    def pass_time(self, time: timedelta) -> None:
        """Let nobody do anything for a while."""
        self.tables.now += time
        self.queues.now += time.total_seconds()

    def lock(self) -> Held | None:
        """Return who has the lock."""
        return find(self.session, Stack(self.session.client("cloudformation"), NAME))

    def beside(self) -> Working:
        """Return another operator of the same account, with a session of his own."""
        other = copy(self)
        boto: Any = FakeBoto(self.aws)
        other.session, other.operator, other.days = Session(boto), FakeOperator(), 30
        return other

    def run(self, name: str, take_over: int | None = None, *, wait: bool = True) -> Outcome:
        """Run a command, whose questions are answered with yes."""
        if name in RUNS:
            return self._run(partial(RUNS[name], self, take_over=take_over))
        number = len([*self.folder.glob("purged-*")])
        words = [one.format(days=self.days, number=number) for one in COMMANDS[name]]
        if take_over is not None:
            words += ["--take-over", str(take_over)]
        if not wait and name == "deploy":
            words.append("--no-wait")
        result = CliRunner().invoke(root, words, obj=App(lambda *_: self.session))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "unexpected" not in result.stderr, result.stderr
        error = result.stderr.splitlines()[-1] if result.exit_code else ""
        return Outcome(error.removeprefix("Error: "), result.stderr)

    def _run(self, run: Callable[[], object]) -> Outcome:
        error, before = "", len(self.operator.told)
        if NAME not in self.aws.stacks:
            return Outcome(f"there is no stack {NAME}", f"there is no stack {NAME}")
        try:
            run()
        except PaymentInfraError as failed:
            error = str(failed)
        told = [one.message for one in self.operator.told[before:] if isinstance(one, Caution)]
        return Outcome(error, "\n".join([*told, error]))

    def check(self) -> None:
        """Make sure that no payment is lost or charged twice, and no letter is lost."""
        self._check_letters()
        if self.gone:
            self._check_saved()
            return
        self.clients.finish(all_of_them=True)
        statuses = self.statuses(self.active)
        assert set(self.clients.known) == set(statuses)
        for name in self.clients.known:
            self.clients.process(name)
        self.clients.finish(all_of_them=True)
        assert set(self.clients.charges.values()) == {1}
        assert set(self.statuses(self.active).values()) == {"processed"}

    def _check_saved(self) -> None:
        """Make sure that every payment is in the file, as it was last."""
        assert not self.cut_off
        lines = (self.folder / "all.jsonl").read_text().splitlines()
        saved = {row["transaction_id"]: row["status"] for row in map(json.loads, lines)}
        charges = self.clients.charges
        assert saved == {
            name: "processed" if charges[name] else "validated" for name in self.clients.known
        }
        assert set(charges.values()) <= {0, 1}

    def _check_letters(self) -> None:
        assert isinstance(self.clients, Payers)
        found = set(self.clients.retried)
        for path in self.folder.glob("*.jsonl"):
            rows = map(json.loads, path.read_text().splitlines())
            found |= {json.loads(row["body"])["transaction_id"] for row in rows if "body" in row}
        if not self.gone:
            for queue in self.queues.queues.values():
                found |= {json.loads(one.body)["transaction_id"] for one in queue.messages.values()}
        assert found == set(self.letters)

    def _lose(self) -> None:
        self.clients.finish()
        self.cut_off = len(self.clients.under_way)
        self.tables.tables.pop(OWN)
        self.clients_pay = False

    def _on_call(self, changes: bool) -> None:
        self.queues.now += 0.01
        if self.gone:
            self.clients.under_way.clear()
            return
        super()._on_call(changes)


@cache
def _deployed() -> tuple[str, dict[str, str]]:
    """Return the template of the environment as it was deployed first, and its parameters."""
    config = resolve({"suffix": "dev", "bucket": "zips"}, {}).config
    content = document(build_template(config, code_keys()))
    declared = content["Parameters"]
    values = {name: str(one.get("Default", "")) for name, one in declared.items()}
    return json.dumps(content), values
