"""An operation as NDJSON: one JSON object a line, each with its `type`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from payment_infra.cli.views.output import print_data
from payment_infra.cloud.events import (
    Caution,
    Event,
    LastOperation,
    Outputs,
    Preview,
    Report,
    Result,
    StackEvent,
    StepBegun,
)
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.moments import iso

if TYPE_CHECKING:
    from payment_infra.errors import PaymentInfraError


class JsonView:
    """Writes one JSON object on stdout for each event, with its `type`."""

    def tell(self, event: Event) -> None:
        """Write the event's line; silence has none."""
        match event:
            case Preview():
                self._write(
                    "change_set",
                    {
                        "stack": event.stack,
                        "account": event.account,
                        "region": event.region,
                        "change_set": event.change_set,
                        "creates": event.creates,
                        "changes": [asdict(change) for change in event.changes],
                        "iam": [asdict(grant) for grant in event.grants],
                        "gateway": event.gateway,
                        "back_to_default": [asdict(setting) for setting in event.unasked],
                    },
                )
            case StackEvent():
                self._write("event", _event(event))
            case LastOperation():
                times = {"began": iso(event.began), "ended": iso(event.ended)}
                failed = [_event(failed) for failed in event.failed]
                self._write("last_operation", {**asdict(event), **times, "failed": failed})
            case Caution():
                self._write("warning", asdict(event))
            case Outputs():
                self._write("outputs", {"outputs": dict(event.values)})
            case StepBegun():
                self._write("step", asdict(event))
            case Report():
                self._write("report", dict(event.document))
            case Result():
                self._write("result", asdict(event))

    def pause(self) -> None:
        """Do nothing: questions are asked on stderr."""

    def fail(self, error: PaymentInfraError) -> None:
        """Write the error's line, with the root cause of a failed deployment."""
        cause = error.diagnosis if isinstance(error, DeploymentFailed) else None
        known = {"cause": asdict(cause)} if cause else {}
        self._write("error", {"message": str(error), "exit_code": error.exit_code, **known})

    @staticmethod
    def _write(kind: str, fields: dict[str, Any]) -> None:
        print_data(json.dumps({"type": kind, **fields}) + "\n")


def _event(event: StackEvent) -> dict[str, Any]:
    return {**asdict(event), "time": iso(event.time)}
