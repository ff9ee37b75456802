"""JSON log lines by Powertools, each with the ids of what it is about.

Only short codes and ids go in: never a customer_id, a body, or the text of an exception.
"""

from __future__ import annotations

import traceback

from aws_lambda_powertools import Logger

from handlers.shared.failures import error_code

# Without the place in the source: it is the same function for every line, and costs time.
logger = Logger(location=None)


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


def unexpected(failure: Exception) -> None:
    """Log an exception that nobody foresaw: its type, code and place, not its text."""
    frame = traceback.extract_tb(failure.__traceback__)[-1]
    logger.error(
        "unexpected failure",
        type=type(failure).__name__,
        code=error_code(failure),
        place=f"{frame.filename}:{frame.lineno}",
    )
