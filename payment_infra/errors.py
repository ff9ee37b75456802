"""What can go wrong, in words for the person at the terminal, each with its exit code."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from payment_infra.cloud.events import Diagnosis, StackEvent


class PaymentInfraError(Exception):
    """One line that says what failed, where, and what to do next."""

    exit_code = 1


class UsageError(PaymentInfraError):
    """The caller asked for something that cannot be: a flag, a variable, a file's content."""

    exit_code = 2


class AwsError(PaymentInfraError):
    """A call to AWS failed: credentials, network, permissions, a missing or foreign resource."""


class DeploymentFailed(PaymentInfraError):
    """The change set could not be made, or its execution failed or was rolled back.

    status is what the stack came to; events are those of the operation, oldest first; diagnosis is
    their root cause, if it is known.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        status: str = "",
        events: "Sequence[StackEvent]" = (),
        diagnosis: "Diagnosis | None" = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.events = events
        self.diagnosis = diagnosis


class Interrupted(PaymentInfraError):
    """Ctrl-C while AWS continues by itself; says how to see it and how to stop it."""

    exit_code = 130


class Declined(PaymentInfraError):
    """The person answered no."""

    exit_code = 130
