"""How a dependency's failure travels from where it is called to where it is answered."""

from __future__ import annotations

from typing import ClassVar

from botocore.exceptions import ClientError


class DependencyFailed(Exception):
    """Something that a payment needs did not answer, or not with what was asked for.

    reason is a short code, the same for every failure of one kind; code is the more exact one for
    the log, such as an AWS error code. Neither holds the text of an exception.
    """

    reason: ClassVar[str] = "dependency_failed"

    def __init__(self, code: str = "") -> None:
        super().__init__(code)
        self.code = code


class OutcomeUnknown(DependencyFailed):
    """Another charge could be a second one, so nobody charges: somebody has to look.

    The gateway has forgotten the key of an earlier charge, or a restore that of the payment, and
    the gateway cannot say for certain that there is no charge.
    """

    reason = "outcome_unknown"


def is_failure(error: BaseException) -> bool:
    """Whether what was raised is a failure: an error, or an exit with which the library of a
    gateway ends a program, or a task, which is not its own here."""
    # By its name: asyncio itself would cost every cold start its import.
    is_exit = isinstance(error, SystemExit) or type(error).__name__ == "CancelledError"
    return isinstance(error, Exception) or is_exit


def error_code(error: BaseException) -> str:
    """Return the AWS error code of an answer, or the type of another failure."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__
