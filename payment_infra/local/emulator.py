"""The embedded AWS (ministack), as a subprocess that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.interpreter import interpreter, python_command

PACKAGE = "ministack"
# The version that all is measured against, and the SDK that it pins: the extra `local`. Its name is
# no advice, since on the public index the package of our name is somebody else's.
VERSION = "1.5.33"
REQUIREMENTS = (f"{PACKAGE}=={VERSION}", "boto3==1.43.106", "botocore==1.43.106")
HOST = "127.0.0.1"
ACCESS_KEY = "test"
START_SECONDS = 30.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    url: str
    region: str
    pid: int


@contextlib.contextmanager
def emulator(
    port: int = 0, region: str = "us-east-1", state: Path | None = None, enforce_iam: bool = False
) -> Iterator[Emulator]:
    """Run the emulator on 127.0.0.1 while the block lasts.

    Args:
        port: the port to listen on; 0 takes a free one.
        region: the region that it stands for.
        state: the folder that keeps stacks and payments for the next run; None keeps nothing.
        enforce_iam: verify signatures and policies, the functions' own roles included.

    Raises:
        UsageError: the port is taken, or the state folder cannot be used.
        PaymentInfraError: the emulator is not installed or does not come up.
    """
    if not is_installed():
        raise PaymentInfraError(
            f"the embedded AWS is not installed; `{installation()}` installs it"
        )
    port = _reserve(port)
    if state is not None:
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{state}: cannot be used for --state ({error.strerror})") from error
    scratch = Path(tempfile.mkdtemp(prefix="payment-infra-"))
    log = scratch / "emulator.log"
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [interpreter(), "-m", PACKAGE],
                env=_environment(port, region, scratch, state, enforce_iam),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches us alone, and we end the group.
                start_new_session=True,
            )
        url = f"http://{HOST}:{port}"
        _wait_until_ready(process, url, log)
        yield Emulator(url=url, region=region, pid=process.pid)
    finally:
        with _uninterrupted():
            if process is not None:
                _stop(process)
            shutil.rmtree(scratch, ignore_errors=True)


def is_installed() -> bool:
    """Whether the emulator can be run."""
    return find_spec(PACKAGE) is not None


def installation() -> str:
    """Return the shell command that installs the emulator beside this package."""
    return python_command("-m", "pip", "install", *REQUIREMENTS)


def _reserve(port: int) -> int:
    """Return the port if it is free, or a free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"port {port} of {HOST} cannot be used ({error.strerror}); choose another --port, "
                "or --port 0 for any"
            ) from error
        return int(probe.getsockname()[1])


def _environment(
    port: int, region: str, scratch: Path, state: Path | None, enforce_iam: bool
) -> dict[str, str]:
    """Return the emulator's whole environment; all of it reaches the handlers, so none of the
    caller's own settings and secrets is in it."""
    environment = {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "S3_DATA_DIR": str(scratch / "s3"),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    if state is not None:
        environment |= {"PERSIST_STATE": "1", "STATE_DIR": str(state.resolve())}
    if enforce_iam:
        environment["AUTH"] = "true"
    return environment


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PaymentInfraError(f"the embedded AWS ended at once: {_last_line(log)}")
        with contextlib.suppress(urllib.error.URLError, OSError):
            opener.open(f"{url}/_ministack/health", timeout=START_SECONDS).close()
            return
        time.sleep(POLL_SECONDS)
    raise PaymentInfraError(
        f"the embedded AWS did not come up within {START_SECONDS:.0f} s: {_last_line(log)}"
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end (it saves its state then), and end what is left of its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let nothing stop the clean-up half-way: a second Ctrl-C waits for it too."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
