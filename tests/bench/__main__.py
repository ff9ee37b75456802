"""`make bench`: how long things take, each as a ratio to a yardstick in the same run.

A pair of commands is run in turn, so that a machine whose speed drifts slows both; what counts is
the ratio of their medians. The exit status is 1 if a ratio or a size is over its limit.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROUNDS = 15
MEBIBYTE_IN_KIBIBYTES = 1024
REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
PROGRAM = str(Path(sys.executable).parent / "payment-infra")

IMPORT_CLICK = "import click"
# What a template needs, and nothing of ours.
IMPORT_LIBRARIES = """
import click
import awacs.aws, awacs.cloudwatch, awacs.dynamodb, awacs.execute_api, awacs.helpers.trust
import awacs.logs, awacs.sns, awacs.sqs, awacs.xray
import troposphere.apigateway, troposphere.awslambda, troposphere.cloudwatch
import troposphere.dynamodb, troposphere.events, troposphere.iam, troposphere.logs
import troposphere.s3, troposphere.sns, troposphere.sqs
"""
START_HANDLER = "import handlers.validation; from handlers.shared import clients; clients.store()"
START_REFERENCE = "import validation"
ENVIRONMENT = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "TRANSACTIONS_TABLE": "transactions",
    "FAILED_QUEUE_URL": "http://127.0.0.1/queue",
}


@dataclass(frozen=True)
class Comparison:
    """A command against its yardstick, and how many times its time it may take."""

    name: str
    command: list[str]
    yardstick: list[str]
    limit: float
    memory_limit_mebibytes: float | None = None


COMPARISONS = (
    Comparison(
        "render --format json / importing its libraries",
        [PROGRAM, "render", "--format", "json"],
        [PYTHON, "-c", IMPORT_LIBRARIES],
        2.0,
        40.0,
    ),
    Comparison(
        "render --format yaml / importing its libraries",
        [PROGRAM, "render", "--format", "yaml"],
        [PYTHON, "-c", IMPORT_LIBRARIES],
        3.0,
        40.0,
    ),
    Comparison(
        "--help / importing click",
        [PROGRAM, "--help"],
        [PYTHON, "-c", IMPORT_CLICK],
        1.6,
    ),
    Comparison(
        "validation's start / the reference's",
        [PYTHON, "-c", START_HANDLER],
        [PYTHON, "-c", START_REFERENCE],
        1.0,
    ),
)


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command once; return its seconds and its peak memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT | {"PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent / 'reference'}"},
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}")
    return seconds, usage.ru_maxrss / MEBIBYTE_IN_KIBIBYTES


def compare(one: Comparison) -> bool:
    """Print a row for the comparison; return whether it is within its limits."""
    measure(one.command)
    measure(one.yardstick)
    rounds = [(measure(one.command), measure(one.yardstick)) for _ in range(ROUNDS)]
    ours = median(seconds for (seconds, _), _ in rounds)
    theirs = median(seconds for _, (seconds, _) in rounds)
    spread = sorted(a / b for (a, _), (b, _) in rounds)
    memory = max(peak for (_, peak), _ in rounds)
    within = ours / theirs <= one.limit and memory <= (one.memory_limit_mebibytes or memory)
    print(
        f"{one.name:<48} {ours * 1000:6.0f} {theirs * 1000:6.0f} {ours / theirs:6.2f}"
        f" {spread[0]:5.2f}-{spread[-1]:<5.2f} {one.limit:5.2f} {memory:6.1f}"
        f"  {'ok' if within else 'OVER'}"
    )
    return within


def main() -> None:
    """Run every comparison."""
    print(f"medians of {ROUNDS} rounds; peak memory at most 40 MiB where the template is rendered")
    print(f"{'':<48} {'ms':>6} {'ms':>6} {'ratio':>6} {'spread':<11} {'limit':>5} {'MiB':>6}")
    results = [compare(one) for one in COMPARISONS]
    raise SystemExit(0 if all(results) else 1)


main()
