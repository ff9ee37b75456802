"""Several actions at once, in an order that a seed decides: at each call to AWS another may go."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.aws import FakeAws

if TYPE_CHECKING:
    from tests.stacks import Answer

LIMIT_SECONDS = 30


@dataclass
class SharedAws(FakeAws):
    """An account in which every call of an action waits for its turn."""

    turns: Turns | None = None

    def answer(self, service: str, operation: str, params: Answer) -> Answer:
        """Answer one call, when it is its caller's turn."""
        if self.turns:
            self.turns.wait()
        return super().answer(service, operation, params)


@dataclass
class Turns:
    """Lets one of the actions go on at a time, each until its next call; none has more threads."""

    seed: int
    _waiting: dict[int, threading.Semaphore] = field(default_factory=dict)
    _at_rest: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def wait(self) -> None:
        """Wait for the turn of the action that calls this."""
        go = threading.Semaphore(0)
        self._waiting[threading.get_ident()] = go
        self._at_rest.release()
        assert go.acquire(timeout=LIMIT_SECONDS)

    def run(self, *actions: Callable[[], object]) -> list[BaseException | None]:
        """Run the actions to their ends; return what each has raised."""
        chance, raised = random.Random(self.seed), list[BaseException | None]()

        def run(number: int) -> None:
            try:
                actions[number]()
            except BaseException as error:  # noqa: BLE001
                raised[number] = error
            self._at_rest.release()

        raised.extend(None for _ in actions)
        threads = [
            threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(actions))
        ]
        for thread in threads:
            thread.start()
            assert self._at_rest.acquire(timeout=LIMIT_SECONDS)
        while self._waiting:
            chosen = chance.choice(sorted(self._waiting, key=[t.ident for t in threads].index))
            self._waiting.pop(chosen).release()
            assert self._at_rest.acquire(timeout=LIMIT_SECONDS)
        for thread in threads:
            thread.join(LIMIT_SECONDS)
        return raised
