"""payment-infra as a wheel, in an environment that was made without pip, as uv makes them.

pip has the settings and the cache of whoever runs the tests, as it has when make installs.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from payment_infra.artifacts import code_keys
from tests.documents import REPOSITORY
from tests.e2e.harness import TEMPLATE

BUILD = "import sys; from setuptools import build_meta as backend; backend.build_{}(sys.argv[1])"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a program that must succeed, with the caller's settings; return what it prints."""
    environment = os.environ | variables
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=True
    ).stdout


def build_wheel(folder: Path) -> Path:
    """Return a wheel of this tree, built from its source distribution."""
    ignored = (REPOSITORY / ".gitignore").read_text().replace("/", "").split()
    tree = shutil.copytree(
        REPOSITORY, folder / "tree", ignore=shutil.ignore_patterns(".git", *ignored)
    )
    run(sys.executable, "-c", BUILD.format("sdist"), folder, cwd=tree)
    [sources] = folder.glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sources.name.removesuffix(".tar.gz")
    run(sys.executable, "-c", BUILD.format("wheel"), folder, cwd=unpacked)
    [wheel] = folder.glob("*.whl")
    return wheel


def test_the_wheel_brings_the_pip_that_builds_the_layer_and_can_have_it_back(
    tmp_path: Path,
) -> None:
    home = tmp_path / "our tools"
    venv.create(home, symlinks=True, with_pip=False)
    python, program = home / "bin" / "python", home / "bin" / "payment-infra"
    # pip's documentation, "Managing a different Python interpreter".
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--no-compile")
    run(*install, build_wheel(tmp_path), cwd=tmp_path)

    packed = run(program, "package", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "first"))
    template = TEMPLATE.read_text(encoding="utf-8")
    digests = {line.split()[0]: line.split()[-1] for line in packed.splitlines()}
    assert digests == {
        f"dist/{name}.zip": Path(key).stem for name, key in code_keys().items() if key in template
    }
    layer = (tmp_path / "dist" / "dependencies.zip").read_bytes()

    run(python, "-m", "pip", "uninstall", "--yes", "pip", cwd=tmp_path)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "second")}
    refused = subprocess.run(
        [program, "package"],
        cwd=tmp_path,
        env=os.environ | cache,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "this Python has no pip" in refused.stderr
    # As a person would copy it, into a shell that knows nothing of this environment.
    run("sh", "-c", refused.stderr.split("`")[1], cwd=tmp_path, PATH=os.defpath)
    assert run(program, "package", cwd=tmp_path, **cache) == packed
    assert (tmp_path / "dist" / "dependencies.zip").read_bytes() == layer
