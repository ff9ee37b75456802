"""Warm calls: the CPU time of a request, beside the yardstick's, and the AWS calls it makes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

from tests.bench import worker
from tests.bench.figures import Figure
from tests.bench.processes import ENVIRONMENT, STRIPE
from tests.localstripe.standin import stripe

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

    It is compared with the yardstick's own, or with another request of ours. at_stripe are the
    calls to Stripe, if that is the gateway.
    """

    name: str
    module: str
    operations: tuple[str, ...]
    beside: str = ""
    limit: float = LIMIT
    at_stripe: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"a warm {self.name} / {f'a warm {self.beside}' if self.beside else YARDSTICK}"


REQUESTS = (
    Request("validate", "validation", ("PutItem",)),
    Request("process", "processing", ("UpdateItem", "UpdateItem")),
    Request("health", "health_monitor", ("GetLogEvents",)),
    Request("look-up", "lookup", ("GetItem",), beside="validate", limit=1.0),
)
# Beside the simulated gateway, which is asked over no network.
AT_STRIPE = Request(
    "process at Stripe",
    "processing",
    ("UpdateItem", "UpdateItem", "UpdateItem"),
    beside="process",
    limit=4.0,
    at_stripe=("prepare", "confirm"),
)
ROUNDS_AT_STRIPE = 15
AT_STRIPE_VARIABLES = {
    "GATEWAY": STRIPE,
    "GATEWAY_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:bench-AbCdEf",
}


@dataclass(frozen=True)
class Comparison:
    """What a warm request takes, and the AWS operations of one, ours and the yardstick's."""

    request: Request
    figure: Figure
    operations: tuple[str, ...]
    yardstick_operations: tuple[str, ...]
    at_stripe: tuple[str, ...] = ()

    @property
    def calls_as_expected(self) -> bool:
        wanted = (self.request.operations, self.request.at_stripe)
        return (self.operations, self.at_stripe) == wanted

    @property
    def independent_of_table_size(self) -> bool:
        return ONE_ITEM.union(REPORTS).issuperset(self.operations)


def compare_all() -> Iterator[Comparison]:
    """Run each side in one process, in turn with the other, so that a slow moment slows both."""
    modules = {request.name: request.module for request in REQUESTS}
    with _side(worker.OURS) as ours, _side("tests.bench.reference") as yardstick:
        for request in REQUESTS:
            side, module = (ours, modules[request.beside]) if request.beside else (yardstick, "")
            yield _compare(request, ours, side, module or request.module, ROUNDS)
        yield _compare_at_stripe(ours)


def _compare(
    request: Request,
    ours: ProcessPoolExecutor,
    side: ProcessPoolExecutor,
    module: str,
    rounds: int,
) -> Comparison:
    batches = [(_run(ours, request.module), _run(side, module)) for _ in range(rounds)]
    figure = Figure(
        name=request.title,
        ours=[batch.seconds / CALLS for batch, _ in batches],
        yardstick=[batch.seconds / CALLS for _, batch in batches],
        limit=request.limit,
    )
    return Comparison(
        request,
        figure,
        _operations([batch.operations for batch, _ in batches]),
        _operations([batch.operations for _, batch in batches]),
    )


def _compare_at_stripe(simulated: ProcessPoolExecutor) -> Comparison:
    """Charge at what stands for Stripe, in another process, with real HTTP on this machine."""
    with stripe() as account, _side(worker.OURS, account.secret()) as ours:
        _run(ours, AT_STRIPE.module)  # it has started
        account.calls.clear()
        found = _compare(AT_STRIPE, ours, simulated, AT_STRIPE.module, ROUNDS_AT_STRIPE)
        kinds = tuple(call.kind for call in account.calls)
        return replace(found, at_stripe=_one_of(kinds, ROUNDS_AT_STRIPE * CALLS))


def _side(package: str, secret: str = "") -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=worker.start,
        initargs=(package, ENVIRONMENT | (AT_STRIPE_VARIABLES if secret else {}), secret),
    )


def _run(side: ProcessPoolExecutor, module: str) -> worker.Batch:
    return side.submit(worker.run, module, CALLS).result()


def _operations(batches: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the operations of one request."""
    return _one_of(tuple(chain(*batches)), len(batches) * CALLS)


def _one_of(every: tuple[str, ...], requests: int) -> tuple[str, ...]:
    """Return the calls of one request; raise if requests that are alike differ in them."""
    one = every[: len(every) // requests]
    if one * requests != every:
        raise SystemExit(f"equal requests made different calls: {sorted(set(every))}")
    return one
