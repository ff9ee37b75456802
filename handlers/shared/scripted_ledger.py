"""What the scripted gateway remembers: its payments, its answers, and its calls.

It is a file, since the functions of an embedded AWS are processes of one machine. In Lambda each
container has a file of its own.
"""

from __future__ import annotations

import json
import os
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handlers.shared.gateway import GatewayUnavailable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

# For so long a process waits for another one.
BUSY_SECONDS = 2.0
# Of payments, and of answers and the like; the oldest go.
MAX_REMEMBERED = 10_000
# What a call with an idempotency key was answered.
Answer = list[Any]
_TABLES = (
    "CREATE TABLE IF NOT EXISTS began (at REAL)",
    "CREATE TABLE IF NOT EXISTS payments"
    " (number INTEGER PRIMARY KEY, id TEXT UNIQUE, made_for TEXT, state TEXT)",
    "CREATE INDEX IF NOT EXISTS payments_made_for ON payments (made_for)",
    "CREATE TABLE IF NOT EXISTS answers"
    " (number INTEGER PRIMARY KEY, key TEXT UNIQUE, at REAL, asked TEXT, answer TEXT)",
    "CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY, call TEXT UNIQUE)",
)


class KeyReused(ValueError):
    """An idempotency key came back with another question."""


def shared_path() -> Path:
    """Return where the functions of one machine find each other's payments."""
    from tempfile import gettempdir

    return Path(gettempdir()) / "payment-infra-scripted-gateway.sqlite3"


def is_shared() -> bool:
    """Whether every function has the same file; a container of Lambda has one of its own.

    ("Working with Lambda environment variables": AWS_EXECUTION_ENV, which the embedded AWS does not
    set.)
    """
    return not os.environ.get("AWS_EXECUTION_ENV", "").startswith("AWS_Lambda_")


@dataclass(frozen=True)
class Ledger:
    """The file; one call at a time has it open."""

    path: Path

    @contextmanager
    def open(self, now: float) -> Iterator[Pages]:
        """Yield what is remembered, as it stays while it is open.

        What a call has done before it raises is kept, as a gateway does it. `now` is the moment, in
        epoch seconds. Raises GatewayUnavailable if the file cannot be used.
        """
        import sqlite3

        try:
            with closing(
                sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            ) as connection:
                # It moves no money: what a machine forgets when its power fails is no loss.
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("BEGIN IMMEDIATE")
                for table in _TABLES:
                    connection.execute(table)
                connection.execute(
                    "INSERT INTO began SELECT ? WHERE NOT EXISTS (SELECT * FROM began)", (now,)
                )
                try:
                    yield Pages(connection, now)
                finally:
                    connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise GatewayUnavailable(type(error).__name__) from error


@dataclass(frozen=True)
class Pages:
    """An open ledger."""

    connection: sqlite3.Connection
    now: float

    @property
    def began(self) -> float:
        """Since when everything is remembered, in epoch seconds."""
        return float(self._row("SELECT at FROM began")[0])

    def state(self, payment_id: str) -> dict[str, Any] | None:
        """Return the state of a payment, None if it is not remembered."""
        row = self._row("SELECT state FROM payments WHERE id = ?", payment_id)
        return json.loads(row[0]) if row else None

    def payments(self, made_for: str) -> list[str]:
        """Return the ids of the payments that were made for something, the oldest first."""
        rows = self.connection.execute(
            "SELECT id FROM payments WHERE made_for = ? ORDER BY number", (made_for,)
        )
        return [str(row[0]) for row in rows]

    @property
    def forgets(self) -> bool:
        """Whether there were payments that are no longer remembered: the oldest go first."""
        first = self._row("SELECT min(number) FROM payments")[0]
        return first is not None and int(first) > 1

    def listed(self, after: int, most: int) -> list[tuple[int, str]]:
        """Return number and id of some payments, whoever's, the oldest after a number first."""
        rows = self.connection.execute(
            "SELECT number, id FROM payments WHERE number > ? ORDER BY number LIMIT ?",
            (after, most),
        )
        return [(int(number), str(payment_id)) for number, payment_id in rows]

    def keep(self, payment_id: str, state: dict[str, Any], made_for: str = "") -> None:
        """Remember the state of a payment, and of a new one what it was made for."""
        self.connection.execute(
            "INSERT INTO payments (id, made_for, state) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            (payment_id, made_for, json.dumps(state)),
        )
        if self._forget("payments"):
            self.connection.execute("UPDATE began SET at = ?", (self.now,))

    def answer(self, key: str, asked: str, since: float) -> Answer | None:
        """Return what a call with a key was answered, None if that was before a moment, or never.

        Raises KeyReused if it had asked something else.
        """
        row = self._row("SELECT asked, answer FROM answers WHERE key = ? AND at > ?", key, since)
        if row is None:
            return None
        if row[0] != asked:
            raise KeyReused
        answer: Answer = json.loads(row[1])
        return answer

    def keep_answer(self, key: str, asked: str, answer: Answer) -> None:
        """Remember an answer, in place of one that was too old."""
        self.connection.execute(
            "INSERT OR REPLACE INTO answers (key, at, asked, answer) VALUES (?, ?, ?, ?)",
            (key, self.now, asked, json.dumps(answer)),
        )
        self._forget("answers")

    def is_first(self, call: str) -> bool:
        """Return whether there was no such call before, and remember that there was one."""
        done = self.connection.execute("INSERT OR IGNORE INTO calls (call) VALUES (?)", (call,))
        self._forget("calls")
        return done.rowcount == 1

    def _forget(self, table: str) -> bool:
        """Forget what has MAX_REMEMBERED later ones; return whether there was any."""
        done = self.connection.execute(
            f"DELETE FROM {table}"
            f" WHERE number <= (SELECT max(number) FROM {table}) - {MAX_REMEMBERED}"
        )
        return done.rowcount > 0

    def _row(self, query: str, *values: object) -> Any:
        return self.connection.execute(query, values).fetchone()
