"""A payment gateway of the user's own: a file beside payment-infra.toml, and what it imports.

The functions that charge have the file as a module at the root of their zip, and beside it the
wheels that its requirements pin. Their keys follow both files, so rendering needs no wheels.
"""

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from payment_infra.config import StackConfig
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.gateway_names import is_own_gateway
from payment_infra.pins import read_pins
from payment_infra.texts import read_text
from payment_infra.wheels import Download, Wheels
from payment_infra.zips import unzip_files

# The SDK of Lambda's Python runtimes ("Building Lambda functions with Python": runtime-included SDK
# versions), and what it requires: library to module.
RUNTIME_LIBRARIES: Mapping[str, str] = {
    **{name: name for name in ("boto3", "botocore", "jmespath", "s3transfer", "six", "urllib3")},
    "python-dateutil": "dateutil",
}
# What starts a function there (the package awslambdaric).
RUNTIME_CLIENT = ("awslambdaric", "bootstrap", "runtime_client", "snapshot_restore_py")
# Raise it when the same wheels are unpacked in another way.
FORMAT_VERSION = 1
RELATIVE = "a path is relative to the configuration file that gives it, else to where you are"


@dataclass(frozen=True)
class OwnGateway:
    """The files of a gateway, as they were read.

    requirements is the file of what it requires; pinned is its text, "" where it names nothing.
    taken are the names of modules that a function has, or that Python would find first.
    """

    file: Path
    source: str
    requirements: Path | None
    pinned: str
    taken: frozenset[str]
    runtime: str

    @property
    def module(self) -> str:
        """The module's name, and that of its file in the zip without .py."""
        return self.file.stem

    @property
    def files(self) -> dict[str, bytes]:
        """What the zips hold of it, but the wheels: path to content."""
        return {f"{self.module}.py": self.source.encode()}

    @property
    def inputs(self) -> dict[str, bytes]:
        """What the digest of such a zip is made from besides."""
        return self.files | ({"requirements.txt": self.pinned.encode()} if self.pinned else {})

    def libraries(
        self, cache: Path | None = None, download: Download | None = None
    ) -> dict[str, bytes]:
        """Return the files of the wheels: path in the zip to content.

        Args:
            cache, download: as for `Wheels.build`.

        Raises:
            PaymentInfraError: a wheel cannot be had, is not pure Python, or has a module of a name
                that is taken.
        """
        wheels = self._wheels()
        if wheels is None:
            return {}

        def fetch(requirements: Path, folder: Path) -> Iterable[Path]:
            paths = [*(download or wheels.download)(requirements, folder)]
            if _read(requirements) != self.pinned:  # it would be kept under the digest of the old
                raise PaymentInfraError(f"{requirements}: has changed meanwhile; begin anew")
            return paths

        body = wheels.build(cache, fetch)
        try:
            files = unzip_files(body)
        except zipfile.BadZipFile as error:
            raise PaymentInfraError(
                f"{wheels.name}-{wheels.digest}.zip in the user's cache folder is damaged "
                f"({error}); delete it"
            ) from error
        modules = {PurePosixPath(path).parts[0].removesuffix(".py") for path in files}
        if clash := sorted(modules & self.taken):
            told = f"{self.requirements}: its wheels have a module {clash[0]}, "
            if clash[0] == self.module:
                raise PaymentInfraError(f"{told}and so is {self.file} called; rename that file")
            raise PaymentInfraError(
                f"{told}which would hide one that the functions have; choose another library"
            )
        return files

    def are_built(self, cache: Path | None = None) -> bool:
        """Whether the wheels, if there are any, are in the cache."""
        wheels = self._wheels()
        return wheels is None or wheels.are_built(cache)

    def _wheels(self) -> Wheels | None:
        if self.requirements is None or not self.pinned:
            return None
        # A library may not take every Python. Those that it takes get the same wheel.
        header = f"payment-infra gateway {FORMAT_VERSION}\n{self.runtime}\n{self.pinned}"
        digest = hashlib.sha256(header.encode()).hexdigest()
        python = self.runtime.removeprefix("python")
        return Wheels("gateway", "payment gateway", self.requirements, digest, python=python)


def own_gateway(config: StackConfig, root: Path) -> OwnGateway | None:
    """Read the files of the configured gateway, None if it is no file of the user's own.

    Args:
        config: names the gateway, its requirements, and the runtime that these are for.
        root: the folder of the handlers.

    Raises:
        UsageError: a file cannot be read, has a name that is taken, or pins what cannot be
            packaged.
    """
    if not is_own_gateway(config.gateway):
        return None
    file = Path(config.gateway.rpartition(":")[0])
    source = _read(file, f"gateway {config.gateway}: ")
    pins: Mapping[str, str] = {}
    pinned, requirements = "", None
    if config.gateway_requirements:
        requirements = Path(config.gateway_requirements)
        text = _read(requirements, "gateway_requirements ")
        pins = read_pins(text, requirements)
        pinned = text if pins else ""
    layer = read_pins(_read(root / "requirements.txt"), root / "requirements.txt")
    _check_pins(pins, layer, requirements)
    taken = {"handlers", *RUNTIME_LIBRARIES.values(), *RUNTIME_CLIENT, *sys.stdlib_module_names}
    taken |= {path.stem for path in root.glob("*.py")} | set(map(_module, layer))
    if file.stem in taken:
        raise UsageError(
            f"gateway {config.gateway}: the functions have another module {file.stem} already, "
            "which it would hide; rename the file"
        )
    # What the layer has in the same version may be there twice.
    taken = taken - set(map(_module, pins.keys() & layer.keys())) | {file.stem}
    return OwnGateway(file, source, requirements, pinned, frozenset(taken), config.runtime)


def _check_pins(pins: Mapping[str, str], layer: Mapping[str, str], file: Path | None) -> None:
    """Make sure that nothing is pinned that the functions have in another version.

    What is in a function's zip comes before the layer and the runtime ("Deploy Python Lambda
    functions with .zip file archives": Runtime dependencies in Python).
    """
    for name, version in pins.items():
        if name in layer and layer[name] != version:
            raise UsageError(
                f"{file}: {name}=={version}, and the functions have {name}=={layer[name]} already; "
                "pin that, or leave it out"
            )
        if name in RUNTIME_LIBRARIES and name not in layer:
            raise UsageError(
                f"{file}: {name}=={version}, and Lambda's runtime has a {name} that fits its SDK; "
                "leave it out"
            )


def _module(library: str) -> str:
    """Return the module of a library that the layer has, which is named like it."""
    return library.replace("-", "_")


def _read(file: Path, setting: str = "") -> str:
    """Return the text of a file, which may not be a link to somewhere else: what is beside the
    configuration is what is deployed."""
    try:
        if file.exists() and not file.is_file():
            raise UsageError(f"{setting}{file}: is not a file; name one")
        text = read_text(file)
    except OSError as error:
        hint = f"; {RELATIVE}" if isinstance(error, FileNotFoundError) else ""
        raise UsageError(f"{setting}{file}: cannot be read ({error.strerror}){hint}") from error
    if os.path.dirname(os.path.realpath(file)) != os.path.realpath(file.parent):
        raise UsageError(f"{setting}{file}: is a link out of its folder; name the file itself")
    return text
