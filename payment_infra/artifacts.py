"""Deterministic zips of the handlers: the same sources give the same bytes on every machine."""

import ast
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from payment_infra.config import StackConfig
from payment_infra.errors import PaymentInfraError, UsageError
from payment_infra.own_gateway import OwnGateway, own_gateway
from payment_infra.wheels import Download
from payment_infra.zips import zip_files

# The handlers are installed beside this package, in a clone as in site-packages. Their place is
# taken from there, since another distribution's `handlers` may come first on the import path.
HANDLERS = Path(__file__).resolve().parent.parent / "handlers"
# Part of every digest: raise it when the bytes of a zip change for the same sources.
FORMAT_VERSION = 1
LAYER = "dependencies"
# The same for the layer.
LAYER_FORMAT_VERSION = 1
KEY_PREFIX = "payment-infra"
# Of a SHA-256, the first 128 bits: no two inputs have them by chance, and every key stands in the
# template, which has to fit into one request (NIST SP 800-107, "Truncated Message Digest").
DIGEST_DIGITS = 32
# The entry module that a stack has only if its gateway notifies.
GATEWAY_EVENTS = "gateway_events"
# The entry modules that ask the gateway, or its class what it needs: they alone have one of the
# user's own.
GATEWAY_FUNCTIONS = ("validation", "processing", "cancellation", "retry", GATEWAY_EVENTS)
DEFAULTS = StackConfig()


@dataclass(frozen=True)
class Artifact:
    """A zip that is ready to be uploaded, and the digest of what it was made from."""

    name: str
    body: bytes
    digest: str

    @property
    def key(self) -> str:
        """The object's key in the artifact bucket."""
        return artifact_key(self.name, self.digest)


def artifact_key(name: str, digest: str) -> str:
    """Return the key under which the zip of an entry module is kept."""
    return f"{KEY_PREFIX}/{name}/{digest}.zip"


def code_keys(root: Path = HANDLERS, config: StackConfig | None = None) -> dict[str, str]:
    """Return for each entry module that a stack has, and for the dependencies, the key of its zip.

    Without a configuration, it is each that any stack has. Reads the sources, and zips nothing.

    Raises:
        PaymentInfraError: a source file is missing or unreadable, or as `own_gateway` raises.
    """
    own = own_gateway(config or DEFAULTS, root)
    keys = {
        name: artifact_key(name, _digest(sources | _inputs(name, own)))
        for name, sources in _read(root).items()
        if config is None or _has(config, name)
    }
    return keys | {LAYER: artifact_key(LAYER, layer_digest(root))}


def layer_digest(root: Path = HANDLERS) -> str:
    """Return the digest of the dependency layer, which is that of its requirements."""
    requirements = root / "requirements.txt"
    try:
        content = _source(requirements)
    except OSError as error:
        raise _unreadable(error) from error
    header = f"payment-infra layer {LAYER_FORMAT_VERSION}\n".encode()
    return hashlib.sha256(header + content).hexdigest()[:DIGEST_DIGITS]


def check_handlers(config: StackConfig = DEFAULTS, root: Path = HANDLERS) -> None:
    """Make sure that what would be packaged can run; reads, and zips nothing.

    Args:
        config: names the gateway class.
        root: the folder of the handlers.

    Raises:
        PaymentInfraError: a source file is missing, unreadable, or not valid Python.
        UsageError: there is no such gateway class, or as `own_gateway` raises.
    """
    own = own_gateway(config, root)
    checked: set[str] = set()
    for name, sources in _read(root).items():
        for path, source in sources.items():
            if path not in checked:
                _check_syntax(root / path.removeprefix("handlers/"), name, source)
                checked.add(path)
    if own is not None:
        _check_syntax(own.file, GATEWAY_FUNCTIONS[0], own.source.encode())
    _check_gateway(config.gateway, root, own)


def build_artifacts(
    root: Path = HANDLERS,
    config: StackConfig = DEFAULTS,
    cache: Path | None = None,
    download: Download | None = None,
) -> list[Artifact]:
    """Zip each entry module of a stack with what the handlers share, and what asks the gateway with
    that.

    Args:
        root: the folder of the handlers.
        config: names the gateway.
        cache, download: as for `Wheels.build`, for what a gateway of the user's own requires.

    Raises:
        PaymentInfraError: a source file is missing or unreadable, or as `own_gateway` and
            `OwnGateway.libraries` raise.
    """
    own = own_gateway(config, root)
    gateway = own.libraries(cache, download) | own.files if own else {}
    return [
        Artifact(
            name,
            zip_files(sources | (gateway if name in GATEWAY_FUNCTIONS else {})),
            _digest(sources | _inputs(name, own)),
        )
        for name, sources in _read(root).items()
        if _has(config, name)
    ]


def _has(config: StackConfig, name: str) -> bool:
    """Whether a stack has the function of an entry module."""
    return name != GATEWAY_EVENTS or config.gateway_events


def _inputs(name: str, own: OwnGateway | None) -> dict[str, bytes]:
    """Return what the zip of an entry module is made from, but what is in every release."""
    return own.inputs if own and name in GATEWAY_FUNCTIONS else {}


def shared_sources(root: Path = HANDLERS) -> dict[str, bytes]:
    """Return what every zip holds beside its entry module: path in the zip to content.

    Raises:
        PaymentInfraError: a source file is missing or unreadable.
    """
    try:
        return {"handlers/__init__.py": _source(root / "__init__.py")} | {
            f"handlers/{path.relative_to(root).as_posix()}": _source(path)
            for path in sorted((root / "shared").rglob("*.py"))
        }
    except OSError as error:
        raise _unreadable(error) from error


def _read(root: Path) -> dict[str, dict[str, bytes]]:
    """Return for each entry module the files of its zip: path in the zip to content.

    The entry module is at the zip's root, where Lambda's `module.handler` looks for it; the rest
    keeps the names under which it is imported.
    """
    package = shared_sources(root)
    try:
        entries = [path for path in sorted(root.glob("*.py")) if path.name != "__init__.py"]
        return {path.stem: package | {path.name: _source(path)} for path in entries}
    except OSError as error:
        raise _unreadable(error) from error


def _source(path: Path) -> bytes:
    r"""Return the bytes of a source, with `\n` at the end of each line.

    Python takes `\r\n` for it ("Lexical analysis: Physical lines"), and a checkout that has that
    (git's core.autocrlf) is no other release.
    """
    return path.read_bytes().replace(b"\r\n", b"\n")


def _unreadable(error: OSError) -> PaymentInfraError:
    return PaymentInfraError(
        f"{error.filename}: cannot be read ({error.strerror}); install payment-infra anew"
    )


def _digest(sources: Mapping[str, bytes]) -> str:
    """Return the digest of names and contents, each with its length, and of the format."""
    digest = hashlib.sha256(f"payment-infra zip {FORMAT_VERSION}\n".encode())
    for path in sorted(sources):
        digest.update(f"{path}\n{len(sources[path])}\n".encode())
        digest.update(sources[path])
    return digest.hexdigest()[:DIGEST_DIGITS]


def _check_syntax(file: Path, entry: str, source: bytes) -> None:
    try:
        compile(source, file.name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", error)
        raise PaymentInfraError(
            f"{file}:{line}: {reason}; {entry} was not packaged, mend the file first"
        ) from error


def _check_gateway(gateway: str, root: Path, own: OwnGateway | None) -> None:
    module, _, name = gateway.rpartition(":")
    path = own.file if own else root.joinpath(*module.split(".")[1:]).with_suffix(".py")
    try:
        body = ast.parse(own.source if own else path.read_bytes()).body
    except OSError as error:
        raise UsageError(f"gateway {gateway}: {path} cannot be read ({error.strerror})") from error
    if not any(isinstance(node, ast.ClassDef) and node.name == name for node in body):
        raise UsageError(f"gateway {gateway}: {path} defines no class {name}")
