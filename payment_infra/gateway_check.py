"""Whether the configured gateway class can be used, found out before a payment needs it, and
whether it does what every gateway has to, with payments at its sandbox.

It is imported for real, where there is what a function has (`function_folder`), and if it is the
user's own, its file and what that requires. What only this machine has is not found there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

from payment_infra import conformance, gateway_probe, gateway_trial
from payment_infra.artifacts import HANDLERS, shared_sources
from payment_infra.conformance import Result
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.function_folder import FunctionFolder, program, runtime_modules
from payment_infra.gateway_names import comes_along, gateway_variable
from payment_infra.gateway_network import network_variables
from payment_infra.gateway_probe import Finding, Request
from payment_infra.layer import build_layer
from payment_infra.own_gateway import OwnGateway, own_gateway
from payment_infra.scratch import scratch_folder

if TYPE_CHECKING:
    from payment_infra.config import StackConfig
    from payment_infra.wheels import Download

# Longer than any function has; a machine may be busy, and starts from files that it has not read.
IMPORT_SECONDS = 30.0
# Some forty calls, each of which may take as long as a gateway may.
TRIAL_SECONDS = 300.0
MAX_TEXT_CHARACTERS = 300
# "Lambda quotas": deployment package (.zip file archive) size, unzipped, with layers: 250 MB.
MAX_UNZIPPED_BYTES = 250 * 1024 * 1024


def check_gateway(
    config: StackConfig,
    root: Path = HANDLERS,
    cache: Path | None = None,
    download: Download | None = None,
    limit_seconds: float = IMPORT_SECONDS,
) -> None:
    """Make sure that the functions can import the gateway class and call it as they do.

    Those that come with payment-infra are tested, and need no look. The class is not called.

    Args:
        config: gives the class, which `check_handlers` has found in its file, and the runtime.
        root: the folder of the handlers.
        cache, download: as for `Wheels.build`.
        limit_seconds: how long the import may take.

    Raises:
        UsageError: what the setting names is no class.
        PaymentInfraError: it cannot be imported, or lacks what a gateway has; or the layer or its
            requirements cannot be had, or are too large.
    """
    if comes_along(config.gateway):
        return
    with _unpacked(config, root, cache, download) as trial:
        trial.judge(trial.run(limit_seconds))


def try_gateway(
    config: StackConfig,
    tokens: Mapping[str, Any],
    secret: str,
    root: Path = HANDLERS,
    cache: Path | None = None,
    download: Download | None = None,
    limit_seconds: float = TRIAL_SECONDS,
) -> Iterator[Result]:
    """Try the gateway class with payments at its sandbox, and yield what each check found.

    Args:
        config, root, cache, download: as for `check_gateway`.
        tokens: fields of `conformance.Request`: what is charged, declined, and left pending.
        secret: the text of the gateway's secret; "" for none.
        limit_seconds: how long all of it may take.

    Raises:
        UsageError, PaymentInfraError: as `check_gateway`; or the trial came to no end.
    """
    with _unpacked(config, root, cache, download) as trial:
        trial.judge(trial.run(IMPORT_SECONDS))
        yield from trial.pay(tokens, secret, limit_seconds)


def make_gateway(
    config: StackConfig,
    secret: str,
    root: Path = HANDLERS,
    cache: Path | None = None,
    download: Download | None = None,
    limit_seconds: float = IMPORT_SECONDS,
) -> Iterator[Result]:
    """Make the gateway class with its secret, and yield what keeps it from being tried here.

    A warning is about one that does not say whether real money moves.

    Args:
        config, root, cache, download: as for `check_gateway`.
        secret: the text of the gateway's secret.
        limit_seconds: how long it may take.

    Raises:
        UsageError, PaymentInfraError: as `check_gateway`; or it came to no end.
    """
    found = try_gateway(config, {"payments": False}, secret, root, cache, download, limit_seconds)
    yield from (result for result in found if result.level != "ok")


@contextmanager
def _unpacked(
    config: StackConfig, root: Path, cache: Path | None, download: Download | None
) -> Iterator[_Trial]:
    """Give what a function has, in a folder that goes again."""
    own = own_gateway(config, root)
    sources, layer = shared_sources(root), build_layer(root, cache, download).body
    libraries = own.libraries(cache, download) if own else {}
    _check_size(config, libraries, layer)
    with scratch_folder() as folder:
        place = FunctionFolder(folder)
        place.unpack(libraries | sources | (own.files if own else {}), layer)
        yield _Trial(config, root, place, own)


def _check_size(config: StackConfig, libraries: Mapping[str, bytes], layer: bytes) -> None:
    """Make sure that Lambda takes what a gateway requires, with all else; that has 1 MB at most."""
    required = sum(map(len, libraries.values()))
    if required + len(layer) + 1024 * 1024 > MAX_UNZIPPED_BYTES:
        raise PaymentInfraError(
            f"{config.gateway_requirements}: comes to {required / 1024 / 1024:.0f} MB, and a "
            "function has 250 MB at most, with its layer; require less"
        )


@dataclass(frozen=True)
class _Trial:
    """The class in a folder that has what a function has."""

    config: StackConfig
    root: Path
    place: FunctionFolder
    own: OwnGateway | None = None

    def run(self, limit_seconds: float) -> Finding | None:
        """Import the class; return what is wrong with it, None if nothing is."""
        answer = self.place.folder / "answer.json"
        request = Request(
            *self._class(),
            self.place.path,
            runtime_modules(),
            str(answer),
            notifies=self.config.gateway_events,
        )
        try:
            done = subprocess.run(
                program(gateway_probe.__file__, request),
                env=self.place.environment(),
                cwd=self.place.code,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=limit_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._refuse(
                f"its import took longer than {limit_seconds:g} s",
                "move what waits out of the module's import, to the first call",
            )
        try:
            found = json.loads(answer.read_bytes())
        except (OSError, ValueError):
            self._refuse(
                f"its import ended Python with status {done.returncode}",
                "a module that is imported must not end the program",
            )
        return None if found is None else Finding(**found)

    def pay(self, tokens: Mapping[str, Any], secret: str, limit_seconds: float) -> Iterator[Result]:
        """Try the class with payments; yield what each check found."""
        request = conformance.Request(*self._class(), self.place.path, runtime_modules(), **tokens)
        with subprocess.Popen(
            program(gateway_trial.__file__, request),
            env=self.place.environment() | network_variables(os.environ),
            cwd=self.place.code,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        ) as trial:
            limit = Timer(limit_seconds, trial.kill)
            limit.start()
            try:
                with suppress(BrokenPipeError), cast("TextIO", trial.stdin) as stdin:
                    stdin.write(secret)
                for line in cast("TextIO", trial.stdout):
                    yield Result(**json.loads(line))
                status = trial.wait()
            finally:
                limit.cancel()
                trial.kill()
        if status:
            self._refuse(
                f"the trial ended with status {status}, or took longer than {limit_seconds:g} s",
                "a gateway must not end the program, and ends each call in time",
            )

    def _class(self) -> tuple[str, str]:
        module, _, name = gateway_variable(self.config.gateway).partition(":")
        return module, name

    def judge(self, finding: Finding | None) -> None:
        """Raise what a finding comes to."""
        if finding is None:
            return
        if finding.kind == "class":
            raise UsageError(
                f"gateway {self.config.gateway}: {self._file()}: {finding.text}; "
                "name a class of that module"
            )
        if finding.kind == "protocol":
            remedy = f"the protocol in {self.root / 'shared' / 'gateway.py'} says how it must be"
        elif finding.missing and not finding.missing.startswith("handlers"):
            remedy = self._requiring(finding.missing)
        else:
            remedy = "mend it, since payments could not be charged"
        self._refuse(self._shown(finding), remedy, self._place(finding))

    def _refuse(self, problem: str, remedy: str, place: str = "") -> NoReturn:
        raise PaymentInfraError(
            f"gateway {self.config.gateway}: {place or self._file()}: {problem}; {remedy}"
        )

    def _requiring(self, missing: str) -> str:
        """Say where what the class imports has to be."""
        if self.own is None:
            return f"pin what it imports in {self.root / 'requirements.txt'}, with its hash"
        beside = self.own.file.parent / missing.partition(".")[0]
        if beside.is_dir() or beside.with_suffix(".py").is_file():
            return f"of one's own files {self.own.file.name} alone is packaged; put it in there"
        if self.own.requirements is None:
            return (
                "pin what it imports in a file, with its hash, and name that gateway_requirements"
            )
        return f"pin what it imports in {self.own.requirements}, with its hash"

    def _shown(self, finding: Finding) -> str:
        """Return the finding in one line, with the names of files as they are known here."""
        text = finding.text
        for folder, known in self._own_places().items():
            text = text.replace(str(folder), str(known))
        for folder in (self.place.libraries, self.place.code):
            text = text.replace(f"{folder}{os.sep}", "")
        text = " ".join(text.split()).replace("; ", ", ")[:MAX_TEXT_CHARACTERS]
        for file, line in reversed(finding.frames):
            if Path(file).is_relative_to(self.place.libraries):
                place = Path(file).relative_to(self.place.libraries)
                text += f" (in the dependency layer, {place}:{line})"
                break
            if Path(file).is_relative_to(self.place.code) and not self._known(file):
                place = Path(file).relative_to(self.place.code)
                text += f" (in what it requires, {place}:{line})"
                break
        here = f"python{sys.version_info.major}.{sys.version_info.minor}"
        if finding.syntax and here != self.config.runtime:
            text += f" (tried with {here}, and the runtime is {self.config.runtime})"
        return text

    def _place(self, finding: Finding) -> str:
        """Return the last place in a handler, or in one's own file, that the error came through."""
        places = [
            f"{self._known(file)}:{line}" for file, line in finding.frames if self._known(file)
        ]
        return places[-1] if places else ""

    def _own_places(self) -> Mapping[Path, Path]:
        """Return where what is not a library lies, to where it was taken from."""
        places = {self.place.code / "handlers": self.root}
        if self.own is not None:
            places[self.place.code / f"{self.own.module}.py"] = self.own.file
        return places

    def _known(self, file: str) -> Path | None:
        """Return where a file that is not a library's was taken from, None for one that is."""
        for place, known in self._own_places().items():
            if Path(file).is_relative_to(place):
                return known / Path(file).relative_to(place)
        return None

    def _file(self) -> Path:
        if self.own is not None:
            return self.own.file
        module, _, _ = self.config.gateway.partition(":")
        return self.root.joinpath(*module.split(".")[1:]).with_suffix(".py")
