"""JSON log lines on stdout, which Lambda ships to CloudWatch Logs.

Only short codes and ids go in: never a customer_id, a body, or the text of an exception.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback

from handlers.shared.failures import error_code

_context: dict[str, object] = {}


class _JsonHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        line = {"level": record.levelname, "message": record.msg, **_context}
        print(json.dumps({**line, **getattr(record, "keys", {})}), file=sys.stdout, flush=True)


_logger = logging.getLogger("payment")
_logger.setLevel(logging.INFO)
_logger.propagate = False
_logger.handlers = [_JsonHandler()]


def begin(request_id: str) -> None:
    """Start a request: each of its lines carries the request id."""
    _context.clear()
    _context["request_id"] = request_id


def info(message: str, **keys: object) -> None:
    """Log what happened; message is a constant, what varies goes into the keys."""
    _logger.info(message, extra={"keys": keys})


def error(message: str, **keys: object) -> None:
    """Log what somebody should look at."""
    _logger.error(message, extra={"keys": keys})


def unexpected(failure: Exception) -> None:
    """Log an exception that nobody foresaw: its type, code and place, not its text."""
    frame = traceback.extract_tb(failure.__traceback__)[-1]
    error(
        "unexpected failure",
        type=type(failure).__name__,
        code=error_code(failure),
        place=f"{frame.filename}:{frame.lineno}",
    )
