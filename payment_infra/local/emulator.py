"""The embedded AWS (ministack), as a subprocess that leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.interpreter import interpreter, python_command
from payment_infra.local import keeper, serving
from payment_infra.local.isolation import ACCESS_KEY, clean_environment
from payment_infra.local.state import check_loaded, check_saved, hold
from payment_infra.scratch import check_room, scratch_folder

PACKAGE = "ministack"
# The version that all is measured against, and the SDK that it pins: the extra `local`. Its name is
# no advice, since on the public index the package of our name is somebody else's.
VERSION = "1.5.33"
REQUIREMENTS = (f"{PACKAGE}=={VERSION}", "boto3==1.43.106", "botocore==1.43.106")
# The module that has the secrets, and would save them in clear.
SECRETS = f"{PACKAGE}.services.secretsmanager"
HOST = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = keeper.STOP_SECONDS
POLL_SECONDS = 0.05
# So long one question waits: who has its port, and is another, need not answer at all.
ANSWER_SECONDS = 2.0
# How long it may take until a process that answers no more is seen to have ended.
END_SECONDS = 0.5
# What it writes for each function that has run: its code and the layer, zipped and unpacked.
FUNCTION_BYTES = 10_000_000
# And for all of them, of which one or two are asked for anew after a change.
ROOM_BYTES = 5 * FUNCTION_BYTES
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    url: str
    region: str
    pid: int


@contextlib.contextmanager
def emulator(
    port: int = 0,
    region: str = "us-east-1",
    state: Path | None = None,
    enforce_iam: bool = False,
    network: Mapping[str, str] | None = None,
    keep_secrets: bool = True,
) -> Iterator[Emulator]:
    """Run the emulator on 127.0.0.1 while the block lasts.

    Args:
        port: the port to listen on; 0 takes a free one.
        region: the region that it stands for.
        state: the folder that keeps stacks and payments for the next run; None keeps nothing.
        enforce_iam: verify signatures and policies, the functions' own roles included.
        network: variables that lead the functions to others than this machine.
        keep_secrets: whether the state holds the secrets, in clear; those of before stay in it.

    Raises:
        UsageError: the port is taken, or the state folder cannot be used.
        PaymentInfraError: the emulator is not installed, does not come up, or has no room left for
            the functions.
    """
    if not is_installed():
        raise PaymentInfraError(
            f"the embedded AWS is not installed; `{installation()}` installs it"
        )
    port = _reserve(port)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder(ROOM_BYTES))
        lock = stack.enter_context(hold(state)) if state else None
        process = _Process(scratch, port, state)
        try:
            environment = _environment(port, region, scratch, state, enforce_iam)
            process.start(
                environment | dict(network or {}), lock, () if keep_secrets else (SECRETS,)
            )
            try:
                yield Emulator(url=process.url, region=region, pid=process.pid)
            except PaymentInfraError as error:
                process.check(error)
                _check_room(scratch, error)
                raise
        finally:
            with _uninterrupted():
                process.stop()


def _check_room(scratch: Path, cause: PaymentInfraError) -> None:
    """Make sure that a function has room yet: none at all is nothing that its answers tell of."""
    try:
        check_room(scratch, FUNCTION_BYTES)
    except OSError as error:
        raise PaymentInfraError(
            f"{cause}; {scratch.parent} has no room left for temporary files ({error.strerror}): "
            "make room, or name another folder in TMPDIR"
        ) from cause


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


class _Process:
    """The emulator's process and its log."""

    def __init__(self, scratch: Path, port: int, state: Path | None) -> None:
        self.url = f"http://{HOST}:{port}"
        self._port = port
        self._scratch = scratch
        self._state = state
        self._log = scratch / "emulator.log"
        # What it calls itself: another one could answer at the port.
        self._name = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded = False

    @property
    def pid(self) -> int:
        """The process's id, 0 if there is none."""
        return self._process.pid if self._process else 0

    def start(
        self, environment: dict[str, str], lock: BinaryIO | None, unsaved: Iterable[str]
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            environment: its own.
            lock: a file that it holds open as long as it runs.
            unsaved: modules of services whose state it does not save.

        Raises:
            PaymentInfraError: it does not come up, or cannot load its state.
        """
        with self._log.open("wb") as output:
            program = [keeper.__file__, serving.__file__, str(self._scratch), PACKAGE, *unsaved]
            self._process = subprocess.Popen(
                [interpreter(), "-P", *program],
                env=environment | {"MINISTACK_EDITION": self._name},
                cwd=self._scratch,
                # Nobody writes to it: its end tells the keeper that this process has ended.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()] if lock else [],
                # A group of its own: Ctrl-C reaches us alone, and we end the group.
                start_new_session=True,
            )
        self._wait_until_ready()
        if self._state:
            check_loaded(self._state, self._log.read_text(errors="replace"))
        self._loaded = True

    def check(self, cause: PaymentInfraError) -> None:
        """Make sure that it still runs; what it is no more could explain the cause.

        Raises:
            PaymentInfraError: it has ended.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(END_SECONDS) if self._process else 0
            raise PaymentInfraError(
                f"the embedded AWS has ended ({self._ending(status)})"
            ) from cause

    def stop(self) -> None:
        """Ask it to end (it saves its state then), and end what is left of its group.

        Raises:
            PaymentInfraError: it could not save its state.
        """
        if (process := self._process) is None:
            return
        if self._loaded or not self._state:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()
        if self._loaded and self._state:
            check_saved(self._state, self._log.read_text(errors="replace"))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            status = self._process.poll() if self._process else None
            if status is not None:
                _reserve(self._port)  # who has been quicker has the port
                raise PaymentInfraError(f"the embedded AWS ended at once: {self._ending(status)}")
            if self._answers():
                return
            time.sleep(POLL_SECONDS)
        raise PaymentInfraError(
            f"the embedded AWS did not come up within {START_SECONDS:.0f} s: {self._last_line()}"
        )

    def _answers(self) -> bool:
        """Whether it, and no other one, answers at the port; without a proxy."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=ANSWER_SECONDS)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", "/_ministack/health")
            return self._name.encode() in connection.getresponse().read()
        return False

    def _ending(self, status: int) -> str:
        """Say how it has ended: by which signal, or with which last word."""
        if status < 0:
            return f"by signal {-status}, {signal.strsignal(-status)}"
        return self._last_line()

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _environment(
    port: int, region: str, scratch: Path, state: Path | None, enforce_iam: bool
) -> dict[str, str]:
    """Return the emulator's whole environment; all of it reaches the handlers, so none of the
    caller's own settings and secrets is in it."""
    environment = {
        **clean_environment(PACKAGE, scratch),
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


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let nothing stop the clean-up half-way: a second Ctrl-C waits for it too."""
    before = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)
