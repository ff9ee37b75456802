"""What this machine has: Python, dependency layer, emulator, settings; no network."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from payment_infra import __version__, gateway_check
from payment_infra.artifacts import HANDLERS, check_handlers
from payment_infra.checks import Check
from payment_infra.errors import PaymentInfraError
from payment_infra.gateway_names import comes_along, gateway_name, moves_money
from payment_infra.interpreter import pip_remedy
from payment_infra.layer import is_built
from payment_infra.local.emulator import PACKAGE, VERSION, installation, is_installed
from payment_infra.own_gateway import own_gateway
from payment_infra.sources import FILE_NAME, Resolved, resolve

if TYPE_CHECKING:
    from payment_infra.config import StackConfig

DISTRIBUTION = "payment-infra"


def check_machine() -> Iterator[Check]:
    """Yield what each check of this machine found."""
    yield check_itself(version_of(DISTRIBUTION))
    yield check_layer()
    yield check_emulator(version_of(PACKAGE) if is_installed() else "")


def version_of(name: str) -> str:
    """Return the version of a distribution, "" if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def check_itself(installed: str) -> Check:
    """Compare what runs with the distribution that is installed under its name, "" for none.

    They differ where this package runs from its clone, and that of the public index, which has its
    name, was installed.
    """
    told = f"{__version__}, with Python {platform.python_version()}"
    if installed in ("", __version__):
        return Check(DISTRIBUTION, "ok", told)
    return Check(
        DISTRIBUTION,
        "warn",
        f"{told}; what is installed under this name is {installed}: older, or somebody else's",
        "install payment-infra anew, from its clone or its wheel",
    )


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
            pip_remedy(),
        )
    return Check(
        "layer",
        "warn",
        "the dependency layer is not built; the first deployment downloads it",
        "where there is no package index later, build it now with `payment-infra package`",
    )


def check_emulator(version: str) -> Check:
    """Look at the embedded AWS's version, "" for none."""
    remedy = installation()
    if not version:
        told = "the embedded AWS is not installed; only `payment-infra local` needs it"
        return Check("emulator", "warn", told, remedy)
    if version != VERSION:
        told = f"{PACKAGE} {version}, and payment-infra is measured against {VERSION}"
        return Check("emulator", "warn", told, remedy)
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
    if not moves_money(config.gateway):
        told = f"the {gateway_name(config.gateway)} one, which moves no money"
        return Check("gateway", "ok", told)
    if comes_along(config.gateway):
        return Check("gateway", "ok", gateway_name(config.gateway))
    try:
        check_handlers(config, root)
        if not is_built(root, cache) or not _required(config, root, cache):
            return Check(
                "gateway",
                "warn",
                f"{config.gateway} was not imported, for the libraries that it needs are not here",
                "`payment-infra package` downloads them, and imports the class",
            )
        gateway_check.check_gateway(config, root, cache)
    except PaymentInfraError as error:
        line = str(error).removeprefix("gateway ")
        return Check.told("gateway", "fail", line, "write the class, or name another one")
    return Check("gateway", "ok", f"{config.gateway} can be imported, and has what a gateway has")


def _required(config: StackConfig, root: Path, cache: Path | None) -> bool:
    """Whether what a gateway of one's own requires is in the cache."""
    own = own_gateway(config, root)
    return own is None or own.are_built(cache)
