"""Whether the configured gateway class can be used, found out before a payment needs it.

It is imported for real, in a Python of its own that finds what Lambda has and nothing else: the
files that every function's zip holds, the dependency layer, the standard library, and what comes
with the runtime. What only this machine has is not found there.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from payment_infra import gateway_probe
from payment_infra.artifacts import HANDLERS, shared_sources
from payment_infra.config import SIMULATED_GATEWAY
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.files import scratch_folder
from payment_infra.gateway_probe import Finding, Request
from payment_infra.interpreter import interpreter
from payment_infra.layer import FOLDER, Download, build_layer
from payment_infra.names import PROCESSING

if TYPE_CHECKING:
    from payment_infra.config import StackConfig

# Longer than any function has; a machine may be busy, and starts from files that it has not read.
IMPORT_SECONDS = 30.0
MAX_TEXT_CHARACTERS = 300
# The SDK of Lambda's Python runtimes ("Building Lambda functions with Python": runtime-included SDK
# versions), and what it requires.
RUNTIME_MODULES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
# Some of what Lambda sets ("Using Lambda environment variables"), so that an SDK's client can be
# made while a module is imported. No call can succeed with these keys.
LAMBDA_ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_LAMBDA_FUNCTION_NAME": PROCESSING,
    "LANG": "C.UTF-8",
    "TZ": ":UTC",
}


def check_gateway(
    config: StackConfig,
    root: Path = HANDLERS,
    cache: Path | None = None,
    download: Download | None = None,
    limit_seconds: float = IMPORT_SECONDS,
) -> None:
    """Make sure that the functions can import the gateway class and call it as they do.

    The simulated one needs no look: it is tested. The class itself is not called.

    Args:
        config: gives the class, which `check_handlers` has found in its file, and the runtime.
        root: the folder of the handlers.
        cache: the folder of built layers, as for `build_layer`.
        download: as for `build_layer`, if the layer is not in the cache.
        limit_seconds: how long the import may take.

    Raises:
        UsageError: what the setting names is no class.
        PaymentInfraError: it cannot be imported, or lacks what a gateway has; or the layer cannot
            be had.
    """
    if config.gateway == SIMULATED_GATEWAY:
        return
    sources, layer = shared_sources(root), build_layer(root, cache, download).body
    with scratch_folder() as folder:
        trial = _Trial(config, root, folder)
        trial.unpack(sources, layer)
        trial.judge(trial.run(limit_seconds))


@dataclass(frozen=True)
class _Trial:
    """One import, in a folder of its own."""

    config: StackConfig
    root: Path
    folder: Path

    @property
    def code(self) -> Path:
        """What /var/task is to a function."""
        return self.folder / "task"

    @property
    def libraries(self) -> Path:
        """What /opt/python is to a function."""
        return self.folder / "opt" / FOLDER

    def unpack(self, sources: dict[str, bytes], layer: bytes) -> None:
        """Put the files where they are imported from; Lambda unpacks the zips too."""
        try:
            for path, content in sources.items():
                file = self.code / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            with zipfile.ZipFile(io.BytesIO(layer)) as archive:
                archive.extractall(self.libraries.parent)
        except (OSError, zipfile.BadZipFile) as error:
            raise PaymentInfraError(
                f"{self.folder}: handlers and dependency layer cannot be unpacked ({error}); "
                "make room there, or delete the layer from the user's cache folder"
            ) from error

    def run(self, limit_seconds: float) -> Finding | None:
        """Import the class; return what is wrong with it, None if nothing is."""
        module, _, name = self.config.gateway.partition(":")
        answer = self.folder / "answer.json"
        folders = (str(self.code), str(self.libraries))
        request = Request(module, name, folders, _runtime_modules(), str(answer))
        # Isolated (-I), without site-packages (-S), and leaving no bytecode behind (-B).
        program = [interpreter(), "-I", "-S", "-B", gateway_probe.__file__]
        try:
            done = subprocess.run(
                [*program, json.dumps(asdict(request))],
                env=self._environment(),
                cwd=self.code,
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
            remedy = f"pin what it imports in {self.root / 'requirements.txt'}, with its hash"
        else:
            remedy = "mend it, since payments could not be charged"
        self._refuse(self._shown(finding), remedy, self._place(finding))

    def _refuse(self, problem: str, remedy: str, place: str = "") -> NoReturn:
        raise PaymentInfraError(
            f"gateway {self.config.gateway}: {place or self._file()}: {problem}; {remedy}"
        )

    def _shown(self, finding: Finding) -> str:
        """Return the finding in one line, with the names of files as they are known here."""
        text = finding.text.replace(str(self.code / "handlers"), str(self.root))
        text = " ".join(text.replace(f"{self.libraries}{os.sep}", "").split()).replace("; ", ", ")
        text = text[:MAX_TEXT_CHARACTERS]
        in_layer = [
            f"{Path(file).relative_to(self.libraries)}:{line}"
            for file, line in finding.frames
            if Path(file).is_relative_to(self.libraries)
        ]
        if in_layer:
            text += f" (in the dependency layer, {in_layer[-1]})"
        here = f"python{sys.version_info.major}.{sys.version_info.minor}"
        if finding.syntax and here != self.config.runtime:
            text += f" (tried with {here}, and the runtime is {self.config.runtime})"
        return text

    def _place(self, finding: Finding) -> str:
        """Return the last place in a handler that the error came through."""
        package = self.code / "handlers"
        places = [
            f"{self.root / Path(file).relative_to(package)}:{line}"
            for file, line in finding.frames
            if Path(file).is_relative_to(package)
        ]
        return places[-1] if places else ""

    def _file(self) -> Path:
        module, _, _ = self.config.gateway.partition(":")
        return self.root.joinpath(*module.split(".")[1:]).with_suffix(".py")

    def _environment(self) -> dict[str, str]:
        """Return the whole environment: nothing of the caller's settings and secrets is in it."""
        # Without it, Windows has no random numbers.
        system = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        scratch = str(self.folder)
        return (
            {"PATH": os.defpath, "HOME": scratch, "TMPDIR": scratch} | LAMBDA_ENVIRONMENT | system
        )


def _runtime_modules() -> dict[str, str]:
    """Return for each module of the runtime the folder that this machine has it in."""
    folders = {}
    for name in RUNTIME_MODULES:
        spec = find_spec(name)
        if spec is not None and spec.origin:
            file = Path(spec.origin)
            folders[name] = str(file.parents[1] if spec.submodule_search_locations else file.parent)
    return folders
