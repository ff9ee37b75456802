"""Time, and the two forms in which it is stored."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Return an aware UTC moment in ISO 8601 with its offset, to the microsecond."""
    return moment.isoformat(timespec="microseconds")


def epoch_seconds(moment: datetime) -> int:
    """Return the whole seconds since 1970-01-01 UTC."""
    return int(moment.timestamp())


def just_expired(now: datetime) -> int:
    """Return the end of a lease, in epoch seconds, that has just expired."""
    return epoch_seconds(now) - 1
