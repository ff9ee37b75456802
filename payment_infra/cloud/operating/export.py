"""The active table's transactions in a file: page by page, so that it can be resumed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from payment_infra.cloud.operating.transactions import CAPABILITIES, plain
from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.files import move_private, require_place, write_file

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PART = ".part"
STATE = ".state"
# Where room helps.
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Since:
    """From when on: as it was asked for (`2d`), and that moment as ISO 8601; None: all there is."""

    asked: str | None = None
    moment: str | None = None


@dataclass(frozen=True)
class Page:
    """Some rows as JSON lines, how many they are, and the key after which the next page begins,
    None after the last."""

    lines: str
    rows: int
    next_key: Any


def pages(
    client: DynamoDBClient, table: str, since: str | None, start_key: Any = None
) -> Iterator[Page]:
    """Yield the table's rows, a page of at most 1 MB read (DynamoDB API, Scan) after the other.

    What of a row lets anybody pay, or act for the customer, is left out (CAPABILITIES).

    Args:
        client: of the table's account and region.
        table: its name.
        since: ISO 8601 in UTC: only rows that were changed then or later; None: all.
        start_key: the key after which to continue.
    """
    request: dict[str, Any] = {"TableName": table, "ConsistentRead": True}
    if since is not None:
        request["FilterExpression"] = "updated_at >= :since"
        request["ExpressionAttributeValues"] = {":since": {"S": since}}
    while True:
        if start_key is not None:
            request["ExclusiveStartKey"] = start_key
        with translated(f"table {table}"):
            answer = client.scan(**request)
        rows = [_line(item) for item in answer["Items"]]
        start_key = answer.get("LastEvaluatedKey")
        yield Page("".join(f"{row}\n" for row in rows), len(rows), start_key)
        if not start_key:
            return


def _line(item: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in plain(item).items() if name not in CAPABILITIES}
    return json.dumps(kept, sort_keys=True)


def save(
    client: DynamoDBClient,
    table: str,
    since: Since,
    path: Path,
    tell: Callable[[int], None],
    *,
    replace: bool = False,
) -> int:
    """Write the transactions to a file that only its owner can read; return how many.

    What an earlier run of the same export has written is not read again. Each page is on the disk
    before the place after it is, so that none is lost and none is in the file twice.

    Args:
        client: of the table's account and region.
        table: its name.
        since: from when on; an earlier run that was asked for the same keeps its own moment.
        path: the file; until it is whole, its rows are in PATH.part and its place in PATH.state.
        tell: gets the number of rows after each page.
        replace: whether a file of that name may be replaced.

    Raises:
        UsageError: the file exists, or none can be written there, or another export has been begun.
        PaymentInfraError: it cannot be written; what was written stays, to be resumed.
    """
    if os.path.exists(path) and not replace:
        raise UsageError(f"{path}: exists already; name a new file (--overwrite replaces it)")
    part, state_file = Path(f"{path}{PART}"), Path(f"{path}{STATE}")
    for place in (path, part, state_file):
        require_place(place)
    state = _begun(part, state_file, {"table": table, "asked": since.asked}, since.moment)
    written = part
    try:
        if not state["done"]:
            with _open(part, state["bytes"]) as file:
                for page in pages(client, table, state["since"], state["key"]):
                    state = _append(file, page, state)
                    write_file(state_file, json.dumps(state).encode())
                    tell(state["rows"])
        written = path
        move_private(part, path)
        state_file.unlink()
    except OSError as error:
        remedy = "make room" if error.errno in FULL else "mend that"
        continues = f"; {remedy}, then repeat the command, which continues from there"
        raise PaymentInfraError(
            f"{written}: cannot be written ({error.strerror}){continues if part.exists() else ''}"
        ) from error
    return int(state["rows"])


def _open(part: Path, size: int) -> IO[bytes]:
    """Open the part after what an earlier run has written; a new one is nobody else's."""
    if not size:
        part.unlink(missing_ok=True)
    flags = os.O_NOFOLLOW if size else os.O_CREAT | os.O_EXCL
    file = os.fdopen(os.open(part, os.O_WRONLY | flags, 0o600), "wb")
    file.truncate(size)
    file.seek(size)
    return file


def _begun(
    part: Path, state_file: Path, asked: dict[str, Any], since: str | None
) -> dict[str, Any]:
    """Return how far an earlier run of the same export has come."""
    fresh = {**asked, "since": since, "bytes": 0, "rows": 0, "key": None, "done": False}
    if not state_file.exists() or not part.exists():
        return fresh
    try:
        state: dict[str, Any] = json.loads(state_file.read_text(encoding="utf-8"))
        begun = {name: state[name] for name in fresh}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UsageError(
            f"{state_file}: is no export's; delete it and {part}, or name another file"
        ) from error
    if {name: begun[name] for name in asked} != asked:
        raise UsageError(
            f"{part}: is of another export ({begun['table']}, --since {begun['asked']}); finish "
            "that, delete it, or name another file"
        )
    return begun


def _append(file: IO[bytes], page: Page, state: dict[str, Any]) -> dict[str, Any]:
    file.write(page.lines.encode())
    file.flush()
    os.fsync(file.fileno())
    return {
        **state,
        "bytes": file.tell(),
        "rows": state["rows"] + page.rows,
        "key": page.next_key,
        "done": not page.next_key,
    }
