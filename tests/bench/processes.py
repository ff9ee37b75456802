"""Whole processes: a command, and the yardstick it is run in turn with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure

ROUNDS = 15
MEBIBYTE_IN_KIBIBYTES = 1024
RENDER_MEMORY_MEBIBYTES = 40.0
REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
PROGRAM = str(Path(sys.executable).parent / "payment-infra")

IMPORT_CLICK = "import click"
# What a template needs, and nothing of ours.
IMPORT_LIBRARIES = """
import click
import awacs.apigateway, awacs.aws, awacs.awslambda, awacs.cloudwatch, awacs.dynamodb
import awacs.execute_api, awacs.helpers.trust, awacs.logs, awacs.sns, awacs.sqs, awacs.xray
import troposphere.apigateway, troposphere.awslambda, troposphere.cloudwatch
import troposphere.dynamodb, troposphere.events, troposphere.iam, troposphere.logs
import troposphere.s3, troposphere.sns, troposphere.sqs
"""
# The client is made at the first call; with the import, that is what a cold start takes.
START_HANDLER = "import handlers.{}; from handlers.shared.aws import clients; clients.store()"
START_YARDSTICK = "import {}"
# What a function has of its gateway once it has charged: the gateway, and who gets it its secret.
START_AT_SIMULATED = f"{START_HANDLER.format('processing')}; clients.gateway()"
STRIPE = "handlers.shared.stripe:StripeGateway"
SECRET = json.dumps({"api_key": "sk_test_bench", "account": "acct_bench", "signing_secrets": []})
START_AT_STRIPE = f"""
import os
os.environ["GATEWAY"] = "{STRIPE}"
{START_HANDLER.format("processing")}
clients.secrets()
clients.gateway_class()({SECRET!r})
"""
# A function's, made of what the template gives it and what Lambda does.
ENVIRONMENT = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_LAMBDA_FUNCTION_NAME": "payment-bench",
    "_X_AMZN_TRACE_ID": "Root=1-6740f2a4-0123456789abcdef01234567;Sampled=0",
    "POWERTOOLS_SERVICE_NAME": "payment-bench",
    "TRANSACTIONS_TABLE": "transactions-bench",
    "FAILED_QUEUE_URL": "http://127.0.0.1/queue",
    "FAILED_QUEUE_NAME": "failed-transactions-bench",
    "DEAD_LETTER_QUEUE_NAME": "failed-transactions-dlq-bench",
    "ALARM_TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:payment-alarms-bench",
    "DEGRADED_ALARM_NAME": "health-degraded-bench",
    "LOG_GROUP": "/aws/lambda/health-monitor-bench",
    "RETRY_SOURCE_ID": "14e0db71-5d35-4eb5-b481-8945cf9d10c2",
    "API_ID": "a1b2c3d4e5",
    "API_NAME": "payment-api-bench",
    "API_STAGE": "prod",
    "FUNCTION_NAMES": (
        "payment-validation-bench,payment-processing-bench,payment-retry-bench,health-monitor-bench"
    ),
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
        RENDER_MEMORY_MEBIBYTES,
    ),
    Comparison(
        "render --format yaml / importing its libraries",
        [PROGRAM, "render", "--format", "yaml"],
        [PYTHON, "-c", IMPORT_LIBRARIES],
        3.0,
        RENDER_MEMORY_MEBIBYTES,
    ),
    Comparison(
        "--help / importing click",
        [PROGRAM, "--help"],
        [PYTHON, "-c", IMPORT_CLICK],
        1.6,
    ),
    Comparison(
        "validation's start / the yardstick's",
        [PYTHON, "-c", START_HANDLER.format("validation")],
        [PYTHON, "-c", START_YARDSTICK.format("validation")],
        1.0,
    ),
    Comparison(
        "processing's start / the yardstick's",
        [PYTHON, "-c", START_HANDLER.format("processing")],
        [PYTHON, "-c", START_YARDSTICK.format("processing")],
        1.05,
    ),
    Comparison(
        "processing's start at Stripe / at the simulated",
        [PYTHON, "-c", START_AT_STRIPE],
        [PYTHON, "-c", START_AT_SIMULATED],
        1.1,
    ),
)


def compare(one: Comparison) -> Figure:
    """Run both commands in turn, once before it counts."""
    measure(one.command)
    measure(one.yardstick)
    rounds = [(measure(one.command), measure(one.yardstick)) for _ in range(ROUNDS)]
    return Figure(
        name=one.name,
        ours=[seconds for (seconds, _), _ in rounds],
        yardstick=[seconds for _, (seconds, _) in rounds],
        limit=one.limit,
        memory=max(peak for (_, peak), _ in rounds),
        memory_limit=one.memory_limit_mebibytes,
    )


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command once; return its CPU seconds and its peak memory in MiB."""
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT | {"PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent / 'reference'}"},
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    with process.stderr as stderr:
        told = stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}\n{told}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / MEBIBYTE_IN_KIBIBYTES
