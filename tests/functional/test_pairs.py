"""Two commands at once on one environment, or one that is killed and another after it.

Clients pay meanwhile. The first one is held, or killed, right after a change; the writes of the
lock and of the journal count as changes. A command alone is killed at every one; of each pair a
seeded sample of SAMPLE changes is tried, since all of them take minutes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.stacks.stack import Stack
from payment_infra.names import OPERATIONS_TABLE
from tests.breaking import at_every_number, held, in_order, kill
from tests.functional.conftest import cache_with_layer, offline
from tests.working import COMMANDS, RUNS, Working

if TYPE_CHECKING:
    from tests.working import Outcome

__all__ = ["cache_with_layer", "offline"]

Begin = Callable[..., Working]

HOUR = timedelta(hours=1)
SAMPLE = 2
OF_DEAD_LETTERS = {"redrive --all", "redrive --id", "purge"}
OF_THE_STACK = {"deploy", "rollback"}


def touch_the_same(first: str, second: str) -> bool:
    """Whether two commands do; restore, undo and resume are paired in tests/unit/restoring."""
    pair = {first, second}
    apart = pair & OF_DEAD_LETTERS and pair & OF_THE_STACK
    return not apart and not pair <= set(RUNS)


PAIRS = [pair for pair in itertools.product([*COMMANDS, *RUNS], repeat=2) if touch_the_same(*pair)]
EACH_PAIR = pytest.mark.parametrize(
    ("first", "second"), PAIRS, ids=[" x ".join(pair) for pair in PAIRS]
)


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Makes an environment as these commands need it, and its folder the working directory."""
    in_order(monkeypatch)
    worlds: list[Working] = []

    def sleep(seconds: float) -> None:
        worlds[-1].sleep(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr(Stack.__init__, "__defaults__", (sleep, ""))

    def begin(*names: str) -> Working:
        folder = tmp_path / str(len(worlds))
        folder.mkdir()
        monkeypatch.chdir(folder)
        worlds.append(Working(folder=folder))
        world = worlds[-1]
        if names[0] == "undo" or ("undo" in names and "restore" not in names):
            world.restore()
            world.pass_time(HOUR)
        if "rollback" in names:
            world.stack.status, world.stack.before = "UPDATE_FAILED", None
        return world

    return begin


def sample(begin: Begin, first: str, second: str) -> list[int]:
    """Return after how many of its changes the first one is held, or killed."""
    world = begin(first, second)
    before = world.aws.made
    world.run(first)
    numbers = range(1, world.aws.made - before + 1)
    chance = random.Random(f"{first} x {second}")
    return chance.sample(numbers, min(SAMPLE, len(numbers)))


def changed(world: Working) -> tuple[Any, ...]:
    """Return all that was changed at AWS, the lock and the journal included."""
    return world.aws.changes(), list(world.aws.operations.tables[OPERATIONS_TABLE].history)


def files(world: Working) -> list[str]:
    return sorted(one.name for one in world.folder.iterdir())


def overtake(world: Working, second: str) -> tuple[Outcome, bool]:
    """Run the second one, first as it is entered; return what it came to, and if it took over."""
    lock, other = world.lock(), world.beside()
    if lock is None:
        return other.run(second), True
    before = changed(world), files(world)
    refused = other.run(second, wait=False)
    assert (changed(world), files(world)) == before
    if refused.error.startswith("payment-infra-dev is held by"):
        assert f"held by {lock.holder}: " in refused.error
        assert refused.error.endswith(f"--take-over {lock.generation}`")
        assert "\n" not in refused.error
    else:
        assert_nothing_to_do(refused)
    ended = other.run(second, lock.generation)
    assert "is held by" not in ended.error
    now = world.lock()
    if now is None or now.generation != lock.generation:
        return ended, True
    assert_nothing_to_do(ended)
    assert changed(world) == before[0]
    return ended, False


def assert_nothing_to_do(outcome: Outcome) -> None:
    """Make sure that a command had no use for the lock: the stack is gone, or in no such state."""
    told = ("there is no stack", "there is nothing to roll back")
    assert any(one in outcome.told for one in told), outcome


def assert_all_is_well(world: Working, told: str | None = None) -> None:
    """Make sure that payments come in, or do with the command that was told, and none is lost."""
    if not world.gone:
        if told is not None and not world.takes_payments:
            assert "payment-infra resume --suffix dev`" in told
        left = world.lock()
        world.run("resume", left.generation if left else None)
        assert world.takes_payments
    world.pass_time(HOUR)
    world.check()


@EACH_PAIR
def test_whoever_comes_second_is_refused_or_takes_over_and_the_first_changes_nothing_more(
    first: str, second: str, begin: Begin
) -> None:
    for number in sample(begin, first, second):
        world = begin(first, second)
        meanwhile: list[Any] = []

        def then(world: Working = world, meanwhile: list[Any] = meanwhile) -> None:
            meanwhile.extend([*overtake(world, second), changed(world)])

        with held(world.aws, number, then):
            mine = world.run(first)
        if not meanwhile:  # it was its last change
            continue
        ended, taken, before = meanwhile
        if taken:
            assert changed(world) == before, number
        assert_all_is_well(world, mine.told + ended.told)


@EACH_PAIR
def test_whoever_comes_after_one_that_was_killed_takes_over(
    first: str, second: str, begin: Begin
) -> None:
    for number in sample(begin, first, second):
        world = begin(first, second)
        assert kill(world.aws, number, partial(world.run, first), after=True)
        world.pass_time(timedelta(minutes=10))
        overtake(world, second)
        assert_all_is_well(world)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_was_killed_at_any_change_is_made_again(name: str, begin: Begin) -> None:
    def at(number: int) -> bool:
        world = begin(name)
        if not kill(world.aws, number, partial(world.run, name), after=True):
            return False
        world.pass_time(timedelta(minutes=10))
        overtake(world, name)
        assert_all_is_well(world)
        return True

    assert at_every_number(at) > 2
