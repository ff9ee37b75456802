"""Texts that are read as people save them."""

import codecs
import json
from pathlib import Path

from payment_infra.errors import UsageError

# What texts in other encodings begin with, if not without a mark; the first are longer.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_text(path: Path) -> str:
    r"""Return the text of a file in UTF-8, each line of it ending in `\n`.

    A byte order mark, and lines that end as on Windows, are no part of it.

    Raises:
        OSError: it cannot be read.
        UsageError: it is no text in UTF-8.
    """
    return text_of(path.read_bytes(), str(path))


def text_of(content: bytes, name: str) -> str:
    r"""Return what was read of a file with this name as `read_text` does.

    Raises:
        UsageError: it is no text in UTF-8; nothing of it is told.
    """
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            raise UsageError(f"{name}: is a text in {encoding}; save it in UTF-8")
    if b"\0" in content:  # which no text has, but every one of ASCII in those encodings
        raise UsageError(f"{name}: is no text in UTF-8, perhaps in UTF-16; save it in UTF-8")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        # Its own text has the bytes, and a traceback would show them.
        start = error.start
    raise UsageError(f"{name}: is not a text in UTF-8 (byte {start})")


def read_json_object(path: Path) -> str:
    """Return the text of a file with a JSON object.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    try:
        text = read_text(path)
        content = json.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid JSON: {fault(error)}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must hold a JSON object")
    return text


def fault(error: ValueError | RecursionError) -> str:
    """Say in one line why a text cannot be parsed."""
    deep = isinstance(error, RecursionError)
    return "it is nested too deeply" if deep else " ".join(str(error).split())
