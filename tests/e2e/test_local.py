"""`payment-infra local`: the whole main job, as a newcomer runs it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from payment_infra.cloud.environment.locking import Lock, find
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.errors import PaymentInfraError
from payment_infra.local.emulator import PACKAGE, Emulator, emulator, installation
from payment_infra.local.stack import deploy, open_session
from payment_infra.sources import resolve
from tests.e2e.harness import PROGRAMS, aws_variables, clean_environment, run, until
from tests.localstripe.standin import stripe

WAIT_SECONDS = 30.0


# What breaks other programs, and would break this one if it were its user's to decide.
HOSTILE = {
    "AWS_PROFILE": "nobody",
    "AWS_RETRY_MODE": "bad",
    "AWS_DEFAULTS_MODE": "bad",
    "AWS_MAX_ATTEMPTS": "bad",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_CA_BUNDLE": "/nowhere/ca.pem",
    "REQUESTS_CA_BUNDLE": "/nowhere/ca.pem",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_REGION": "mars-1",
    "AWS_DEFAULT_REGION": "mars-1",
    **{
        name: "http://127.0.0.1:9"
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        for name in (proxy, proxy.lower())
    },
    "PAYMENT_INFRA_BUCKET": "acme-zips",
    "PAYMENT_INFRA_AUTHORIZATION": "iam",
    "PYTHONWARNINGS": "error",
}
HOSTILE_FILE = """
profile = "nobody"
region = "eu-central-1"
allowed_accounts = ["111122223333"]
permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
[environments.local]
bucket = "other-zips"
gateway_secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:acme-AbCdEf"
"""


def url_in(out: Path) -> str:
    """Return where the embedded AWS is, as `payment-infra local` has said."""
    return str(re.findall(r"Deploying to (\S+) ", out.read_text())[0])


def emulator_of(pid: int) -> int:
    """Return the id of the only child of a process."""
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def processes_of(marker: str) -> list[str]:
    """Return the command lines of the processes that have the text in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (path / "environ").read_text(errors="replace"):
                found.append((path / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@contextmanager
def served(tmp_path: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Run `payment-infra local` until it shows the logs."""
    out = tmp_path / "out"
    with out.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAMS / "payment-infra", "local", "--port", "0", *arguments],
            cwd=tmp_path,
            env=clean_environment(tmp_path) | {"TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_text(out, "logs follow", process)
        yield process, out
    finally:
        process.terminate()
        try:
            process.wait(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_text(path: Path, text: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while text not in path.read_text():
        assert process.poll() is None, path.read_text()
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.05)


def post(url: str, body: dict[str, object]) -> dict[str, str]:
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as response:
        answer: dict[str, str] = json.load(response)
        return answer


def post_status(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Return the status of the answer, whatever it is."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=WAIT_SECONDS
        ) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_local_smoke_deploys_pays_and_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    result = run(
        "payment-infra",
        *("local", "--smoke", "--verbose", "--port", "0"),
        cwd=tmp_path,
        TMPDIR=str(scratch),
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[-1] for row in rows[-6:]] == ["ok"] * 6
    assert {"APIEndpoint", "TransactionsTableName", "AlarmTopicArn", "DashboardName"} <= {
        row[0] for row in rows if row
    }
    assert '"status": "processed"' in result.stderr
    assert "authorization none" in result.stderr
    assert max(map(len, result.stdout.splitlines()[-7:])) <= 80
    assert list(scratch.iterdir()) == []
    assert processes_of(str(scratch)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_local_shows_logs_and_a_signal_stops_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    with served(tmp_path) as (process, out):
        text = out.read_text()
        curl = re.findall(r"curl -X POST (\S+validate) -d '(.*)'", text)
        answer = post(curl[0][0], json.loads(curl[0][1]))
        wait_for_text(out, answer["transaction_id"], process)
        assert "127.0.0.1" in curl[0][0]
        os.kill(process.pid, number)
        assert process.wait(WAIT_SECONDS) == 128 + number
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert processes_of(f"TMPDIR={tmp_path}/payment-infra-") == []


def test_local_switches_on_recovery_which_the_emulator_drops(tmp_path: Path) -> None:
    with served(tmp_path) as (_, out):
        url = re.findall(r"(http://\S+)/_aws/execute-api", out.read_text())[0]
        described = run(
            "aws",
            *("dynamodb", "describe-continuous-backups", "--table-name", "transactions-local"),
            *("--endpoint-url", url, "--region", "us-east-1"),
            cwd=tmp_path,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
        )
    backups = json.loads(described.stdout)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_state_folder_keeps_payments_for_the_next_run(tmp_path: Path) -> None:
    validated: dict[str, str] = {}
    for path, body in (("validate", None), ("process", validated)):
        with served(tmp_path, "--state", str(tmp_path / "state")) as (process, out):
            url = re.findall(rf"curl -X POST (\S+{path}) ", out.read_text())[0]
            payment = {"amount": 7, "currency": "JPY", "customer_id": "cust-1"}
            answer = post(url, payment if body is None else dict(body))
            validated["transaction_id"] = answer["transaction_id"]
            process.terminate()
            process.wait(WAIT_SECONDS)
    assert answer["status"] == "processed"


def test_a_state_folder_takes_every_configuration_without_a_word(tmp_path: Path) -> None:
    for setting in (("--payment-access", "account", "--retain-data"), ()):
        arguments = ("local", "--smoke", "--port", "0", "--state", tmp_path / "state", *setting)
        result = run("payment-infra", *arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run("payment-infra", "local", "--port", port, cwd=tmp_path)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert errors == [result.stderr.splitlines()[-1]]
    assert port in errors[0]
    assert "--port" in errors[0]


def test_a_missing_extra_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find_spec = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: (\n"
        "    None if name == 'ministack' else find_spec(name, *rest)\n"
        ")\n"
    )
    result = run("payment-infra", "local", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"Error: the embedded AWS is not installed; `{installation()}` installs it"
    )


# What stands in for an emulator that does not come up: the last words of one, and one whose port
# somebody else has taken in between.
UNABLE = {
    "raise SystemExit('no room in here')": (1, "the embedded AWS ended at once: no room in here"),
    """
import os, signal, socket
port = socket.create_server(("127.0.0.1", int(os.environ["GATEWAY_PORT"])))
if os.fork():
    os._exit(1)
signal.pause()
""": (2, "choose another --port, or --port 0 for any"),
}


@pytest.mark.parametrize("program", UNABLE)
def test_an_emulator_that_does_not_come_up_is_one_clear_line(tmp_path: Path, program: str) -> None:
    fake = tmp_path / PACKAGE
    fake.mkdir()
    (fake / "__init__.py").touch()
    (fake / "app.py").write_text("app = None")
    (fake / "__main__.py").write_text(program)
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    result = run(
        "payment-infra",
        *("local", "--port", "0"),
        cwd=sandbox,
        TMPDIR=str(sandbox),
        PYTHONPATH=str(tmp_path),
    )
    exit_code, told = UNABLE[program]
    assert result.returncode == exit_code
    assert result.stderr.splitlines()[-1].endswith(told)
    assert list(sandbox.iterdir()) == []
    assert processes_of(f"TMPDIR={sandbox}/") == []


def test_a_lock_that_an_earlier_run_has_left_is_no_obstacle(aws: Emulator) -> None:
    session = open_session(aws)
    stack = Stack(session.client("cloudformation"), "payment-infra-left")
    Lock.acquire(session, stack, "deploy", lambda _: None)
    left = find(session, stack)
    assert left is not None
    deploy(session, resolve({"suffix": "left"}, {}))
    assert find(session, stack) is None


def test_local_runs_whatever_its_user_has_set(tmp_path: Path) -> None:
    scratch = tmp_path / "a long path with spaces" / ("x" * 150)
    scratch.mkdir(parents=True)
    (tmp_path / "payment-infra.toml").write_text(HOSTILE_FILE)
    (tmp_path / "broken").write_text("[broken")
    for name in ("boto3", "click", "handlers", PACKAGE):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a trap')")
    hostile = HOSTILE | {
        "AWS_CONFIG_FILE": str(tmp_path / "broken"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path),
        "TMPDIR": str(scratch),
    }
    arguments = ("-m", "payment_infra", "local", "--smoke", "--port", "0")
    result = run("python", *arguments, cwd=tmp_path, **hostile)
    assert result.returncode == 0, result.stderr
    left_out = [line for line in result.stderr.splitlines() if line.startswith("Left out")]
    assert [line.split(": ")[1] for line in left_out] == [
        *("bucket", "gateway_secret", "allowed_accounts"),
    ]
    assert list(scratch.iterdir()) == []


def test_local_ends_well_when_its_stack_is_destroyed(tmp_path: Path) -> None:
    with served(tmp_path) as (process, out):
        destroyed = run(
            "payment-infra",
            *("destroy", "--suffix", "local", "--yes"),
            cwd=tmp_path,
            **aws_variables(url_in(out)),
        )
        assert destroyed.returncode == 0, destroyed.stderr
        assert process.wait(WAIT_SECONDS) == 0
    assert out.read_text().splitlines()[-1] == (
        "payment-infra-local has been deleted; the embedded AWS stops, too."
    )
    assert processes_of(f"TMPDIR={tmp_path}/payment-infra-") == []


def test_local_says_that_its_aws_has_ended(tmp_path: Path) -> None:
    with served(tmp_path) as (process, out):
        os.kill(emulator_of(process.pid), signal.SIGKILL)
        assert process.wait(WAIT_SECONDS) == 1
    assert out.read_text().splitlines()[-1] == (
        "Error: the embedded AWS has ended (by signal 9, Killed)"
    )


def test_a_killed_local_leaves_nothing_running_and_its_payments_saved(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with served(tmp_path, "--state", str(state)) as (process, _):
        again = run("payment-infra", "local", "--port", "0", "--state", state, cwd=tmp_path)
        assert again.returncode == 2
        assert "another `payment-infra local` uses it" in again.stderr.splitlines()[-1]
        process.kill()
        until(lambda: not processes_of(f"TMPDIR={tmp_path}/payment-infra-"))
    assert "transactions-local" in (state / "dynamodb.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "state"]


# What nothing may hold but memory: the key, and the secret that notifications are signed with.
CANARIES = ("rk_test_standin4711", "whsec_Canary4711")


def holders(folder: Path) -> list[str]:
    """Return what holds a canary: files of a folder, and processes that anybody can look at."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    shown = [
        path for name in ("cmdline", "environ") for path in Path("/proc").glob(f"[0-9]*/{name}")
    ]
    found = []
    for path in (*files, *shown):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            content = path.read_bytes()
            if any(canary.encode() in content for canary in CANARIES):
                found.append(str(path))
    return found


def test_stripe_is_charged_from_this_machine_and_its_key_is_kept_nowhere(tmp_path: Path) -> None:
    work, key = tmp_path / "work", tmp_path / "key.json"
    work.mkdir()
    state = work / "state"
    options = ("--gateway", "stripe", "--gateway-events", "--gateway-secret-file", str(key))
    with stripe() as account:
        account.api_keys, account.signing_secrets = [CANARIES[0]], [CANARIES[1]]
        key.write_text(account.secret())
        key.chmod(0o600)
        with served(work, "--state", str(state), *options) as (process, out):
            text = out.read_text()
            assert "Warning" not in text
            [(validate, body)] = re.findall(r"curl -X POST (\S+validate) -d '(.*)'", text)
            transaction_id = post(validate, json.loads(body))["transaction_id"]
            processing = validate.replace("validate", "process")
            answer = post(processing, {"transaction_id": transaction_id})
            assert answer["status"] == "processed"
            assert len(account.captures(transaction_id)) == 1
            [events] = re.findall(r"stripe listen --forward-to (\S+?)`", text)
            [payment] = account.payments(transaction_id)
            event = account.events.of(payment["id"])[-1]
            assert account.send(event, events) == 200
            account.signing_secrets = ["whsec_other"]
            assert account.send(event, events) == 400
            page = {"Origin": "https://page.example", "X-Amz-Target": "secretsmanager.ListSecrets"}
            assert post_status(url_in(out), b"{}", page) == 403
            assert holders(work) == []
            process.kill()  # what is left of it saves the state all the same
            until(lambda: not processes_of(f"TMPDIR={work}/payment-infra-"))
    assert transaction_id in (state / "dynamodb.json").read_text()
    assert holders(work) == []


def test_a_place_for_temporary_files_that_is_too_small_is_named_and_nothing_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, free=1_000_000))
    with (
        pytest.raises(PaymentInfraError, match=rf"^{tmp_path}: .*1\.0 MB are free"),
        emulator(),
    ):
        pytest.fail("it has no room")
    assert list(tmp_path.iterdir()) == []


def test_what_fails_once_nothing_has_room_any_more_is_told_with_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, free=0))
        raise PaymentInfraError("6 of 6 checks failed")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(PaymentInfraError) as failed, emulator():
        fail()
    assert str(failed.value) == (
        f"6 of 6 checks failed; {tmp_path} has no room left for temporary files (0.0 MB are free, "
        "and 10.0 MB are needed): make room, or name another folder in TMPDIR"
    )
