"""Nothing of whoever runs `local` decides what its calls and its processes do."""

from __future__ import annotations

import signal
import site
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest

from payment_infra.combinations import conflicts
from payment_infra.config import PRESETS, StackConfig
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.local import keeper
from payment_infra.local.emulator import PACKAGE, Emulator
from payment_infra.local.isolation import ACCESS_KEY, clean_environment, clean_session
from payment_infra.local.refused import ELSEWHERE, REFUSED, without_refused
from payment_infra.local.stack import open_session
from payment_infra.local.state import check_loaded, check_saved, hold
from tests.settings import OTHER, WITH

END_SECONDS = 30
SERVICES = ("cloudformation", "s3", "dynamodb", "sts", "logs", "lambda")
# What botocore reads beside the variables of its session.
OTHERS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "else",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "bad",
    "REQUESTS_CA_BUNDLE": " ",
}


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which no variable of the SDK has a value that can be used."""
    for _, names, _, _ in botocore.session.Session.SESSION_VARIABLES.values():
        for name in [names] if isinstance(names, str) else names or []:
            monkeypatch.setenv(name, "bad")
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    file = tmp_path / "config"
    file.write_text("[broken\nprofile")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(file))
    return file


@pytest.mark.parametrize("service", SERVICES)
def test_a_client_is_the_emulators_whatever_the_user_has_set(service: str, hostile: Path) -> None:
    url = "http://127.0.0.1:4566"
    client = open_session(Emulator(url, "us-east-1", 1)).client(service)
    assert client.meta.endpoint_url == url
    assert client.meta.region_name == "us-east-1"
    assert client.meta.config.proxies == {}
    assert client.meta.config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert client._request_signer._credentials.access_key == ACCESS_KEY


def test_no_variable_and_no_file_reaches_the_session(hostile: Path) -> None:
    session = clean_session()
    variables = botocore.session.Session.SESSION_VARIABLES
    found = {name: session.get_config_variable(name) for name in variables}
    defaults = {name: default for name, (_, _, default, _) in variables.items()}
    own = {"config_file": None, "credentials_file": None, "ca_bundle": True}
    assert found == defaults | own
    assert session.get_scoped_config() == {}


def test_a_process_has_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/traps")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    monkeypatch.delenv("PYTHONHOME", raising=False)
    monkeypatch.delenv("DYLD_LIBRARY_PATH", raising=False)
    environment = clean_environment(PACKAGE, tmp_path)
    assert environment.keys() == {
        *("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONUNBUFFERED", "TMPDIR"),
    }
    assert environment["LD_LIBRARY_PATH"] == "/opt/python/lib"


def test_a_process_finds_what_is_installed_for_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "getsitepackages", lambda: ["/usr/lib/python3/site-packages"])
    folder = clean_environment(PACKAGE, tmp_path)["PYTHONPATH"]
    assert (Path(folder) / PACKAGE / "__main__.py").is_file()


@pytest.mark.parametrize("name", OTHER)
def test_of_every_setting_there_is_what_the_emulator_takes(name: str) -> None:
    config = StackConfig(**{**WITH.get(name, {}), name: OTHER[name]})
    taken, left_out = without_refused(config)
    assert [broken for broken in conflicts(taken) if broken not in conflicts(config)] == []
    assert taken.authorization == "none"
    unfit = REFUSED.keys() | ELSEWHERE.keys()
    assert left_out.keys() == ({name} & unfit)
    if name not in {*unfit, "authorization"}:
        assert getattr(taken, name) == OTHER[name]


@pytest.mark.parametrize("preset", PRESETS)
def test_of_every_preset_there_is_what_the_emulator_takes(preset: str) -> None:
    taken, _ = without_refused(StackConfig(preset=preset, **PRESETS[preset]))  # type: ignore[arg-type]
    assert conflicts(taken) == []


@pytest.mark.parametrize("stubborn", [False, True])
def test_what_is_kept_ends_with_the_process_that_has_started_it(
    tmp_path: Path, stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, scratch = tmp_path / "kept", tmp_path / "scratch"
    package.mkdir()
    scratch.mkdir()
    (package / "__init__.py").touch()
    script = Path(keeper.__file__).read_text()
    if stubborn:
        script = script.replace("STOP_SECONDS = 5.0", "STOP_SECONDS = 0.0")
    (tmp_path / "keeper.py").write_text(script)
    (package / "__main__.py").write_text(
        "import signal, subprocess, sys\n"
        f"if {stubborn}: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '600'])\n"
        "print('up', flush=True)\n"
        "while True: signal.pause()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", tmp_path / "keeper.py", package, scratch],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    with process.stdout as output:
        assert output.readline() == b"up\n"
        process.stdin.close()
        assert output.read() == b""  # its child, which has inherited it, has ended as well
    assert process.wait(END_SECONDS) == -signal.SIGKILL
    assert not scratch.exists()


def test_a_state_folder_is_in_one_hand(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    with hold(folder), pytest.raises(UsageError, match="another `payment-infra local` uses it"):
        hold(folder)
    hold(folder).close()


def test_a_state_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be used for --state"):
        hold(tmp_path / "file")


LOG = "2026-11-26 06:27:59 {}\n2026-11-26 06:27:59 INFO [ministack] Ready"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ERROR [persistence] Persistence: failed to load sqs: bad", "failed to load sqs: bad"),
        ("ERROR [persistence] Persistence: sqs state is format v9", "sqs state is format v9"),
        (
            "ERROR [ministack] Failed to restore persisted state for sqs; continuing fresh",
            "Failed to restore persisted state for sqs",
        ),
    ],
)
def test_a_state_that_is_not_loaded_whole_ends_it(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(PaymentInfraError, match=f"cannot be loaded \\({told}\\); it was left"):
        check_loaded(tmp_path, LOG.format(line))


def test_a_state_that_is_not_saved_whole_is_told(tmp_path: Path) -> None:
    line = "ERROR [persistence] Persistence: failed to save sqs: [Errno 28] No space"
    with pytest.raises(PaymentInfraError, match="failed to save sqs"):
        check_saved(tmp_path, LOG.format(line))
    check_saved(tmp_path, LOG.format("INFO [persistence] Persistence: saved sqs state to sqs.json"))
