"""What this machine has: Python, libraries, dependency layer, emulator, settings; no network."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from payment_infra import __version__, gateway_check
from payment_infra.artifacts import HANDLERS, check_handlers
from payment_infra.checks import Check
from payment_infra.config import SIMULATED_GATEWAY, StackConfig
from payment_infra.errors import PaymentInfraError
from payment_infra.layer import is_built
from payment_infra.local.emulator import EXTRA, PACKAGE, is_installed
from payment_infra.sources import FILE_NAME, Resolved, resolve

DISTRIBUTION = "payment-infra"
# Whose requirements are looked at: boto3 is bound to one botocore, which other programs replace.
DEMANDING = (DISTRIBUTION, "boto3")


class Installed:
    """The distributions that are installed."""

    def version(self, name: str) -> str | None:
        """Return the version, None if it is not installed."""
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    def python(self) -> SpecifierSet:
        """Return the versions of Python that this package takes."""
        try:
            wanted = metadata.metadata(DISTRIBUTION).json.get("requires_python", "")
        except metadata.PackageNotFoundError:
            wanted = ""
        return SpecifierSet(str(wanted))

    def requires(self, name: str) -> Sequence[str]:
        """Return the requirements, each as in the metadata."""
        try:
            return metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return []


def check_machine() -> Iterator[Check]:
    """Yield what each check of this machine found."""
    installed = Installed()
    yield check_python(platform.python_version(), installed)
    yield check_libraries(installed)
    yield check_layer()
    yield check_emulator(installed, is_installed())


def check_python(version: str, installed: Installed) -> Check:
    """Compare Python with what the package needs."""
    wanted = installed.python()
    if not fits(version, wanted):
        return Check(
            "python",
            "fail",
            f"{version}, and payment-infra needs {wanted}",
            "make a virtual environment with that Python, and install payment-infra into it",
        )
    return Check("python", "ok", version)


def check_libraries(installed: Installed) -> Check:
    """Compare the libraries with what payment-infra, and boto3, ask for."""
    versions, wrong = [f"payment-infra {__version__}"], []
    for name in DEMANDING:
        for one in requirements(installed.requires(name)):
            version = installed.version(one.name)
            if version is None:
                wrong.append(f"{one.name} is not installed")
            elif not fits(version, one.specifier):
                wrong.append(f"{one.name} {version}, and {name} needs {one.specifier}")
            if name == DISTRIBUTION or one.name == "botocore":
                versions.append(f"{one.name} {version}")
    if wrong:
        remedy = "install payment-infra anew, into a virtual environment of its own"
        return Check("libraries", "fail", "; ".join(wrong), remedy)
    if not installed.requires(DISTRIBUTION):
        return Check(
            "libraries",
            "warn",
            f"{versions[0]} is not installed, so nothing says what it needs",
            "install it (`pip install .`) instead of running it from its folder",
        )
    return Check("libraries", "ok", ", ".join(versions))


def check_layer(
    root: Path = HANDLERS, cache: Path | None = None, *, pip: bool | None = None
) -> Check:
    """Look whether the dependency layer is built; that it can be is known only to the index."""
    has_pip = find_spec("pip") is not None if pip is None else pip
    try:
        if is_built(root, cache):
            return Check("layer", "ok", "the dependency layer is in the cache")
    except PaymentInfraError as error:
        return Check.told("layer", "fail", str(error), "install payment-infra anew")
    if not has_pip:
        return Check(
            "layer",
            "fail",
            "the dependency layer is not built, and this Python has no pip to build it",
            "`python -m ensurepip` installs it",
        )
    return Check(
        "layer",
        "warn",
        "the dependency layer is not built; the first deployment downloads it",
        "where there is no package index later, build it now with `payment-infra package`",
    )


def check_emulator(installed: Installed, present: bool) -> Check:
    """Look whether the embedded AWS is installed, in the version that is measured against."""
    version = installed.version(PACKAGE)
    if not present or version is None:
        return Check(
            "emulator",
            "warn",
            "the embedded AWS is not installed; only `payment-infra local` needs it",
            f"pip install '{DISTRIBUTION}[{EXTRA}]'",
        )
    for one in requirements(installed.requires(DISTRIBUTION), EXTRA):
        if one.name == PACKAGE and not fits(version, one.specifier):
            return Check(
                "emulator",
                "warn",
                f"{PACKAGE} {version}, and payment-infra is measured against {one.specifier}",
                f"pip install '{DISTRIBUTION}[{EXTRA}]'",
            )
    return Check("emulator", "ok", f"{PACKAGE} {version}")


def check_settings(
    flags: Mapping[str, object], environ: Mapping[str, str], path: Path | None
) -> tuple[Check, Resolved | None]:
    """Read the settings as every command does; return them too, None if they are not valid."""
    try:
        resolved = resolve(flags, environ, path)
    except PaymentInfraError as error:
        remedy = "mend it, then `payment-infra config` shows every setting and its source"
        return Check.told("settings", "fail", str(error), remedy), None
    environment = resolved.config.suffix or "no environment chosen"
    file = str(path or FILE_NAME)
    where = file if Path(file).exists() else f"no {file}"
    return Check("settings", "ok", f"{environment}, preset {resolved.preset}, {where}"), resolved


def check_gateway(config: StackConfig, root: Path = HANDLERS, cache: Path | None = None) -> Check:
    """Import the configured gateway class as a function would; downloads nothing for that."""
    if config.gateway == SIMULATED_GATEWAY:
        return Check("gateway", "ok", "the simulated one, which moves no money")
    try:
        check_handlers(config.gateway, root)
        if not is_built(root, cache):
            return Check(
                "gateway",
                "warn",
                f"{config.gateway} was not imported, for the dependency layer is not built",
                "`payment-infra package` builds it, and imports the class",
            )
        gateway_check.check_gateway(config, root, cache)
    except PaymentInfraError as error:
        line = str(error).removeprefix("gateway ")
        return Check.told("gateway", "fail", line, "write the class, or name another one")
    return Check("gateway", "ok", f"{config.gateway} can be imported, and has what a gateway has")


def requirements(lines: Sequence[str], extra: str = "") -> Iterator[Requirement]:
    """Yield the requirements that always hold, or those of an extra."""
    for one in map(Requirement, lines):
        holds = one.marker is None or one.marker.evaluate({"extra": extra})
        if holds and ("extra" in str(one.marker)) == bool(extra):
            yield one


def fits(version: str, specifiers: SpecifierSet) -> bool:
    """Whether a version, be it a pre-release, is one of those."""
    return specifiers.contains(version, prereleases=True)
