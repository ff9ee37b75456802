"""The segments of a table are read at the same time, and come in their order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from payment_infra.cloud.restoring import reading
from payment_infra.cloud.restoring.reading import SEGMENTS, each_segment

LIMIT_SECONDS = 60


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give back the threads that other tests go without."""
    monkeypatch.setattr(reading, "ThreadPoolExecutor", ThreadPoolExecutor)


def test_all_segments_are_read_at_the_same_time() -> None:
    all_there = Barrier(SEGMENTS)
    assert sorted(each_segment(lambda _: all_there.wait(LIMIT_SECONDS))) == list(range(SEGMENTS))


def test_what_is_found_comes_in_order_though_the_first_segment_is_the_last_to_end() -> None:
    last_has_ended = Event()

    def of_segment(segment: int) -> int:
        if segment == 0:
            assert last_has_ended.wait(LIMIT_SECONDS)
        if segment == SEGMENTS - 1:
            last_has_ended.set()
        return segment

    assert each_segment(of_segment) == list(range(SEGMENTS))
