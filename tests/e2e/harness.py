"""How the end-to-end tests run programs and reach the deployed stack."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from payment_infra.cloud.environment.address import reachable
from payment_infra.cloud.environment.smoke import Api
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import StackConfig
from payment_infra.local.emulator import Emulator
from payment_infra.local.isolation import ACCESS_KEY
from payment_infra.local.refused import REFUSED
from payment_infra.names import API_OUTPUT, GATEWAY_EVENTS_PATH
from payment_infra.sources import ENVIRONMENT_PREFIX

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
TEMPLATE = REPOSITORY / "templates" / "payment-infra.yaml"
PAYMENT = {"amount": 100.50, "currency": "USD", "customer_id": "cust-12345"}
COMMAND_SECONDS = 120
# Of what a condition is waited for at most.
WAIT_SECONDS = 60.0


def run(
    program: str, *arguments: str | Path, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program of the virtual environment with a clean environment."""
    return subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=cwd,
        env=clean_environment(cwd) | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


@dataclass(frozen=True)
class Program:
    """Runs the program on an emulator, with the same options each time."""

    url: str
    folder: Path
    options: tuple[str, ...] = ()

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        variables = aws_variables(self.url)
        return run("payment-infra", *arguments, *self.options, cwd=self.folder, **variables)

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed; return its document."""
        result = self(*arguments, "--output", "json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment without the settings of whoever runs the tests, but with their cache:
    the dependency layer is downloaded once."""
    return {
        "PATH": f"{PROGRAMS}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def aws_variables(url: str) -> dict[str, str]:
    """Return what points the AWS CLI and boto3 at the emulator, and asks it for nothing that it
    refuses."""
    return {
        **settings_taken(),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def settings_taken() -> dict[str, str]:
    """Return the variables that give the settings that the emulator refuses their default."""
    values = {name: getattr(StackConfig(), name) for name in REFUSED}
    return {
        ENVIRONMENT_PREFIX + name.upper(): str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for name, value in values.items()
    }


def checkout(tmp_path: Path) -> Path:
    """Return a copy of the sources that a test may change."""
    folder = tmp_path / "checkout"
    for name in ("payment_infra", "handlers"):
        shutil.copytree(
            REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def command(aws: Emulator, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command line from a copy of the sources."""
    result = run(
        "python",
        *("-m", "payment_infra", *arguments, "--endpoint-url", aws.url),
        cwd=folder,
        PYTHONPATH=str(folder),
        **aws_variables(aws.url),
    )
    return result.returncode, result.stdout, result.stderr


def unsigned(api: Api, verb: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send a request without a signature, whatever the API says; return status and body."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(api.url + path, content, headers, method=verb)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def until(condition: Callable[[], Any]) -> Any:
    """Wait until the condition holds, and return what it returned."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Deployed:
    """A deployed stack and how to reach it."""

    session: Session
    stack: Stack

    def api(self, credentials: Callable[[], Any] | None = None) -> Api:
        """Return the API, called with these credentials, or the session's."""
        endpoint_url, stack = self.session.endpoint_url, self.stack
        url = reachable(stack.outputs(), endpoint_url, stack.physical_ids)[API_OUTPUT]
        return Api(url, self.session.region, credentials or self.session.credentials)

    def logged(self, function: str, text: str) -> list[str]:
        """Return the lines of a function's log that hold the text."""
        name = self.stack.physical_ids()[f"{function}LogGroup"]
        pages = (
            self.session.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=name)
        )
        return [
            event["message"]
            for page in pages
            for event in page["events"]
            if text in event["message"]
        ]

    def invoke(self, function: str, event: dict[str, Any]) -> tuple[str | None, Any]:
        """Invoke a function directly; return its error kind, if any, and its answer."""
        answer = self.session.client("lambda").invoke(
            FunctionName=self.stack.physical_ids()[f"{function}Function"],
            Payload=json.dumps(event),
        )
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())


def validate(deployed: Deployed) -> str:
    """Validate a payment; return its id."""
    answer = deployed.api().call("POST", "validate", PAYMENT)
    assert answer.status == 200, answer
    return str(answer.field("transaction_id"))


def process(deployed: Deployed, transaction_id: str) -> object:
    """Process a payment; return what the API says of it."""
    answer = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
    assert answer.status == 200, answer
    return answer.field("message")


def notify(deployed: Deployed, headers: dict[str, str], body: bytes) -> int:
    """Send a notification as the gateway does; return the status of the answer."""
    url = f"{deployed.api().url}{GATEWAY_EVENTS_PATH}"
    request = urllib.request.Request(url, body, headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
