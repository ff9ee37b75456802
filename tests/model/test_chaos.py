from __future__ import annotations

from tests.model.chaos import SETTINGS, run
from tests.model.crowd import Kind
from tests.model.faults import Fault


def test_faults_at_every_call_lose_no_payment_and_charge_none_twice() -> None:
    results = run(payments=720, seed=1, concurrency=16)
    for result in results:
        assert not result.problems
        assert (result.duplicates, result.lost) == (0, 0)
        assert set(result.faults) == set(Fault)
        assert sum(result.states.values()) == result.payments
    changed, skewed, mixed, two_steps = results
    assert {*Kind, "scheduled runs without SQS"} - {Kind.ORDINARY} <= changed.kinds.keys()
    assert skewed.kinds["invocations with a clock that is off"] > 100
    assert mixed.kinds["invocations of the last release"] > 100
    assert mixed.captures == mixed.states["processed"]
    assert two_steps.kinds["ever pending"] > 10
    assert two_steps.kinds["failures that the gateway stored"] > 10
    assert two_steps.kinds["notifications"] > 100
    assert two_steps.kinds["notifications once more"] > 10
    assert all(result.states["canceled"] for result in results)


def test_a_seed_reproduces_a_run_without_threads() -> None:
    one, same, other = (
        [f"{result} {result.more}" for result in run(120, seed, concurrency=1)]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert all(first != second for first, second in zip(one, other, strict=True))
    assert len(one) == len(SETTINGS)
