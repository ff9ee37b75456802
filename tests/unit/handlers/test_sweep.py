from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from handlers import health_monitor
from handlers.shared import sweep as module
from handlers.shared.aws import clients, logs
from handlers.shared.aws.table import StoreUnavailable
from handlers.shared.charging import LOOKED_AFTER
from handlers.shared.clock import epoch_seconds
from handlers.shared.deadline import CALL_SECONDS, Deadline
from handlers.shared.recovery import SCHEDULE_SECONDS, RecoveryIncomplete
from handlers.shared.states import IN_FLIGHT_KEYS, in_flight_key
from handlers.shared.sweep import SEGMENTS, sweep
from tests.items import MAX_ITEM_BYTES, item_bytes
from tests.unit.handlers.fakes import client_error
from tests.unit.handlers.harness import Aws, Clock, LambdaContext, Output, load_event

if TYPE_CHECKING:
    from tests.expressions import Item

PROCESSING: Item = {"status": {"S": "processing"}}
FAR: Item = {"lease_expires_at": {"N": "9999999999"}}


def run(clock: Clock, seconds_left: float = 60) -> None:
    logs.begin(request_id="scheduled")
    sweep(clients.store(), clock.now, Deadline(clock.now + timedelta(seconds=seconds_left), clock))


def put(aws: Aws, name: str, row: Item) -> Item:
    aws.dynamodb.items[name] = {"transaction_id": {"S": name}, **row}
    return aws.dynamodb.items[name]


def indexed(aws: Aws) -> set[str]:
    return {name for name, row in aws.dynamodb.items.items() if "in_flight" in row}


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run sweeps the whole table."""
    monkeypatch.setattr(module, "SEGMENTS", 1)


def test_every_row_is_looked_at_once_a_day(aws: Aws, clock: Clock) -> None:
    for number in range(500):
        put(aws, f"t-{number}", PROCESSING)
    begun, found = clock.now, set[str]()
    while clock.now < begun + timedelta(days=1):
        run(clock)
        news = indexed(aws) - found
        segment = epoch_seconds(clock.now) // SCHEDULE_SECONDS % SEGMENTS
        assert {crc32(name.encode()) % SEGMENTS for name in news} <= {segment}
        found |= news
        clock.tick(SCHEDULE_SECONDS)
    assert len(found) == 500
    assert len(aws.dynamodb.called("Scan")) == SEGMENTS


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize(
    ("row", "lease_end"),
    [
        ({}, None),
        ({"in_flight": {"S": "processing#0"}}, None),
        (FAR, 9999999999),
        (FAR | {"in_flight": {"S": "processing#99"}}, 9999999999),
    ],
)
def test_what_the_index_has_lost_is_put_where_it_belongs(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str], row: Item, lease_end: int | None
) -> None:
    before = dict(put(aws, "t-1", PROCESSING | row))
    run(clock)
    expected: Item = {
        "in_flight": {"S": in_flight_key("t-1")},
        "lease_expires_at": {"N": str(lease_end or epoch_seconds(clock.now) - 1)},
    }
    assert aws.dynamodb.items["t-1"] == before | expected
    output = Output.read(capsys)
    assert not output.of("segment not swept to its end")
    [line] = output.of("payment was not in the index")
    assert (line["level"], line["transaction_id"]) == ("ERROR", "t-1")


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize(
    "row",
    [
        *(PROCESSING | FAR | {"in_flight": {"S": key}} for key in (*IN_FLIGHT_KEYS, *LOOKED_AFTER)),
        *({"status": {"S": status}} for status in ("validated", "processed", "declined", "other")),
        {},
    ],
)
def test_no_other_row_is_written(aws: Aws, clock: Clock, row: Item) -> None:
    put(aws, "t-1", row)
    run(clock)
    assert [name for name, _ in aws.dynamodb.calls] == ["Scan"]


@pytest.mark.usefixtures("whole")
def test_what_somebody_has_claimed_meanwhile_is_left_alone(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    row = put(aws, "t-1", PROCESSING)
    claimed = FAR | {"in_flight": {"S": "processing#0"}}
    aws.dynamodb.before_update = lambda: row.update(claimed)
    run(clock)
    assert aws.dynamodb.items["t-1"].items() >= claimed.items()
    assert not Output.read(capsys).of("payment was not in the index")


@pytest.mark.usefixtures("whole")
def test_a_segment_is_read_by_pages_and_only_as_far_as_it_may_cost(
    aws: Aws,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(10):
        put(aws, f"t-{number}", PROCESSING)
    aws.dynamodb.rows_per_page = 2
    monkeypatch.setattr(module, "MAX_PAGES_A_RUN", 3)
    run(clock)
    assert len(aws.dynamodb.called("Scan")) == 3
    assert indexed(aws) == {f"t-{number}" for number in range(6)}
    assert Output.read(capsys).of("segment not swept to its end")


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize(("calls", "written"), [(0, 0), (1, 0), (2, 1), (4, 3)])
def test_a_sweep_ends_in_time(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str], calls: int, written: int
) -> None:
    """At the slowest that each call may be."""
    for number in range(10):
        put(aws, f"t-{number}", PROCESSING)
    aws.dynamodb.rows_per_page = 5
    aws.dynamodb.before_update = lambda: clock.tick(CALL_SECONDS)
    aws.dynamodb.before_scan = lambda: clock.tick(CALL_SECONDS)
    run(clock, seconds_left=calls * CALL_SECONDS)
    assert len(aws.dynamodb.called("Scan")) == min(calls, 1)
    assert len(indexed(aws)) == written
    assert Output.read(capsys).of("segment not swept to its end")


@pytest.mark.usefixtures("whole")
def test_one_that_cannot_be_written_is_counted_and_hides_no_other(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    row = put(aws, "t-1", PROCESSING | {"filler": {"S": ""}})
    row["filler"] = {"S": "x" * (MAX_ITEM_BYTES - item_bytes(row))}
    put(aws, "t-2", PROCESSING)
    context, event = LambdaContext(), load_event("scheduled")
    with pytest.raises(RecoveryIncomplete):
        health_monitor.handler(event, context)
    assert indexed(aws) == {"t-2"}
    output = Output.read(capsys)
    assert output.metrics["PaymentsUnreadable"] == [1]
    assert output.metrics["ScheduledRuns"] == [0]
    [line] = output.of("payment not put into the index")
    assert (line["transaction_id"], line["code"]) == ("t-1", "ValidationException")


def test_a_table_that_cannot_be_read_fails_the_run_after_all_else_is_done(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.dynamodb.fail("Scan", client_error("ThrottlingException"))
    with pytest.raises(StoreUnavailable):
        health_monitor.handler(load_event("scheduled"), LambdaContext())
    output = Output.read(capsys)
    assert (output.metrics["Degraded"], output.metrics["ScheduledRuns"]) == ([0], [0])


def test_a_run_has_its_metrics_to_put_when_the_sweep_is_over(
    aws: Aws, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    short = LambdaContext(seconds_left=CALL_SECONDS + 0.5)
    health_monitor.handler(load_event("scheduled"), short)
    assert not aws.dynamodb.called("Scan")
    assert Output.read(capsys).metrics["ScheduledRuns"] == [1]
