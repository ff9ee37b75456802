from __future__ import annotations

from typing import Any

import pytest

from payment_infra.cloud.logs import LogTail
from tests.aws import FakeAws

GROUP, OTHER = "/aws/lambda/a", "/aws/lambda/b"


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(logs={GROUP: [], OTHER: []})


@pytest.fixture
def tail(aws: FakeAws) -> LogTail:
    return LogTail(aws.session().client("logs"), [GROUP, OTHER], 1000)


def line(time: int, text: str, number: int | None = None) -> dict[str, Any]:
    """Return an event; without a number it is the emulator's, which gives no id."""
    event: dict[str, Any] = {"logStreamName": "one", "timestamp": time, "message": f"{text}\n"}
    return event if number is None else event | {"eventId": str(number)}


def texts(tail: LogTail) -> list[str]:
    return [one.text for one in tail.read()]


@pytest.mark.parametrize("page_size", [1, 2, 100])
@pytest.mark.parametrize("with_ids", [True, False])
def test_no_line_is_read_twice_or_lost_among_lines_of_the_same_time(
    with_ids: bool, page_size: int, aws: FakeAws, tail: LogTail
) -> None:
    aws.page_size = page_size
    number = iter(range(100))

    def write(time: int, text: str) -> None:
        aws.logs[GROUP].append(line(time, text, next(number) if with_ids else None))

    assert texts(tail) == []
    write(1000, "a")
    write(1000, "b")
    assert texts(tail) == ["a", "b"]
    write(1000, "c")
    assert texts(tail) == ["c"]
    assert texts(tail) == []
    write(1001, "d")
    write(1001, "e")
    assert texts(tail) == ["d", "e"]
    assert texts(tail) == []


@pytest.mark.parametrize("with_ids", [True, False])
def test_a_line_that_says_the_same_again_is_another_line(
    with_ids: bool, aws: FakeAws, tail: LogTail
) -> None:
    for time in (1000, 1001, 1002):
        aws.logs[GROUP].append(line(time, "same", time if with_ids else None))
        assert texts(tail) == ["same"]


def test_what_was_written_before_is_not_read(aws: FakeAws, tail: LogTail) -> None:
    aws.logs[GROUP].append(line(999, "old"))
    assert texts(tail) == []


def test_the_groups_lines_come_in_the_order_of_their_time(aws: FakeAws, tail: LogTail) -> None:
    aws.logs[GROUP] += [line(1000, "first"), line(1002, "third")]
    aws.logs[OTHER] += [line(1001, "second")]
    assert [(one.group, one.text) for one in tail.read()] == [
        (GROUP, "first"),
        (OTHER, "second"),
        (GROUP, "third"),
    ]


def test_a_group_is_read_from_its_own_newest_line_on(aws: FakeAws, tail: LogTail) -> None:
    aws.logs[GROUP].append(line(5000, "late"))
    assert texts(tail) == ["late"]
    aws.logs[OTHER].append(line(2000, "slow"))
    assert texts(tail) == ["slow"]
