"""The wheels that a requirements file pins, unpacked into one zip, nothing else.

What is built is kept in the user's cache folder under its digest, so that it is built once.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from payment_infra.errors import PaymentInfraError
from payment_infra.files import NO_ROOM, write_file
from payment_infra.interpreter import interpreter, pip_remedy
from payment_infra.scratch import scratch_folder
from payment_infra.zips import unzip_files, zip_files

# The wheels' tags (the packaging specification "Platform compatibility tags") that fit them all.
PURE_WHEELS = ("-py3-none-any.whl", "-py2.py3-none-any.whl")
DOWNLOAD_SECONDS = 300
MAX_REASON_CHARACTERS = 300

Download = Callable[[Path, Path], Iterable[Path]]


@dataclass(frozen=True)
class Wheels:
    """What a requirements file pins.

    name is what the built zip is called in the cache, and reason what the wheels are for, as in
    "the dependency layer". folder is where in the zip they are unpacked, "" for its root. digest
    is that of the requirements. python is the version that they are for, as 3.13, "" for this one.
    """

    name: str
    reason: str
    requirements: Path
    digest: str
    folder: str = ""
    python: str = ""

    def build(self, cache: Path | None = None, download: Download | None = None) -> bytes:
        """Return the zip, from the cache if it is there, else built and put there.

        Args:
            cache: the folder of what was built. None: payment-infra in the user's cache folder.
            download: puts the wheels of the requirements (first) into a folder (second) and returns
                their paths. None: pip.

        Raises:
            PaymentInfraError: a wheel cannot be had or is not pure Python.
        """
        kept = self._kept(cache)
        with contextlib.suppress(OSError):
            return kept.read_bytes()
        with scratch_folder() as folder:
            wheels = sorted((download or self.download)(self.requirements, folder))
            body = zip_files(dict(file for wheel in wheels for file in self._files(wheel)))
        _keep(kept, body)
        return body

    def are_built(self, cache: Path | None = None) -> bool:
        """Whether the zip is in the cache."""
        return self._kept(cache).is_file()

    def _kept(self, cache: Path | None) -> Path:
        return (cache or _cache_folder()) / f"{self.name}-{self.digest}.zip"

    def _files(self, wheel: Path) -> Iterator[tuple[str, bytes]]:
        """Yield the files of a wheel, as paths in the zip."""
        if not wheel.name.endswith(PURE_WHEELS):
            raise PaymentInfraError(
                f"{wheel.name} is not pure Python, so it would not fit every runtime and "
                f"architecture; choose another library in {self.requirements.name}"
            )
        for name, content in unzip_files(wheel.read_bytes()).items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise PaymentInfraError(f"{wheel.name} has a file outside of it: {name!r}")
            yield f"{self.folder}/{name}" if self.folder else name, content

    def download(self, requirements: Path, folder: Path) -> Iterable[Path]:
        """Let pip download, by the user's own settings: index, proxies, certificates, cache.

        One of them is for what is installed, and nothing is here: that a virtual environment is
        needed. `-P` keeps pip from importing what lies in the current folder. Where a library has
        wheels for platforms, too, its pure one is taken ("pip download": all four options at once).
        """
        import subprocess

        command = [
            *(interpreter(), "-P", "-m", "pip", "download", "--quiet"),
            *("--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"),
            *("--platform", "any", "--implementation", "py", "--abi", "none"),
            *(("--python-version", self.python) if self.python else ()),
            *("--no-deps", "--no-input"),
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
            raise PaymentInfraError(self._unavailable("no answer in time")) from error
        if done.returncode != 0:
            if "No module named pip" in done.stdout:
                raise PaymentInfraError(
                    f"the {self.reason} cannot be built, for this Python has no pip; {pip_remedy()}"
                )
            for number in NO_ROOM:
                if os.strerror(number) in done.stdout:
                    raise OSError(number, os.strerror(number))
            raise PaymentInfraError(self._unavailable(self._why(done.stdout), done.stdout))
        return folder.glob("*.whl")

    def _why(self, output: str) -> str:
        """Say in one line why pip failed."""
        if "DO NOT MATCH THE HASHES" in output:
            name = self.requirements.name
            return f"what the index has is another file than the hash in {name} says"
        if "ResolutionImpossible" in output:
            return "a constraint in pip's settings names another version"
        errors = [line for line in output.splitlines() if line.startswith("ERROR:")]
        # Before it has read its settings, pip says what is wrong with them without that word.
        told = errors[-1].removeprefix("ERROR:") if errors else output[-MAX_REASON_CHARACTERS:]
        if told.strip() == "Exception:":  # and a traceback, whose last line is what happened
            told = output.rstrip().rpartition("\n")[2]
        told = " ".join(told.split()).rstrip(".") or "pip failed"
        if told.startswith("No matching distribution"):
            told += f" in pure Python {self.python}".rstrip()
        return told

    def _unavailable(self, reason: str, output: str = "") -> str:
        """Say which requirements could not be had: those that pip names, or else all."""
        text = self.requirements.read_text(encoding="utf-8-sig")
        pinned = re.findall(r"^[\w.-]+==[\w.]+", text, re.MULTILINE)
        named = [pin for pin in pinned if re.search(rf"(?<![\w.-]){re.escape(pin)}(?!\w)", output)]
        return (
            f"{', '.join(named or pinned)} cannot be had for the {self.reason}: {reason}. "
            "Check the network and pip's settings; `payment-infra render` needs none of this"
        )


def _cache_folder() -> Path:
    # XDG Base Directory Specification.
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "payment-infra"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(os.devnull)


def _keep(path: Path, body: bytes) -> None:
    """Put the zip into the cache; a machine without room or rights for that does without."""
    with contextlib.suppress(OSError, PaymentInfraError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, body)
