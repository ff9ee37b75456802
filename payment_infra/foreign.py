"""Text that others wrote: read without failing, and shown so that it cannot act on a terminal."""

from __future__ import annotations

import json
import math
import re
from typing import Any

# Deeper than anything that this system writes, and far from Python's own limit.
MAX_DEPTH = 64
# What a terminal obeys or hides instead of showing it: control characters (C0, DEL, C1); what turns
# the direction of text, breaks lines or has no width (Unicode, categories Cf, Zl and Zp, but for
# the joiners and the soft hyphen, which words need); surrogates, which no encoding can write.
ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str, keep: str = "") -> str:
    r"""Return text for a terminal: what would act on it is shown, as `\x1b` or `\u202e`.

    A backslash that is in the text stays as it is, so this cannot be turned back: what a program
    reads is JSON.

    Args:
        text: what somebody else wrote.
        keep: characters that are to stay as they are.
    """
    return ACTING.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def parsed(text: str) -> Any:
    """Return the value of a JSON text; None if it is none, or cannot be printed as JSON again.

    That is nesting deeper than MAX_DEPTH, and NaN, Infinity or a number too large for a float,
    which RFC 8259 has not.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return None if _deeper_than(value, MAX_DEPTH) else value


def _escape(character: str) -> str:
    number = ord(character)
    if character in SHORT:
        return SHORT[character]
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return f"\\u{number:04x}" if number > 0xFF else f"\\x{number:02x}"


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _deeper_than(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return False
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in inner)
