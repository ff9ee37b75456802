"""What a comparison has read and found so far, in a file, so that none of it is held in memory and
the same command goes on after an interruption.

It is an SQLite database that only its owner can read, in the user's folder for state. It holds ids,
amounts and statuses of payments: no customer, and nothing that lets anybody pay.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from zlib import crc32

from payment_infra.cloud.reconciling.comparison import Difference, Kind, Payment
from payment_infra.errors import PaymentInfraError

# So long one statement waits for another process, which ends at once or works for long.
BUSY_SECONDS = 1.0
BATCH = 100
_TABLES = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE IF NOT EXISTS payments"
    " (id TEXT PRIMARY KEY, transaction_id TEXT, captured INTEGER, seen INTEGER, told TEXT)",
    "CREATE INDEX IF NOT EXISTS payments_of ON payments (transaction_id)",
    "CREATE TABLE IF NOT EXISTS candidates (transaction_id TEXT PRIMARY KEY, looked_at INTEGER)",
    "CREATE TABLE IF NOT EXISTS differences"
    " (number INTEGER PRIMARY KEY, kind TEXT, fix TEXT, fixed INTEGER, told TEXT)",
)
_NAMES = ("facts", "payments", "candidates", "differences")
# What a file holds: what another release has made otherwise is of no use ("PRAGMA user_version").
_HELD = [each.name for kind in (Payment, Difference) for each in fields(kind)]
_FORMAT = crc32(" ".join([*_TABLES, *_HELD, *Kind]).encode()) >> 1


def state_folder() -> Path:
    """Return where this program keeps what is unfinished (XDG Base Directory Specification).

    Raises:
        PaymentInfraError: the user has no home.
    """
    base = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "payment-infra"
    except RuntimeError as error:
        raise PaymentInfraError(
            "there is no home directory for what is read; name a folder in XDG_STATE_HOME"
        ) from error


def file_of(*subject: str) -> Path:
    """Return the file of what is compared: the same for the same command, whoever repeats it."""
    digest = hashlib.sha256(json.dumps(subject).encode()).hexdigest()[:16]
    return state_folder() / f"reconcile-{digest}.sqlite3"


class Spool:
    """An open file; one process has it at a time. What is written is kept by `step`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Spool]:
        """Open a file, which is made if there is none, for the block; it stays until `remove`.

        Raises:
            PaymentInfraError: another process has it, or it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite gives what it makes beside the file the file's own mode ("Temporary Files Used
            # By SQLite": rollback journals).
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise PaymentInfraError(
                f"{path}: cannot be written ({error.strerror}); name another folder in "
                "XDG_STATE_HOME"
            ) from error
        with cls._connected(path, str(path)) as spool:
            yield spool

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator[Spool]:
        """Make a file that nobody else finds, and that is gone after the block ("SQLite: Temporary
        Databases"). Raises PaymentInfraError if it cannot be written."""
        with cls._connected(Path("a temporary file"), "") as spool:
            yield spool

    @classmethod
    @contextmanager
    def _connected(cls, path: Path, name: str) -> Iterator[Spool]:
        connection = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None)
        with _told(path), closing(connection):
            # The first lock is held for as long as the file is open ("PRAGMA locking_mode").
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if version != _FORMAT:
                for table in _NAMES:
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
                connection.execute(f"PRAGMA user_version = {_FORMAT}")
            for creation in _TABLES:
                connection.execute(creation)
            connection.execute("COMMIT")
            yield cls(connection, path)

    def remove(self) -> None:
        """Delete the file, which is of no more use."""
        for path in (self._path, Path(f"{self._path}-journal")):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Keep all of what the block writes, or nothing."""
        self._connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def facts(self) -> dict[str, Any]:
        """Return what is known of the work as a whole."""
        rows = self._connection.execute("SELECT name, value FROM facts")
        return {str(name): json.loads(value) for name, value in rows}

    def note(self, **facts: Any) -> None:
        """Write down facts, in place of those of the same names."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)",
            [(name, json.dumps(value)) for name, value in facts.items()],
        )

    def clear(self) -> None:
        """Forget everything."""
        for table in _NAMES:
            self._connection.execute(f"DELETE FROM {table}")

    def add_payments(self, payments: Sequence[Payment]) -> None:
        """Keep payments of the list; one that is there already is replaced."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO payments VALUES (?, ?, ?, 0, ?)",
            [
                (one.id, one.transaction_id, one.is_captured, json.dumps(asdict(one)))
                for one in payments
            ],
        )

    def payments_of(self, transaction_id: str) -> list[Payment]:
        """Return what is listed for a transaction."""
        return self._payments("transaction_id = ?", transaction_id)

    def claim_for(self, transaction_id: str, payment_id: str) -> None:
        """Note whose a payment is that names no transaction, if that is listed."""
        self._connection.execute(
            "UPDATE payments SET transaction_id = ? WHERE id = ? AND transaction_id IS NULL",
            (transaction_id, payment_id),
        )

    def payments_of_nobody(self) -> Iterator[Payment]:
        """Yield what is captured and names no transaction."""
        last = ""
        while found := self._payments(
            "captured AND transaction_id IS NULL AND id > ? ORDER BY id LIMIT ?", last, BATCH
        ):
            yield from found
            last = found[-1].id

    def mark_seen(self, transaction_ids: Sequence[str]) -> None:
        """Note that there is a row of these transactions."""
        self._connection.executemany(
            "UPDATE payments SET seen = 1 WHERE transaction_id = ?",
            [(transaction_id,) for transaction_id in transaction_ids],
        )

    def add_candidates(self, transaction_ids: Sequence[str]) -> None:
        """Note which transactions are to be looked at again, one by one."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO candidates VALUES (?, 0)",
            [(transaction_id,) for transaction_id in transaction_ids],
        )

    def add_unseen(self) -> None:
        """Make candidates of the captured payments whose transaction no row was seen of."""
        self._connection.execute(
            "INSERT OR IGNORE INTO candidates SELECT DISTINCT transaction_id, 0 FROM payments"
            " WHERE captured AND NOT seen AND transaction_id IS NOT NULL"
        )

    def candidates(self) -> list[str]:
        """Return some transactions that are still to be looked at."""
        rows = self._connection.execute(
            "SELECT transaction_id FROM candidates WHERE NOT looked_at LIMIT ?", (BATCH,)
        )
        return [str(row[0]) for row in rows]

    def looked_at(self, transaction_ids: Sequence[str]) -> None:
        """Note that these were looked at."""
        self._connection.executemany(
            "UPDATE candidates SET looked_at = 1 WHERE transaction_id = ?",
            [(transaction_id,) for transaction_id in transaction_ids],
        )

    def look_again(self) -> None:
        """Have every candidate looked at again; what was found goes, but for what was fixed."""
        self._connection.execute("UPDATE candidates SET looked_at = 0")
        self._connection.execute("DELETE FROM differences WHERE NOT fixed")

    def add_differences(self, differences: Sequence[Difference]) -> None:
        """Keep differences."""
        self._connection.executemany(
            "INSERT INTO differences (kind, fix, fixed, told) VALUES (?, ?, 0, ?)",
            [(one.kind, one.fix, json.dumps(asdict(one))) for one in differences],
        )

    def differences(self, kind: Kind) -> Iterator[Difference]:
        """Yield the differences of a kind that nobody has fixed."""
        for _, difference in self._differences("kind = ?", kind):
            yield difference

    def fixable(self) -> Iterator[tuple[int, Difference]]:
        """Yield what --fix may write, with the numbers by which that is noted."""
        yield from self._differences("fix IS NOT NULL")

    def fixed(self, number: int) -> None:
        """Note that a difference is none any more."""
        self._connection.execute("UPDATE differences SET fixed = 1 WHERE number = ?", (number,))

    def counts(self) -> dict[Kind, int]:
        """Return how many differences of each kind nobody has fixed."""
        rows = self._connection.execute(
            "SELECT kind, count(*) FROM differences WHERE NOT fixed GROUP BY kind"
        )
        found = {Kind(kind): int(number) for kind, number in rows}
        return {kind: found[kind] for kind in Kind if kind in found}

    def count_fixable(self) -> int:
        """Return how many differences --fix may write something about."""
        query = "SELECT count(*) FROM differences WHERE NOT fixed AND fix IS NOT NULL"
        return int(self._connection.execute(query).fetchone()[0])

    def _payments(self, where: str, *values: object) -> list[Payment]:
        rows = self._connection.execute(f"SELECT told FROM payments WHERE {where}", values)
        return [Payment(**json.loads(row[0])) for row in rows]

    def _differences(self, where: str, *values: object) -> Iterator[tuple[int, Difference]]:
        """Yield by batches, so that the file can be written to meanwhile."""
        last = 0
        query = (
            f"SELECT number, told FROM differences WHERE {where} AND NOT fixed AND number > ?"
            " ORDER BY number LIMIT ?"
        )
        while rows := self._connection.execute(query, (*values, last, BATCH)).fetchall():
            for number, told in rows:
                yield int(number), _difference(json.loads(told))
            last = int(rows[-1][0])


def _difference(told: Mapping[str, Any]) -> Difference:
    return Difference(**{**told, "kind": Kind(told["kind"])})


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of an error of the file what to do about it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise PaymentInfraError(
                f"{path}: another reconcile of this environment is at work with it; wait for its "
                "end, then repeat the command"
            ) from error
        raise PaymentInfraError(
            f"{path}: cannot be written ({error}); mend that, then repeat the command, which "
            "continues from there"
        ) from error
    except sqlite3.DatabaseError as error:
        raise PaymentInfraError(
            f"{path}: is damaged ({error}); delete it, then repeat the command"
        ) from error
