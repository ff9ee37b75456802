"""How an operation on a stack fails: the error that carries its events and their root cause."""

from collections.abc import Sequence

from payment_infra.cloud.events import Diagnosis, StackEvent
from payment_infra.errors import PaymentInfraError


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
        events: Sequence[StackEvent] = (),
        diagnosis: Diagnosis | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.events = events
        self.diagnosis = diagnosis
