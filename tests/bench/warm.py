"""Warm calls: the CPU time of a request, beside the yardstick's, and the AWS calls it makes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.bench import worker
from tests.bench.figures import Figure
from tests.bench.processes import ENVIRONMENT

ROUNDS = 41
CALLS = 25
LIMIT = 1.25
YARDSTICK = "the yardstick's"
# These take one item by its whole key, however many there are.
ONE_ITEM = frozenset({"GetItem", "PutItem", "UpdateItem"})
# The newest lines of one stream.
REPORTS = frozenset({"GetLogEvents"})


@dataclass(frozen=True)
class Request:
    """A request that a handler answers, and the AWS operations that it may take.

    It is compared with the yardstick's own, or with another request of ours.
    """

    name: str
    module: str
    operations: tuple[str, ...]
    beside: str = ""
    limit: float = LIMIT

    @property
    def title(self) -> str:
        return f"a warm {self.name} / {f'a warm {self.beside}' if self.beside else YARDSTICK}"


REQUESTS = (
    Request("validate", "validation", ("PutItem",)),
    Request("process", "processing", ("UpdateItem", "UpdateItem")),
    Request("health", "health_monitor", ("GetLogEvents",)),
    Request("look-up", "lookup", ("GetItem",), beside="validate", limit=1.0),
)


@dataclass(frozen=True)
class Comparison:
    """What a warm request takes, and the AWS operations of one, ours and the yardstick's."""

    request: Request
    figure: Figure
    operations: tuple[str, ...]
    yardstick_operations: tuple[str, ...]

    @property
    def calls_as_expected(self) -> bool:
        return self.operations == self.request.operations

    @property
    def independent_of_table_size(self) -> bool:
        return ONE_ITEM.union(REPORTS).issuperset(self.operations)


def compare_all() -> Iterator[Comparison]:
    """Run each side in one process, in turn with the other, so that a slow moment slows both."""
    modules = {request.name: request.module for request in REQUESTS}
    with _side(worker.OURS) as ours, _side("tests.bench.reference") as yardstick:
        for request in REQUESTS:
            side, module = (ours, modules[request.beside]) if request.beside else (yardstick, "")
            rounds = [
                (_run(ours, request.module), _run(side, module or request.module))
                for _ in range(ROUNDS)
            ]
            figure = Figure(
                name=request.title,
                ours=[batch.seconds / CALLS for batch, _ in rounds],
                yardstick=[batch.seconds / CALLS for _, batch in rounds],
                limit=request.limit,
            )
            yield Comparison(
                request,
                figure,
                _operations([batch for batch, _ in rounds]),
                _operations([batch for _, batch in rounds]),
            )


def _side(package: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=worker.start,
        initargs=(package, ENVIRONMENT),
    )


def _run(side: ProcessPoolExecutor, module: str) -> worker.Batch:
    return side.submit(worker.run, module, CALLS).result()


def _operations(batches: list[worker.Batch]) -> tuple[str, ...]:
    """Return the operations of one request; raise if requests that are alike differ in them."""
    every = tuple(operation for batch in batches for operation in batch.operations)
    requests = len(batches) * CALLS
    one = every[: len(every) // requests]
    if one * requests != every:
        raise SystemExit(f"equal requests made different AWS calls: {sorted(set(every))}")
    return one
