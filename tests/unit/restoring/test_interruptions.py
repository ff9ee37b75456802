"""Whatever breaks a run off, at whatever change: the same command then comes to the same end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from payment_infra.cloud.events import Caution
from payment_infra.errors import AwsError, Interrupted, UsageError
from tests.breaking import Killed
from tests.intake import EVERY
from tests.items import IN_FLIGHT
from tests.restoring import MINUTE, OWN, TO, World, marks, paying

Run = Callable[[World], object]

HOUR = timedelta(hours=1)
BREAKS = (Killed, KeyboardInterrupt)


def restored() -> World:
    world = paying()
    world.restore()
    world.tables.now += HOUR
    world.clients.go_on()
    world.tables.now += HOUR
    return world


def losing() -> World:
    """Payments that are open at TO, charged since then, and lost."""
    world = paying()
    for name in ("lost-1", "lost-2"):
        world.pay(name, ("validated", -20 * MINUTE), ("processed", MINUTE))
        world.own.write(TO + 2 * MINUTE, name, None)
    return world


def restored_and_losing() -> World:
    """A payment that is charged in the copy only, and lost there."""
    world = restored()
    world.clients.process("open")
    world.clients.finish(all_of_them=True)
    world.tables.tables[world.active].write(world.tables.now, "open", None)
    return world


def restored_and_charging() -> World:
    """A payment that is charged in the copy only; nobody pays meanwhile."""
    world = World()
    world.restore()
    world.tables.now += HOUR
    world.clients.process("open")
    world.clients.finish(all_of_them=True)
    world.tables.now += HOUR
    return world


def half_restored() -> World:
    """Payments are stopped, and go on in the source."""
    world = paying()
    world.aws.errors["cloudformation:CreateChangeSet"] = Killed()
    with pytest.raises(Killed):
        world.restore()
    world.aws.errors.clear()
    assert not world.intake.takes_requests
    return world


def moved_only() -> World:
    """Payments are stopped, and the stack has moved to the copy."""
    world = paying()
    world.aws.on_call = stop_letting_in(world, world.aws.on_call)
    with pytest.raises(Killed):
        world.restore()
    world.aws.on_call = world._on_call
    assert world.active != OWN
    assert not world.intake.takes_requests
    return world


def stop_letting_in(world: World, on_call: Callable[[bool], None]) -> Callable[[bool], None]:
    def stop(changes: bool) -> None:
        if changes and world.active != OWN and world.stack.status == "UPDATE_COMPLETE":
            raise Killed
        on_call(changes)

    return stop


def state(world: World) -> dict[str, Any]:
    """Return what an uninterrupted run and a resumed one must have in common."""
    return {
        "active": world.active,
        "parameters": world.stack.parameters,
        "status": world.stack.status,
        "methods": world.intake.methods,
        "retries": world.intake.state,
        "tables": {
            name: {
                "indexes": one.indexes,
                "protected": one.protected,
                "recovery": one.recovery_since is not None,
                "marked": sorted(marks(one)),
                "tags": one.tags,
            }
            for name, one in world.tables.standing().items()
        },
    }


def assert_no_payment_is_lost_or_charged_twice(world: World) -> None:
    world.clients.finish(all_of_them=True)
    rows = world.statuses(world.active)
    assert set(world.clients.known) == set(rows)
    for name in world.clients.known:
        world.clients.process(name)
    world.clients.finish(all_of_them=True)
    assert set(world.clients.charges.values()) == {1}
    assert set(world.statuses(world.active).values()) == {"processed"}


def assert_none_is_charged_twice(world: World) -> None:
    """Though what has changed since was left behind."""
    for name in world.statuses(world.active):
        world.clients.process(name)
    world.clients.finish(all_of_them=True)
    assert set(world.statuses(world.active).values()) == {"processed"}
    assert max(world.clients.charges.values()) == 1


def changes_of(begin: Callable[[], World], run: Run) -> tuple[int, dict[str, Any]]:
    """Return how many changes an uninterrupted run makes, and what it comes to."""
    world = begin()
    before = len(world.aws.changes())
    run(world)
    return len(world.aws.changes()) - before, state(world)


def broken_off_everywhere(
    begin: Callable[[], World],
    run: Run,
    ended: type[Exception],
    how: type[BaseException],
    check: Callable[[World], None] = assert_no_payment_is_lost_or_charged_twice,
) -> dict[str, Any]:
    """Break a run off at each of its changes, and repeat the command.

    Args:
        begin: makes the world.
        run: the command.
        ended: what it says that has nothing left to do, as its last change was made.
        how: what breaks it off.
        check: what must hold of payments each time.

    Returns:
        What all of them come to.
    """
    number, expected = changes_of(begin, run)
    assert (expected["methods"], expected["retries"]) == ({"*/*": EVERY}, "Enabled")
    at, broken = 0, True
    while broken:
        at, broken = at + 1, False
        for after in (False, True):
            world = begin()
            where = f"at change {at}, {after=}"
            world.operator.told.clear()
            world.aws.break_off(at, how, after=after)
            here = breaks_off(world, run)
            broken |= here
            # The first changes take the lock: nothing is known before.
            assert at <= 2 or not here or how is Killed or told_if_stopped(world), where
            world.aws.break_off(0, how, after=False)
            world.tables.now += HOUR
            with suppress(ended):
                run(world)
            assert state(world) == expected, where
            check(world)
    assert at > number
    return expected


def breaks_off(world: World, run: Run) -> bool:
    try:
        run(world)
    except (Killed, KeyboardInterrupt, Interrupted):
        return True
    return False


def told_if_stopped(world: World) -> bool:
    """Whether a person knows that payments are stopped, if they are."""
    told = any("payments are stopped" in one.message for one in world.operator.of(Caution))
    return told or (world.intake.takes_requests and world.intake.takes_retries)


@pytest.mark.parametrize("how", BREAKS)
def test_a_restore(how: type[BaseException]) -> None:
    broken_off_everywhere(paying, lambda world: world.restore(), UsageError, how)


@pytest.mark.parametrize("how", BREAKS)
def test_a_restore_that_is_undone(how: type[BaseException]) -> None:
    broken_off_everywhere(restored, lambda world: world.undo(), AwsError, how)


def marked(of: dict[str, Any]) -> list[list[str]]:
    """Return which rows are marked in each table, of a state."""
    return [table["marked"] for table in of["tables"].values()]


@pytest.mark.parametrize("how", BREAKS)
def test_a_restore_of_payments_that_were_lost(how: type[BaseException]) -> None:
    common = broken_off_everywhere(losing, lambda world: world.restore(), UsageError, how)
    assert marked(common) == [[], ["lost-1", "lost-2"]]


@pytest.mark.parametrize("how", BREAKS)
def test_an_undo_of_payments_that_were_lost(how: type[BaseException]) -> None:
    common = broken_off_everywhere(restored_and_losing, lambda world: world.undo(), AwsError, how)
    assert marked(common) == [["open"], []]


@pytest.mark.parametrize("how", BREAKS)
def test_a_restore_that_leaves_behind_what_is_newer(how: type[BaseException]) -> None:
    def run(world: World) -> None:
        world.restore(discard_newer=True, confirm_discard=True)

    common = broken_off_everywhere(World, run, UsageError, how, assert_none_is_charged_twice)
    assert marked(common) == [[], ["since-0", "since-1", "since-2"]]


@pytest.mark.parametrize("how", BREAKS)
def test_an_undo_that_leaves_behind_what_is_newer(how: type[BaseException]) -> None:
    def run(world: World) -> None:
        world.undo(discard_newer=True, confirm_discard=True)

    check = assert_none_is_charged_twice
    common = broken_off_everywhere(restored_and_charging, run, AwsError, how, check)
    assert marked(common) == [["open"], []]


@pytest.mark.parametrize("begin", [half_restored, moved_only])
@pytest.mark.parametrize("how", BREAKS)
def test_a_restore_that_is_ended_half_done(
    how: type[BaseException], begin: Callable[[], World]
) -> None:
    broken_off_everywhere(begin, lambda world: world.undo(), AwsError, how)


@pytest.mark.parametrize("how", BREAKS)
def test_a_drill(how: type[BaseException]) -> None:
    broken_off_everywhere(paying, lambda world: world.restore(drill=True), UsageError, how)


def test_what_an_uninterrupted_restore_comes_to() -> None:
    world = restored()
    [copy] = world.copies
    assert state(world) == {
        "active": copy.name,
        "parameters": {
            "TransactionsTableOverride": copy.name,
            "EnvironmentSuffix": "dev",
            "LogLevel": "WARNING",
        },
        "status": "UPDATE_COMPLETE",
        "methods": {"*/*": EVERY},
        "retries": "Enabled",
        "tables": {
            OWN: {
                "indexes": [IN_FLIGHT],
                "protected": True,
                "recovery": True,
                "marked": [],
                "tags": world.own.tags,
            },
            copy.name: {
                "indexes": [IN_FLIGHT],
                "protected": True,
                "recovery": True,
                "marked": [],
                "tags": {"Environment": "dev"},
            },
        },
    }
    assert_no_payment_is_lost_or_charged_twice(world)
