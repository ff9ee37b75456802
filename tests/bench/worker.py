"""One side of the warm comparison: a process that holds the handlers and calls them."""

from __future__ import annotations

import copy
import gc
import importlib
import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore

from tests.bench.answers import ROW_AT_STRIPE, CannedAws

if TYPE_CHECKING:
    from botocore.session import Session

EVENTS = Path(__file__).parents[1] / "events"
EVENT_NAMES = {
    "validation": "validate",
    "processing": "process",
    "health_monitor": "health",
    "lookup": "lookup",
}
# The reference has none.
OURS = "handlers"
OURS_ALONE = frozenset({"lookup"})
WARM_UP_CALLS = 200

_aws = CannedAws()
_handlers: dict[str, Any] = {}


class LambdaContext:
    aws_request_id = "2b4c1f0e-5d0c-4f5e-9b7a-000000000000"


@dataclass(frozen=True)
class Batch:
    """What some calls of a handler took, in CPU seconds, and the AWS operations they called."""

    seconds: float
    operations: tuple[str, ...]


def start(package: str, environment: dict[str, str], secret: str = "") -> None:
    """Import the package's handlers as Lambda does, warm them up, and discard what they log.

    With a secret of Stripe's, processing alone is there, and charges there.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ.clear()
    os.environ.update(environment)
    # Not a session of our own: each side makes its when it does, and Powertools adds to ours.
    botocore.register_initializer(_answer_calls)
    modules = [name for name in EVENT_NAMES if package == OURS or name not in OURS_ALONE]
    if secret:
        modules = ["processing"]
        _aws.secret, _aws.row = secret, ROW_AT_STRIPE
    for module in modules:
        _handlers[module] = importlib.import_module(f"{package}.{module}")
    if "health_monitor" in modules and package == OURS:
        _handlers["health_monitor"].CACHE_SECONDS = 0
    for module in modules:
        run(module, WARM_UP_CALLS)
    # What importing left stays; a collection then costs what the calls' own garbage does.
    gc.collect()
    gc.freeze()


def _answer_calls(session: Session) -> None:
    hook: Any = _aws  # the stubs know only handlers that answer nothing
    session.register("before-send", hook)


def run(module: str, calls: int) -> Batch:
    """Call a handler; raise unless every answer is 200."""
    handler = _handlers[module].handler
    events = _events(module, calls)
    context = LambdaContext()
    _aws.operations.clear()
    _aws.seconds = 0
    gc.collect()
    start = time.process_time()
    answers = [handler(event, context) for event in events]
    seconds = time.process_time() - start - _aws.seconds
    refused = [answer for answer in answers if answer["statusCode"] != 200]
    if refused:
        raise RuntimeError(f"{module} answered {refused[0]}")
    return Batch(seconds, tuple(_aws.operations))


def _events(module: str, calls: int) -> list[dict[str, Any]]:
    """Return events that are equal but for the transaction_id in the body, if there is one."""
    event = json.loads((EVENTS / f"{EVENT_NAMES[module]}.json").read_text())
    events = [copy.deepcopy(event) for _ in range(calls)]
    if module == "processing":
        for one in events:
            one["body"] = json.dumps({"transaction_id": str(uuid.uuid4())})
    return events
