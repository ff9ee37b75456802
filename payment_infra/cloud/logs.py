"""The lines that the functions write, as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from payment_infra.cloud.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_logs.type_defs import FilteredLogEventTypeDef


@dataclass(frozen=True)
class LogLine:
    """One line: its log group, its time in epoch milliseconds, and its text."""

    group: str
    milliseconds: int
    text: str


class LogTail:
    """Reads log groups from a moment on, each line once."""

    def __init__(
        self, client: CloudWatchLogsClient, groups: Sequence[str], milliseconds: int
    ) -> None:
        self._client = client
        self._since = dict.fromkeys(groups, milliseconds)
        self._seen: dict[str, set[str]] = {group: set() for group in groups}

    def read(self) -> list[LogLine]:
        """Return the lines that are new since the last call, in the order of their time."""
        lines = [line for group in self._since for line in self._read(group)]
        return sorted(lines, key=lambda line: line.milliseconds)

    def _read(self, group: str) -> list[LogLine]:
        since = self._since[group]
        with translated(f"log group {group}"):
            pages = self._client.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=since
            )
            events = [event for page in pages for event in page["events"]]
        fresh = [event for event in events if _identity(event) not in self._seen[group]]
        if fresh:
            # What has the newest time may get company: it is read again, and known by its id.
            newest = max(event["timestamp"] for event in events)
            self._since[group] = newest
            self._seen[group] = {
                _identity(event) for event in events if event["timestamp"] == newest
            }
        return [
            LogLine(group, event["timestamp"], event["message"].rstrip("\n")) for event in fresh
        ]


def _identity(event: FilteredLogEventTypeDef) -> str:
    # The emulator gives no eventId.
    return event.get("eventId") or (
        f"{event.get('logStreamName')} {event['timestamp']} {event['message']}"
    )
