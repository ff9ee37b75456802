from __future__ import annotations

from tests.model.chaos import run
from tests.model.faults import Fault


def test_faults_at_every_call_lose_no_payment_and_charge_none_twice() -> None:
    result = run(payments=300, seed=1, concurrency=16)
    assert not result.problems
    assert (result.duplicates, result.lost) == (0, 0)
    assert set(result.faults) == set(Fault)
    assert result.captures == result.states["processed"]
    assert sum(result.states.values()) == result.payments


def test_a_seed_reproduces_a_run_without_threads() -> None:
    one, same, other = (str(run(60, seed, concurrency=1)) for seed in (1, 1, 2))
    assert one == same != other
