from datetime import UTC, datetime, timedelta, timezone

import pytest

from handlers.shared.clock import timestamp
from payment_infra.errors import UsageError
from payment_infra.moments import exact, iso, parse_moment, parse_since, shown

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", datetime(2026, 11, 24, 11, 50, tzinfo=UTC)),
        ("-15m", datetime(2026, 11, 24, 11, 45, tzinfo=UTC)),
        ("90s", datetime(2026, 11, 24, 11, 58, 30, tzinfo=UTC)),
        ("3h", datetime(2026, 11, 24, 9, 0, tzinfo=UTC)),
        ("2d", datetime(2026, 11, 22, 12, 0, tzinfo=UTC)),
        ("1w", datetime(2026, 11, 17, 12, 0, tzinfo=UTC)),
        ("2026-11-24T10:00:00Z", datetime(2026, 11, 24, 10, 0, tzinfo=UTC)),
        ("2026-11-24T10:00:00+02:00", datetime(2026, 11, 24, 8, 0, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_while_ago_or_a_time_with_its_zone(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-11-24T10:00:00", "no time zone; write UTC as 2026-11-24T10:00:00Z"),
        ("2026-11-24", "no time zone; write UTC as 2026-11-24T00:00:00Z"),
        ("yesterday", "'yesterday' is not a time; write 15m or -15m for that long ago"),
        ("", "write 15m or -15m for that long ago"),
        ("999999w", "too long ago for a date"),
    ],
)
def test_what_could_be_misread_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_moment(text, NOW)


def test_a_refusal_names_every_form_that_is_taken() -> None:
    with pytest.raises(UsageError) as refused:
        parse_moment("now", NOW, "latest")
    assert str(refused.value) == (
        "'now' is not a time; write latest, 15m or -15m for that long ago (s, m, h, d or w), or a "
        "time with its zone, as 2026-11-24T12:00:00Z"
    )


ELSEWHERE = datetime(2026, 11, 24, 12, 0, 7, 250_000, tzinfo=timezone(timedelta(hours=2)))


def test_a_moment_is_written_in_utc_for_people_and_for_programs() -> None:
    assert shown(ELSEWHERE) == "2026-11-24T10:00:07Z"
    assert iso(ELSEWHERE) == "2026-11-24T10:00:07.250000+00:00"
    assert iso(NOW) == "2026-11-24T12:00:00+00:00"


def test_what_is_shown_can_be_given_back_and_what_a_program_gets_is_whole() -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for moment in (ELSEWHERE, first, last):
        assert parse_moment(shown(moment), NOW) == moment.replace(microsecond=0)
    assert shown(first) == "0001-01-01T00:00:00Z"
    assert datetime.fromisoformat(iso(ELSEWHERE)) == ELSEWHERE


def test_a_row_is_looked_for_by_moments_as_the_functions_write_them() -> None:
    assert exact(NOW) == timestamp(NOW) == "2026-11-24T12:00:00.000000+00:00"
    assert exact(ELSEWHERE) == timestamp(ELSEWHERE.astimezone(UTC))


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
        "10000-01-01T00:00:00Z",
        "2026-11-24T10:00:00+24:00",
        "2026-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "99999999999d",
        "nan",
        "-nand",
        "1e9d",
        "2026-11-24T10:00:00+99:99",
        "\x00",
    ],
)
def test_what_no_calendar_has_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_moment(text, NOW)
    assert str(refused.value).startswith(repr(text))


def test_the_first_and_the_last_moment_are_taken() -> None:
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert parse_moment(moment.isoformat(), NOW) == moment
    with pytest.raises(UsageError, match="write UTC as 0001-01-01T00:00:00Z"):
        parse_moment("0001-01-01", NOW)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("10m", datetime(2026, 11, 24, 11, 50, tzinfo=UTC)),
        ("0s", NOW),
        ("1970-01-01T00:00:01Z", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("1969-12-31T23:59:59Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_nothing_is_asked_for_from_before_1970(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["2026-11-24T12:00:01Z", "9999-12-31T23:59:59Z"])
def test_nothing_is_asked_for_from_a_moment_that_has_not_come(text: str) -> None:
    with pytest.raises(UsageError, match=f"^'{text}' has not come yet; it is 2026-11-24T12:00:00Z"):
        parse_since(text, NOW)
