"""The dependency layer: the wheels that handlers/requirements.txt pins, unpacked, nothing else.

Its key is a digest of that file, so rendering needs neither network nor wheels. The built layer is
kept in the user's cache folder under the same digest, so that it is built once.
"""

import contextlib
import io
import os
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from payment_infra.artifacts import HANDLERS, LAYER, Artifact, layer_digest, zip_files
from payment_infra.errors import PaymentInfraError
from payment_infra.files import NO_ROOM, scratch_folder, write_file
from payment_infra.interpreter import interpreter, pip_remedy

# Where Lambda's Python runtimes look in a layer ("Packaging your layer content").
FOLDER = "python"
# The wheels' tags (the packaging specification "Platform compatibility tags") that fit them all.
PURE_WHEELS = ("-py3-none-any.whl", "-py2.py3-none-any.whl")
DOWNLOAD_SECONDS = 300
MAX_REASON_CHARACTERS = 300

Download = Callable[[Path, Path], Iterable[Path]]


def build_layer(
    root: Path = HANDLERS, cache: Path | None = None, download: Download | None = None
) -> Artifact:
    """Return the layer, from the cache if it is there, else built and put there.

    Args:
        root: the folder of the handlers, with requirements.txt.
        cache: the folder of built layers. None: payment-infra in the user's cache folder.
        download: puts the wheels of the requirements (first) into a folder (second) and returns
            their paths. None: pip.

    Raises:
        PaymentInfraError: a wheel cannot be had or is not pure Python.
    """
    digest = layer_digest(root)
    kept = _kept(digest, cache)
    with contextlib.suppress(OSError):
        return Artifact(LAYER, kept.read_bytes(), digest)
    with scratch_folder() as folder:
        wheels = sorted((download or _download)(root / "requirements.txt", folder))
        body = zip_files(dict(file for wheel in wheels for file in _files(wheel)))
    _keep(kept, body)
    return Artifact(LAYER, body, digest)


def is_built(root: Path = HANDLERS, cache: Path | None = None) -> bool:
    """Whether the layer is in the cache.

    Raises:
        PaymentInfraError: requirements.txt cannot be read.
    """
    return _kept(layer_digest(root), cache).is_file()


def _kept(digest: str, cache: Path | None) -> Path:
    return (cache or _cache_folder()) / f"{LAYER}-{digest}.zip"


def _cache_folder() -> Path:
    # XDG Base Directory Specification.
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "payment-infra"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(os.devnull)


def _keep(path: Path, body: bytes) -> None:
    """Put the layer into the cache; a machine without room or rights for that does without."""
    with contextlib.suppress(OSError, PaymentInfraError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, body)


def _download(requirements: Path, folder: Path) -> Iterable[Path]:
    """Let pip download, by the user's own settings: index, proxies, certificates, cache.

    One of them is for what is installed, and nothing is here: that a virtual environment is needed.
    `-P` keeps pip from importing what lies in the current folder.
    """
    command = [
        *(interpreter(), "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "--only-binary=:all:", "--no-deps", "--no-input"),
        *("--requirement", str(requirements), "--dest", str(folder)),
    ]
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"PIP_REQUIRE_VIRTUALENV": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PaymentInfraError(_unavailable(requirements, "no answer in time")) from error
    if done.returncode != 0:
        if "No module named pip" in done.stdout:
            raise PaymentInfraError(
                f"the dependency layer cannot be built, for this Python has no pip; {pip_remedy()}"
            )
        for number in NO_ROOM:
            if os.strerror(number) in done.stdout:
                raise OSError(number, os.strerror(number))
        raise PaymentInfraError(_unavailable(requirements, _reason(done.stdout), done.stdout))
    return folder.glob("*.whl")


def _reason(output: str) -> str:
    """Say in one line why pip failed."""
    if "DO NOT MATCH THE HASHES" in output:
        return "what the index has is another file than the hash in requirements.txt says"
    if "ResolutionImpossible" in output:
        return "a constraint in pip's settings names another version"
    errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
    # Before it has read its settings, pip says what is wrong with them without that word.
    told = errors[-1].removeprefix("ERROR:") if errors else output[-MAX_REASON_CHARACTERS:]
    return " ".join(told.split()).rstrip(".") or "pip failed"


def _unavailable(requirements: Path, reason: str, output: str = "") -> str:
    """Say which requirements could not be had: those that pip names, or else all."""
    pinned = re.findall(r"^[\w.-]+==[\w.]+", requirements.read_text(), re.MULTILINE)
    named = [pin for pin in pinned if re.search(rf"(?<![\w.-]){re.escape(pin)}(?!\w)", output)]
    return (
        f"{', '.join(named or pinned)} cannot be had for the dependency layer: {reason}. "
        "Check the network and pip's settings; `payment-infra render` needs none of this"
    )


def _files(wheel: Path) -> Iterable[tuple[str, bytes]]:
    """Yield the files of a wheel, as paths in the layer."""
    if not wheel.name.endswith(PURE_WHEELS):
        raise PaymentInfraError(
            f"{wheel.name} is not pure Python, so it would not fit every runtime and architecture; "
            "choose another library in requirements.txt"
        )
    with zipfile.ZipFile(io.BytesIO(wheel.read_bytes())) as archive:
        for name in archive.namelist():
            if not name.endswith("/"):
                yield f"{FOLDER}/{name}", archive.read(name)
