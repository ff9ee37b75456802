"""JSON log lines by Powertools, each with the ids of what it is about.

Only short codes and ids go in: never a customer_id, a body, or the text of an exception.
"""

from __future__ import annotations

import traceback

from aws_lambda_powertools import Logger

from handlers.shared.failures import error_code

# Without the place in the source: it is the same function for every line, and costs time. Lambda
# takes a line's level only beside a time as RFC 3339 has it (Lambda, "Log-level filtering").
logger = Logger(location=None, use_rfc3339=True)


def begin(**ids: str) -> None:
    """Start a request or a message: each of its lines carries these ids."""
    logger.clear_state()
    logger.append_keys(**ids)


def add(**ids: str) -> None:
    """Add ids to the lines that follow."""
    logger.append_keys(**ids)


def info(message: str, **keys: object) -> None:
    """Log what happened; message is a constant, what varies goes into the keys."""
    logger.info(message, extra=keys)


def error(message: str, **keys: object) -> None:
    """Log what somebody should look at."""
    logger.error(message, extra=keys)


def unexpected(failure: BaseException, **keys: object) -> None:
    """Log an exception that nobody foresaw: its type, code and place, not its text."""
    frames = traceback.extract_tb(failure.__traceback__)
    # Not the import system's own, which raises what is wrong with somebody else's import.
    own = [frame for frame in frames if not frame.filename.startswith("<")]
    place = (own or frames)[-1]
    logger.error(
        "unexpected failure",
        extra={
            **keys,
            "type": type(failure).__name__,
            "code": error_code(failure),
            "place": f"{place.filename}:{place.lineno}",
        },
    )
