"""Packs the handlers of an earlier release as a fixture, to run them beside today's.

    python -m tests.model.releases.build bfcabd8 0.1.0

writes tests/model/releases/0.1.0.zip with the handlers of that commit (or tag), in a package that
is called handlers_0_1_0, so that both can be imported at once. Only the package's name is changed,
where it is imported from and where a class is named as "handlers.module:Class". The same commit
gives the same bytes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from payment_infra.zips import zip_files

RELEASES = Path(__file__).parent
PACKAGE = "handlers"
# "handlers.", or "handlers import": what names the package, and not a word in a sentence.
_NAMED = re.compile(rf"\b{PACKAGE}(?=\.[a-z_]|\s+import\b)")


def package_name(version: str) -> str:
    """Return the name under which a release's handlers are imported."""
    return f"{PACKAGE}_{version.replace('.', '_')}"


def read_sources(commit: str) -> dict[str, str]:
    """Return the modules of a commit's handlers: their paths in the package, and their text."""
    listed = _git("ls-tree", "-r", "--full-tree", "--name-only", commit, f"{PACKAGE}/").splitlines()
    modules = [path for path in listed if path.endswith(".py")]
    return {path.removeprefix(f"{PACKAGE}/"): _git("show", f"{commit}:{path}") for path in modules}


def pack(sources: dict[str, str], version: str) -> bytes:
    """Return a zip of the modules, in the release's package."""
    package = package_name(version)
    return zip_files(
        {f"{package}/{path}": _NAMED.sub(package, text).encode() for path, text in sources.items()}
    )


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=RELEASES, capture_output=True, text=True, check=True
    ).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model.releases.build")
    parser.add_argument("commit")
    parser.add_argument("version")
    options = parser.parse_args(arguments)
    target = RELEASES / f"{options.version}.zip"
    target.write_bytes(pack(read_sources(options.commit), options.version))
    print(f"{target}: {target.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
