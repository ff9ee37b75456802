"""Events whose bodies are not one sound JSON object."""

from __future__ import annotations

import base64
from typing import Any

from handlers.shared.requests import MAX_BODY_BYTES


def encoded(content: bytes) -> dict[str, Any]:
    return {"body": base64.b64encode(content).decode(), "isBase64Encoded": True}


HOSTILE = {
    "absent": {},
    "null": {"body": None},
    "not a string": {"body": {"amount": 1}},
    "empty": {"body": ""},
    "no JSON": {"body": "amount=1"},
    "array": {"body": "[]"},
    "string": {"body": '"amount"'},
    "null in JSON": {"body": "null"},
    "trailing data": {"body": "{} {}"},
    "byte order mark": {"body": "\ufeff{}"},
    "encoded byte order mark": encoded(b"\xef\xbb\xbf{}"),
    "utf-16": encoded("{}".encode("utf-16")),
    "invalid utf-8": encoded(b'{"a": "\xff"}'),
    "lone surrogate": {"body": '{"a": "\ud800"}'},
    "raw NUL": {"body": '{"a": "\x00"}'},
    "invalid base64": {"body": "e30", "isBase64Encoded": True},
    "base64 with junk": {"body": "e3\n0=", "isBase64Encoded": True},
    "base64 of other letters": {"body": "é", "isBase64Encoded": True},
    "NaN": {"body": '{"amount": NaN}'},
    "Infinity": {"body": '{"amount": -Infinity}'},
    "number out of range": {"body": '{"amount": 1e99999999999999999999}'},
    "duplicate name": {"body": '{"amount": 1, "amount": 2}'},
    "nested duplicate name": {"body": '{"a": [{"b": 1, "b": 2}]}'},
    "deep arrays": {"body": "[" * 16_000},
    "deep objects": {"body": '{"a":' * 3_000},
    "too large": {"body": '{"a": "' + "x" * MAX_BODY_BYTES + '"}'},
    "too large in UTF-8": {"body": '{"a": "' + "é" * (MAX_BODY_BYTES // 2) + '"}'},
    "too large when decoded": encoded(b" " * MAX_BODY_BYTES + b"{}"),
}
