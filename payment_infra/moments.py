"""Moments as text: as a person writes them, as one reads them, and as documents and rows hold
them."""

import re
from datetime import UTC, datetime, timedelta

from payment_infra.errors import UsageError

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shown(moment: datetime) -> str:
    """Return a moment for a person, to the second, as `2026-11-24T10:00:00Z`; options take it."""
    # strftime would leave out the zeros of a year before 1000.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def iso(moment: datetime) -> str:
    """Return a moment for a program: ISO 8601 in UTC, with what there is of a second."""
    return moment.astimezone(UTC).isoformat()


def exact(moment: datetime) -> str:
    """Return a moment as the functions write it into rows: such texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def is_ago(text: str) -> bool:
    """Whether a moment is written as a while ago, and so is another one every time."""
    return _ago(text) is not None


def parse_moment(text: str, now: datetime, word: str = "") -> datetime:
    """Return the moment, in UTC.

    Args:
        text: `10m`, `-15m`, `3h`, `2d`: that long ago; or ISO 8601 with an offset, as
            `2026-11-24T10:00:00Z`.
        now: the present moment.
        word: what is taken besides by whoever asks, as `latest`; a refusal names it.

    Raises:
        UsageError: it is neither; a time without an offset could be anybody's.
    """
    if ago := _ago(text):
        try:
            return now.astimezone(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise UsageError(f"{text!r}: too long ago for a date") from error
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a time; write {word and f'{word}, '}15m or -15m for that long ago "
            f"(s, m, h, d or w), or a time with its zone, as {shown(now)}"
        ) from error
    if moment.tzinfo is None:
        raise UsageError(
            f"{text!r} has no time zone; write UTC as {moment.isoformat(timespec='seconds')}Z"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise UsageError(f"{text!r}: in UTC that is before year 1 or after year 9999") from error


def parse_since(text: str, now: datetime) -> datetime:
    """Return the moment from which on something is asked for, in UTC, 1970 at the earliest.

    Nothing of a stack is older, and the services count from there (CloudWatch Logs API,
    FilterLogEvents: startTime is 0 at least).

    Raises:
        UsageError: as of `parse_moment`, or the moment has not come yet.
    """
    moment = parse_moment(text, now)
    if moment > now:
        raise UsageError(f"{text!r} has not come yet; it is {shown(now)}")
    return max(moment, EPOCH)


def _ago(text: str) -> re.Match[str] | None:
    return re.fullmatch(rf"-?(\d{{1,6}})([{''.join(UNITS)}])", text)
