"""A line of a log as a person reads it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from payment_infra.foreign import escaped, parsed

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.logs import LogLine

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
COLORS = {"DEBUG": "bright_black", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
# What Lambda itself writes about every call ("Lambda function logs"), as text; as JSON it has a
# type that begins so ("Lambda Telemetry API Event schema reference").
PLATFORM = re.compile(r"(START|END|REPORT|INIT_START|INIT_REPORT|EXTENSION|XRAY|RESTORE_START)\b")
PLATFORM_TYPE = "platform."
FAILURES = ("Task timed out", "Runtime exited", "Runtime.", "[ERROR]", "Traceback")
# What is in a column of its own, or says nothing to a person.
HIDDEN = frozenset(
    {"level", "message", "timestamp", "service", "xray_trace_id", "report"}
    | {"time", "type", "log_level", "errorMessage"}
)
NAME_WIDTH = 10
INDENT = "    "


@dataclass(frozen=True)
class Entry:
    """A line that was taken apart.

    platform says that Lambda wrote it about a call, or that it only carries metrics. fields is
    empty where the line is no JSON object.
    """

    line: LogLine
    function: str
    level: str
    message: str
    fields: Mapping[str, Any]
    platform: bool

    def at_least(self, level: str) -> bool:
        """Whether the line is of this level or above."""
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def about(self, transaction_id: str) -> bool:
        """Whether the line is about a payment."""
        return self.fields.get("transaction_id") == transaction_id

    def document(self) -> dict[str, Any]:
        """Return what a program gets."""
        content = {"fields": dict(self.fields)} if self.fields else {"message": self.message}
        return {
            "time": self._time.isoformat(timespec="milliseconds"),
            "function": self.function,
            "group": self.line.group,
            "stream": self.line.stream,
            "level": self.level,
            **content,
        }

    def text(self, width: int | None = None) -> str:
        """Return what a person gets: time in UTC, function, level, message, the other fields.

        What would act on a terminal is escaped. What does not fit into `width` columns is continued
        below, indented; None breaks no line.
        """
        more = " ".join(
            escaped(f"{name}={value if isinstance(value, str) else json.dumps(value)}")
            for name, value in self.fields.items()
            if name not in HIDDEN
        )
        # What is no JSON may have lines of its own, which are not to look like entries.
        message = (
            escaped(self.message)
            if self.fields
            else f"\n{INDENT}".join(escaped(line, keep="\t") for line in self.message.split("\n"))
        )
        clock = f"{self._time:%m-%d %H:%M:%S.%f}"[:18]
        start = f"{clock}  {self.function:<{NAME_WIDTH}}  {self.level:<8}"
        text = f"{start}  {message}  {more}".rstrip()
        if width is not None and self.fields:
            text = textwrap.fill(
                text, width, subsequent_indent=INDENT, break_on_hyphens=False, drop_whitespace=True
            )
        color = "bright_black" if self.platform else COLORS.get(self.level)
        return click.style(text, fg=color) if color else text

    @property
    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.line.milliseconds / 1000, UTC)


def entry(line: LogLine, function: str) -> Entry:
    """Take a line apart."""
    content = parsed(line.text)
    if not isinstance(content, dict):
        platform = PLATFORM.match(line.text) is not None
        failed = not platform and any(text in line.text for text in FAILURES)
        return Entry(line, function, "ERROR" if failed else "INFO", line.text, {}, platform)
    if "httpMethod" in content:
        return _access(line, function, content)
    if str(content.get("type", "")).startswith(PLATFORM_TYPE):
        return _platform(line, function, content)
    # Lambda's own names are those of an exception that a handler let pass.
    level = str(content.get("level", content.get("log_level", "INFO"))).upper()
    return Entry(
        line=line,
        function=function,
        level=level if level in LEVELS else "INFO",
        message=str(content.get("message", content.get("errorMessage", ""))),
        fields=content,
        platform="_aws" in content,
    )


def _platform(line: LogLine, function: str, parsed: Mapping[str, Any]) -> Entry:
    """Take a line apart that Lambda wrote as JSON about a call, which may have failed."""
    record = parsed.get("record")
    status = str(record.get("status", "success")) if isinstance(record, dict) else "success"
    failed = status != "success"
    message = f"{parsed['type']}: {status}"
    return Entry(
        line, function, "ERROR" if failed else "INFO", message, parsed, platform=not failed
    )


def _access(line: LogLine, function: str, parsed: Mapping[str, Any]) -> Entry:
    """Take a line of the API's access log apart."""
    status = str(parsed.get("status", ""))
    level = {"5": "ERROR", "4": "WARNING"}.get(status[:1], "INFO")
    path = parsed.get("resourcePath") or parsed.get("path") or ""
    return Entry(line, function, level, f"{parsed['httpMethod']} {path}", parsed, platform=False)
