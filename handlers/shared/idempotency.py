"""Idempotency-Key: the same request again is the same transaction.

The transaction is its own idempotency record. Its id is made of the caller and the key, so the key
holds for as long as the row does, and two first uses at once meet in one conditional write.
("The Idempotency-Key HTTP Header Field", IETF draft; RFC 8941, "Structured Field Values for HTTP",
section 3.3.3, for the quoted form.)
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from handlers.shared.callers import caller_of
from handlers.shared.requests import InvalidRequest

if TYPE_CHECKING:
    from handlers.shared.requests import Event

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
MAX_KEY_CHARACTERS = 255

# Fixed for ever: rows hold the ids that are made with it.
_NAMESPACE = uuid.UUID("8d6b3a0e-5c0f-4b57-9d0a-6f1f5c1f7a42")
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED = re.compile(r'\\(["\\])')


def transaction_id_for(event: Event) -> str:
    """Return the id of the transaction that the request stands for.

    A request with a key always stands for the same one, a request without for a new one. Raises
    InvalidRequest for a key that is not one.
    """
    key = idempotency_key(event)
    if key is None:
        return str(uuid.uuid4())
    return str(uuid.uuid5(_NAMESPACE, f"{caller_of(event)}\n{key}"))


def idempotency_key(event: Event) -> str | None:
    """Return the key, bare or quoted in the header, or None if there is no such header.

    Raises InvalidRequest unless it is one key of 1 to MAX_KEY_CHARACTERS visible ASCII characters.
    """
    values = _header_values(event)
    if not values:
        return None
    key = values[0].strip(" \t")
    if key.startswith('"'):
        quoted = _QUOTED.fullmatch(key)
        key = _ESCAPED.sub(r"\1", quoted[1]) if quoted else ""
    visible = all("!" <= character <= "~" for character in key)
    if len(values) > 1 or not visible or not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        raise InvalidRequest(
            "Invalid Idempotency-Key",
            message=(
                f"The {HEADER} must be one key of 1 to {MAX_KEY_CHARACTERS} visible ASCII"
                " characters, bare or in double quotes"
            ),
        )
    return key


def _header_values(event: Event) -> list[str]:
    """Return every value of the header; its name is the same in any case."""
    every = event.get("multiValueHeaders") or {
        name: [value] for name, value in (event.get("headers") or {}).items()
    }
    return [
        str(value)
        for name, values in every.items()
        if name.lower() == HEADER.lower()
        for value in values or []
    ]
