from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from payment_infra.cloud.sdk.logs import (
    UPDATES_UNTIL_READ,
    LogLine,
    LogTail,
    follow,
    follow_live,
    history,
)
from payment_infra.errors import AwsError
from tests.aws import FakeAws, Refused

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


def test_lines_that_are_the_same_to_the_millisecond_are_all_read(
    aws: FakeAws, tail: LogTail
) -> None:
    aws.logs[GROUP] += [line(1000, "same"), line(1000, "same")]
    assert texts(tail) == ["same", "same"]
    aws.logs[GROUP].append(line(1000, "same"))
    assert texts(tail) == ["same"]


def test_a_line_that_arrives_late_is_read(aws: FakeAws, tail: LogTail) -> None:
    aws.logs[GROUP].append(line(50_000, "newer"))
    assert texts(tail) == ["newer"]
    aws.logs[GROUP].insert(0, line(21_000, "older"))
    assert texts(tail) == ["older"]
    assert texts(tail) == []


def test_ten_thousand_lines_of_two_groups_are_merged_page_by_page(aws: FakeAws) -> None:
    aws.logs[GROUP] = [line(2 * n, f"a{n}", n) for n in range(5_000)]
    aws.logs[OTHER] = [line(2 * n + 1, f"b{n}", n) for n in range(5_000)]
    lines = history(aws.session().client("logs"), [GROUP, OTHER], 0, 20_000)
    assert next(lines).text == "a0"
    assert len(aws.called("logs:FilterLogEvents")) == 2
    rest = [one.milliseconds for one in lines]
    assert rest == list(range(1, 10_000))
    assert len(aws.called("logs:FilterLogEvents")) == 100


def paged(aws: FakeAws, page_size: int) -> None:
    """Let FilterLogEvents give pages of this size, and an empty one with a token before each."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        start, turn = (int(one) for one in params.get("nextToken", "0/0").split("/"))
        lines = [
            one
            for one in aws.logs[params["logGroupName"]]
            if params["startTime"] <= one["timestamp"] < params.get("endTime", 1 << 62)
        ]
        if not turn:
            return {"events": [], "nextToken": f"{start}/1"}
        end = start + page_size
        left = {"nextToken": f"{end}/0"} if end < len(lines) else {}
        return {"events": lines[start:end], **left}

    aws.answers["logs:FilterLogEvents"] = answer


# Lines of the same millisecond stand on both sides of a page's end, and some are the same.
def ten_thousand(aws: FakeAws) -> list[str]:
    for group, name in ((GROUP, "a"), (OTHER, "b")):
        aws.logs[group] = [line(1000 + n // 7, f"{name}{n // 2}", n) for n in range(5_000)]
    return sorted(f"{name}{n // 2}" for n in range(5_000) for name in "ab")


@pytest.mark.parametrize("page_size", [97, 1000])
def test_ten_thousand_lines_have_each_of_them_once_whatever_the_pages(
    aws: FakeAws, tail: LogTail, page_size: int
) -> None:
    expected = ten_thousand(aws)
    paged(aws, page_size)
    lines = list(history(aws.session().client("logs"), [GROUP, OTHER], 1000, 2000))
    assert sorted(one.text for one in lines) == expected
    assert [one.milliseconds for one in lines] == sorted(one.milliseconds for one in lines)
    calls = len(aws.called("logs:FilterLogEvents"))
    assert calls == 4 * -(-5_000 // page_size)
    given = tail.read()
    assert sorted(one.text for one in given) == expected
    assert [one.milliseconds for one in given] == sorted(one.milliseconds for one in given)
    assert tail.read() == []


def test_what_comes_while_pages_are_read_is_followed_and_nothing_twice(aws: FakeAws) -> None:
    expected = ten_thousand(aws)
    paged(aws, 500)
    later = {group: [lines.pop() for _ in range(2_000)] for group, lines in aws.logs.items()}

    def come(_: float) -> None:
        for group, lines in later.items():
            for _ in range(min(130, len(lines))):
                aws.logs[group].append(lines.pop())

    tail = LogTail(aws.session().client("logs"), [GROUP, OTHER], 1000)
    found: list[str] = []
    for lines in follow(tail, come):
        found += [one.text for one in lines]
        if not any(later.values()) and not lines:
            break
    assert sorted(found) == expected


def test_a_throttled_look_is_made_again(aws: FakeAws, tail: LogTail) -> None:
    looks = follow(tail, lambda _: aws.errors.clear())
    aws.logs[GROUP].append(line(1000, "a"))
    aws.errors["logs:FilterLogEvents"] = Refused("ThrottlingException")
    assert [one.text for one in next(looks)] == ["a"]


@pytest.mark.parametrize("throttled", [GROUP, OTHER])
@pytest.mark.parametrize("page", [1, 2])
def test_no_line_is_lost_or_given_twice_when_one_group_is_throttled(
    aws: FakeAws, tail: LogTail, throttled: str, page: int
) -> None:
    aws.page_size = 1
    aws.logs[GROUP] += [line(1000, "a"), line(1002, "c")]
    aws.logs[OTHER] += [line(1001, "b"), line(1003, "d")]
    looked, pages = aws._filter_log_events, [0]

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        pages[0] += params["logGroupName"] == throttled
        if pages[0] == page:
            pages[0] += 1
            raise Refused("ThrottlingException")
        return looked(params)

    aws.answers["logs:FilterLogEvents"] = answer
    looks = follow(tail, lambda _: None)
    assert [one.text for one in next(looks)] == ["a", "b", "c", "d"]
    assert next(looks) == []


class FakeStream:
    """The event stream of a live tail's session; what happens between events is called."""

    def __init__(self, *events: Any) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Any]:
        for event in self._events:
            yield event() if callable(event) else event


def update(*lines: tuple[int, str], sampled: bool = False) -> dict[str, Any]:
    results = [
        {
            "logGroupIdentifier": f"123456789012:{GROUP}",
            "logStreamName": "one",
            "timestamp": time,
            "message": text,
        }
        for time, text in lines
    ]
    return {"sessionUpdate": {"sessionResults": results, "sessionMetadata": {"sampled": sampled}}}


def test_a_live_tail_gives_no_line_twice_and_what_it_leaves_out_is_read(
    aws: FakeAws, tail: LogTail
) -> None:
    def late() -> dict[str, Any]:
        aws.logs[GROUP] += [line(3000, "live"), line(3001, "left out")]
        return update((3000, "live"), sampled=True)

    def after_the_end() -> dict[str, Any]:
        aws.logs[GROUP].append(line(4000, "between the sessions"))
        return {"SessionTimeoutException": {}}

    aws.logs[GROUP].append(line(1000, "before"))
    streams = iter([FakeStream(update((1000, "before"), (2000, "only live")), late, after_the_end)])
    client = aws.session().client("logs")
    client.start_live_tail = lambda **_: {"responseStream": next(streams)}
    given = follow_live(client, {f"arn:{GROUP}": GROUP}, tail, "", lambda _: None)
    found: list[LogLine] = []
    while not found or found[-1].text != "between the sessions":
        found += next(given)
    assert [one.text for one in found] == [
        *("before", "only live", "live", "left out", "between the sessions")
    ]


def test_an_endpoint_without_live_tail_is_read(aws: FakeAws, tail: LogTail) -> None:
    aws.errors["logs:StartLiveTail"] = Refused("UnknownOperationException")
    aws.logs[GROUP].append(line(1000, "a"))
    client = aws.session().client("logs")
    given = follow_live(client, {f"arn:{GROUP}": GROUP}, tail, "", lambda _: None)
    assert [one.text for one in next(given)] == ["a"]


def test_a_live_tail_that_is_denied_or_cut_off_goes_on_by_reading(
    aws: FakeAws, tail: LogTail
) -> None:
    def cut_off() -> dict[str, Any]:
        aws.logs[GROUP] += [line(2000, "live"), line(2001, "after the cut")]
        raise ReadTimeoutError(endpoint_url="https://streaming-logs.example.com")

    streams = iter([FakeStream(update((2000, "live")), cut_off)])
    client = aws.session().client("logs")
    client.start_live_tail = lambda **_: {"responseStream": next(streams)}
    given = follow_live(client, {f"arn:{GROUP}": GROUP}, tail, "", lambda _: None)
    assert [one.text for _ in range(3) for one in next(given)] == ["live", "after the cut"]

    aws.errors["logs:StartLiveTail"] = Refused("AccessDeniedException", "no logs:StartLiveTail")
    aws.logs[OTHER].append(line(3000, "read"))
    denied = follow_live(
        aws.session().client("logs"), {f"arn:{GROUP}": GROUP}, tail, "", lambda _: None
    )
    assert [one.text for one in next(denied)] == ["read"]


def test_a_reading_that_is_denied_too_ends_it(aws: FakeAws, tail: LogTail) -> None:
    aws.errors["*"] = Refused("AccessDeniedException", "no logs at all")
    given = follow_live(
        aws.session().client("logs"), {f"arn:{GROUP}": GROUP}, tail, "", lambda _: None
    )
    with pytest.raises(AwsError, match="not allowed to call FilterLogEvents"):
        next(given)


def test_a_live_tail_is_asked_for_the_groups_and_the_pattern_and_begins_again_after_its_end(
    aws: FakeAws, tail: LogTail
) -> None:
    asked: list[Any] = []
    ends: dict[str, Any] = {"SessionStreamingException": {}}

    def start(**params: Any) -> dict[str, Any]:
        asked.append(params)
        aws.logs[GROUP].append(line(1000 + len(asked), f"gap {len(asked)}"))
        return {"responseStream": FakeStream({"sessionStart": {}}, ends, update((1, "x")))}

    client = aws.session().client("logs")
    client.start_live_tail = start
    given = follow_live(client, {f"arn:{GROUP}": GROUP}, tail, "{ $.a = 1 }", lambda _: None)
    found = [one.text for _ in range(9) for one in next(given)]
    assert found == ["gap 1", "gap 2", "gap 3"]
    assert (
        asked
        == [{"logGroupIdentifiers": [f"arn:{GROUP}"], "logEventFilterPattern": "{ $.a = 1 }"}] * 3
    )


def test_what_a_live_tail_leaves_out_is_read_before_the_next_update(
    aws: FakeAws, tail: LogTail
) -> None:
    def sampled() -> dict[str, Any]:
        aws.logs[GROUP] += [line(2000, "shown"), line(2001, "left out")]
        return update((2000, "shown"), sampled=True)

    stream = FakeStream(sampled, update((3000, "next")))
    client = aws.session().client("logs")
    client.start_live_tail = lambda **_: {"responseStream": stream}
    given = follow_live(client, {f"arn:{GROUP}": GROUP}, tail, "", lambda _: None)
    assert [one.text for _ in range(4) for one in next(given)] == ["shown", "left out", "next"]


def test_a_quiet_live_tail_is_read_now_and_then(aws: FakeAws, tail: LogTail) -> None:
    def left_out() -> dict[str, Any]:
        aws.logs[GROUP].append(line(1500, "left out"))
        return update()

    updates = [update()] * (UPDATES_UNTIL_READ - 2)
    stream = FakeStream(left_out, *updates, update((1400, "live")), update((1600, "more")))
    client = aws.session().client("logs")
    client.start_live_tail = lambda **_: {"responseStream": stream}
    given = follow_live(client, {f"arn:{GROUP}": GROUP}, tail, "", lambda _: None)
    found = [one.text for _ in range(UPDATES_UNTIL_READ + 3) for one in next(given)]
    assert found == ["live", "left out", "more"]
