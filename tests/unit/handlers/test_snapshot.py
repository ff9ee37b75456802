"""What a snapshot of a started function holds (Lambda SnapStart): nothing that goes stale, and
nothing that two environments restored from it would share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handlers.shared.aws import clients

ROOT = Path(clients.__file__).parents[3]
ENTRIES = ("validation", "processing", "retry", "health_monitor")
# Imports a handler, and prints what of it would be in a snapshot: every cache with something in it,
# how many connections were opened, and the last health report.
LOOK = """
import importlib, json, socket, sys
opened = []
connect = socket.socket.connect
socket.socket.connect = lambda *arguments: opened.append(arguments) or connect(*arguments)
entry = importlib.import_module(f"handlers.{sys.argv[1]}")
filled = [
    f"{name}.{key}"
    for name, module in sys.modules.items()
    if name.startswith("handlers.")
    for key, value in vars(module).items()
    if hasattr(value, "cache_info") and value.cache_info().currsize
]
print(json.dumps([filled, len(opened), getattr(entry, "_latest", None)]))
"""
# Imports a handler, and makes ids in two processes that go on from there.
FORK = """
import importlib, os, sys
importlib.import_module(f"handlers.{sys.argv[1]}")
from handlers.shared.idempotency import transaction_id_for
for _ in range(2):
    if os.fork() == 0:
        print(transaction_id_for({}), transaction_id_for({}), flush=True)
        os._exit(0)
    os.wait()
"""


def run(script: str, entry: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script, entry],
        cwd=ROOT,
        env={"PATH": os.defpath, "POWERTOOLS_SERVICE_NAME": "payment-dev"},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_snapshot_holds_no_connection_no_cached_value_and_no_report(entry: str) -> None:
    assert json.loads(run(LOOK, entry)) == [[], 0, None]


@pytest.mark.parametrize("entry", ENTRIES)
def test_two_environments_from_one_snapshot_make_different_ids(entry: str) -> None:
    ids = run(FORK, entry).split()
    assert len(set(ids)) == len(ids) == 4
