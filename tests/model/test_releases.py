"""The last release beside this one: what one leaves, the other takes up, forward and back.

What the last release cannot know is not asked of it: `MixedPayments` in test_payments.py names it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from tests.model.faults import Fault
from tests.model.invariants import check, unended, violations
from tests.model.invocations import Container
from tests.model.plans import (
    Plan,
    Planned,
    one_fault,
    process_with,
    recover_with,
    retry_with,
    validate_with,
)
from tests.model.release import CURRENT, Release, last_release
from tests.model.releases.build import pack
from tests.model.steps import fail_once, leave_behind, validated
from tests.model.world import World

RELEASES = (CURRENT, last_release())
both_ways = pytest.mark.parametrize(
    ("first", "second"), list(permutations(RELEASES)), ids=["back", "forward"]
)


def run_by(world: World, release: Release) -> None:
    """Let what follows run in containers of that release."""
    world.place = lambda: Container(release)


@both_ways
@pytest.mark.parametrize("run", [validate_with, process_with, retry_with, recover_with])
def test_what_one_release_leaves_after_any_fault_the_other_brings_to_its_end(
    run: Callable[[World, Planned, Plan], None],
    first: Release,
    second: Release,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for plan in one_fault():
        faults = Planned()
        world = World(faults, releases=RELEASES, place=lambda: Container(first))
        world.install(monkeypatch)
        run(world, faults, plan)
        check(violations(world))
        world.drain(second)
        check(violations(world) + unended(world))
        assert not world.queue.dead, plan


@both_ways
def test_a_release_reads_the_messages_of_the_other(
    first: Release, second: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(lambda _: None, releases=RELEASES, place=lambda: Container(first))
    world.install(monkeypatch)
    fail_once(world, "PutItem", Fault.THROTTLED)
    validated(world)
    fail_once(world, "UpdateItem", Fault.THROTTLED)
    world.process(validated(world))
    leave_behind(world, 1)
    world.advance(3600)
    world.scheduled_run()
    bodies = [message.body for message in world.queue.sent]
    written = [
        release.module("shared.retry_messages").RetryMessage.from_json(body)
        for release in (first, second)
        for body in bodies
    ]
    assert [message.operation for message in written] == ["validate", "process", "process"] * 2
    mine, others = written[:3], written[3:]
    for name in ("transaction_id", "reason", "request_id", "first_failed_at", "record"):
        assert [getattr(message, name) for message in mine] == [
            getattr(message, name) for message in others
        ]


def test_the_last_release_takes_up_what_this_one_has_set_aside_as_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does not find it by itself, but a client's request brings it back."""
    world = World(lambda _: None, releases=RELEASES)
    world.install(monkeypatch)
    (payment,) = leave_behind(world, 1)
    world.network.decide = lambda call: Fault.THROTTLED if call.site == "charge" else None
    for _ in range(4):
        world.advance(3600)
        world.scheduled_run()
    assert world.table.items[payment]["in_flight"] == {"S": "stuck"}
    world.network.decide = lambda _: None
    run_by(world, last_release())
    answer = world.process(payment)
    assert answer
    assert answer.status == 200
    world.drain(last_release())
    check(violations(world) + unended(world))


def test_a_release_is_packed_under_a_name_of_its_own() -> None:
    source = "from handlers.shared import logs\n# The handlers: one each.\nX = 'handlers.a:B'\n"
    packed = pack({"entry.py": source}, "9.8.7")
    assert b"from handlers_9_8_7.shared import logs\n# The handlers: one" in packed
    assert b"'handlers_9_8_7.a:B'" in packed
    assert b"handlers_9_8_7/entry.py" in packed
    assert pack({"entry.py": source}, "9.8.7") == packed
