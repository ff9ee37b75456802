"""The source distribution holds the whole repository, and with it all that the documents name."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.documents import REPOSITORY

BUILD = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"


def test_the_source_distribution_holds_every_file(tmp_path: Path) -> None:
    ignored = (REPOSITORY / ".gitignore").read_text().replace("/", "").split()
    sources, out = tmp_path / "sources", tmp_path / "out"
    shutil.copytree(REPOSITORY, sources, ignore=shutil.ignore_patterns(".git", *ignored))
    files = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}
    subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=sources,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    with tarfile.open(next(out.iterdir())) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert files <= members
    assert not [name for name in members if name.endswith(".pyc")]
