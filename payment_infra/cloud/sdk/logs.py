"""The lines of log groups: those of a span of time, and those that come, each of them once."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.polling import looks

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

# A line can arrive late, with an older time than one that was read: so far back it is looked for.
OVERLAP_MILLISECONDS = 30_000
POLL_SECONDS = (1.0,)
# Updates of a live tail, one a second, after which the groups are read for what it left out.
UPDATES_UNTIL_READ = 15


@dataclass(frozen=True)
class LogLine:
    """One line: its log group, its time in epoch milliseconds, and its text."""

    group: str
    milliseconds: int
    text: str
    stream: str = ""


def history(
    client: CloudWatchLogsClient,
    groups: Sequence[str],
    start: int,
    end: int,
    pattern: str = "",
) -> Iterator[LogLine]:
    """Yield the lines of the groups in the order of their time, read as far as the caller iterates.

    FilterLogEvents gives the events of a group in that order (CloudWatch Logs API).

    Args:
        client: of the groups' account and region.
        groups: their names.
        start: the first moment, in epoch milliseconds.
        end: the moment after the last.
        pattern: CloudWatch's filter pattern; "" lets everything through.
    """
    return heapq.merge(
        *(_lines(client, group, start, pattern, endTime=end) for group in groups),
        key=lambda line: line.milliseconds,
    )


class LogTail:
    """Reads log groups from a moment on, each line once, also one that arrives late."""

    def __init__(
        self,
        client: CloudWatchLogsClient,
        groups: Sequence[str],
        milliseconds: int,
        pattern: str = "",
    ) -> None:
        self._client = client
        self._start = milliseconds
        self._pattern = pattern
        self._newest = dict.fromkeys(groups, milliseconds)
        # How often each line was given, and how often a live tail had it. The same line can have
        # been written twice in a millisecond, and the emulator and live tails give no ids.
        self._given: Counter[LogLine] = Counter()
        self._live: Counter[LogLine] = Counter()
        # Lines of groups that were read, kept while the look at another group fails.
        self._unseen: list[LogLine] = []

    def read(self) -> list[LogLine]:
        """Return the lines that are new since the last call, in the order of their time."""
        with translated("log groups"):
            return self.look()

    def look(self) -> list[LogLine]:
        """Return what `read` does; failures are botocore's, and what was read comes with the next
        look."""
        for group in self._newest:
            self._unseen += self._read(group)
        self._forget()
        lines, self._unseen = self._unseen, []
        return sorted(lines, key=lambda line: line.milliseconds)

    def take(self, lines: Sequence[LogLine]) -> list[LogLine]:
        """Return those lines of a live tail that were not given yet; they then are."""
        fresh = []
        for line in lines:
            self._live[line] += 1
            if self._live[line] > self._given[line]:
                self._given[line] += 1
                fresh.append(line)
        return fresh

    def _read(self, group: str) -> list[LogLine]:
        """Return a group's new lines. They count as given only once all its pages were read."""
        since = max(self._start, self._newest[group] - OVERLAP_MILLISECONDS)
        lines = list(_lines(self._client, group, since, self._pattern))
        found: Counter[LogLine] = Counter()
        fresh = []
        for line in lines:
            found[line] += 1
            if found[line] > self._given[line]:
                self._given[line] += 1
                fresh.append(line)
        self._newest[group] = max([self._newest[group], *(line.milliseconds for line in lines)])
        return fresh

    def _forget(self) -> None:
        """Forget the lines that are not read again."""
        for counted in (self._given, self._live):
            for line in list(counted):
                if line.milliseconds < self._newest[line.group] - OVERLAP_MILLISECONDS:
                    del counted[line]


def follow(tail: LogTail, sleep: Callable[[float], None]) -> Iterator[list[LogLine]]:
    """Yield new lines again and again, by reading; a look that is throttled is made again."""
    return looks("log groups", tail.look, sleep, POLL_SECONDS)


def follow_live(
    client: CloudWatchLogsClient,
    groups: Mapping[str, str],
    tail: LogTail,
    pattern: str,
    sleep: Callable[[float], None],
) -> Iterator[list[LogLine]]:
    """Yield new lines as CloudWatch's live tail has them, and by reading where there is none.

    What comes before the session, after its end (it lasts 3 hours), or is left out of it (it shows
    at most 500 lines a second) is read.

    Args:
        client: of the groups' account and region.
        groups: ARN to name.
        tail: what was given already.
        pattern: CloudWatch's filter pattern.
        sleep: waits between two reads.
    """
    while True:
        try:
            answer = client.start_live_tail(
                logGroupIdentifiers=list(groups),
                **({"logEventFilterPattern": pattern} if pattern else {}),
            )
            yield from _session(answer["responseStream"], groups, tail)
        except (ClientError, BotoCoreError):
            # Not allowed, not known by the endpoint, or cut off: reading tells which.
            yield from follow(tail, sleep)


def _session(stream: Any, groups: Mapping[str, str], tail: LogTail) -> Iterator[list[LogLine]]:
    yield tail.look()
    for number, event in enumerate(stream, start=1):
        if "SessionTimeoutException" in event or "SessionStreamingException" in event:
            break
        update = event.get("sessionUpdate", {})
        results = update.get("sessionResults", [])
        yield tail.take([_live_line(line, groups) for line in results])
        sampled = update.get("sessionMetadata", {}).get("sampled", False)
        if sampled or number % UPDATES_UNTIL_READ == 0:
            yield tail.look()
    yield tail.look()


def _live_line(event: Mapping[str, Any], groups: Mapping[str, str]) -> LogLine:
    """Return a line of a live tail, whose group is `account:name` or an ARN."""
    identifier = event["logGroupIdentifier"]
    name = groups.get(identifier) or identifier.rpartition(":")[2]
    return LogLine(
        name, event["timestamp"], event["message"].rstrip("\n"), event.get("logStreamName", "")
    )


def _lines(
    client: CloudWatchLogsClient, group: str, start: int, pattern: str, **more: Any
) -> Iterator[LogLine]:
    if pattern:
        more["filterPattern"] = pattern
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=group, startTime=start, **more
    )
    for page in pages:
        for event in page["events"]:
            text = event["message"].rstrip("\n")
            yield LogLine(group, event["timestamp"], text, event.get("logStreamName", ""))
