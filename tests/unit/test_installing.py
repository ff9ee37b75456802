"""How payment-infra comes onto a machine: never by its name alone, and by make in one clear line.

On the public package index the name is somebody else's.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.documents import REPOSITORY, Page

# What takes a package from an index, if it is given a name.
INSTALLS = re.compile(
    r"\b(?:(?:pip3?|pipx|uv(?: tool| pip)?) (?:add|download|inject|install|wheel)"
    r"|uvx|(?:pipx|uv tool) run|uv run --with)\b([^`|;&)]*)"
)
# What setup.cfg calls otherwise than pyproject.toml.
FIELDS = {
    "author": "authors",
    "long_description": "readme",
    "install_requires": "dependencies",
    "extras_require": "optional-dependencies",
    "entry_points": "scripts",
}
# Our name, or what a string is yet to be given, with an extra or a version.
NAMED = re.compile(r"(?:payment[-_]infra|\{[^}]*\}(?=\[))(?:\[.*|[=<>~!].*)?", re.IGNORECASE)


def bare(text: str) -> list[str]:
    """Return the commands of a text that would install what has our name on an index."""
    return [
        found[0].strip()
        for found in INSTALLS.finditer(" ".join(text.split()))
        if not re.search(r"--(?:from|spec)\b|payment[-_]infra(?:\[[^\]]*\])? ?@", found[1])
        and any(NAMED.fullmatch(word.strip("'\"")) for word in found[1].split())
    ]


def texts(path: Path) -> Iterator[str]:
    """Yield what a file says: each line, code span, and text of a program, put together."""
    content = path.read_text(encoding="utf-8")
    yield from content.splitlines()
    if path.suffix == ".md":
        page = Page(path)
        yield from page.spans
        yield from (command for block in page.blocks for command in block.commands())
    elif path.suffix == ".py":
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}"
                    for part in node.values
                )


@pytest.mark.parametrize(
    "text",
    [
        "pip install payment-infra",
        "pip install 'payment-infra[local]'",
        "python -m pip install --upgrade payment_infra==0.1.0",
        "pip install '{}[{}]'",
        "uv tool install payment-infra",
        "uv pip install payment-infra[local]",
        "uvx payment-infra render",
        "pipx run payment-infra",
        "pipx install \\\n  payment-infra",
    ],
)
def test_an_installation_by_the_name_alone_is_found(text: str) -> None:
    assert bare(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install '.[local]'\npayment-infra --help",
        "pip install ./payment_infra-0.1.0-py3-none-any.whl",
        "pip install 'payment-infra[local] @ git+https://git.example.com/payment-infra'",
        "uvx --from . payment-infra render",
        "`pip install .`, then `payment-infra deploy`",
        "pip uninstall payment-infra",
        "uv tool upgrade payment-infra",
    ],
)
def test_other_commands_are_not(text: str) -> None:
    assert not [found for line in text.splitlines() for found in bare(line)]


@pytest.mark.parametrize(
    "place", ["*.md", "Makefile", "setup.cfg", ".ci/*", "docs", "payment_infra", "handlers"]
)
def test_no_text_installs_this_by_its_name_alone(place: str) -> None:
    folder = REPOSITORY / place
    found = folder.rglob("*") if folder.is_dir() else REPOSITORY.glob(place)
    files = [path for path in found if path.is_file() and path.suffix != ".pyc"]
    assert files
    assert [(path, one) for path in files for text in texts(path) for one in bare(text)] == []


def test_the_distribution_says_that_it_is_not_on_the_public_index() -> None:
    about = metadata.metadata("payment-infra")
    # The index refuses every distribution with a classifier that begins so.
    assert "Private :: Do Not Upload" in (about.get_all("Classifier") or [])
    assert f"Copyright 2026 {about['Author']}\n" in (REPOSITORY / "LICENSE").read_text()
    told = "payment-infra is not on the public package index: what has its name there"
    assert told in Page(REPOSITORY / "README.md").text


def test_pyproject_leaves_to_setup_cfg_what_that_says() -> None:
    """Else setuptools passes over it; and without the table, uv over the package."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    said = {*settings["metadata"], *settings["options"]} - {"packages", "license_files"}
    sections = {name.removeprefix("options.") for name in settings.sections()}
    said |= sections & {"entry_points", "extras_require"}
    said -= {"long_description_content_type"}  # which goes with the readme
    assert sorted(FIELDS.get(name, name) for name in said) == sorted(project["dynamic"])
    assert sorted(project) == ["dynamic", "name", "requires-python"]


# make.

FAILS = "#!/bin/sh\nexit 1\n"
# Can do all; makes an environment by writing down how it was asked to.
WORKS = """#!/bin/sh
case "$*" in *"-m venv"*) mkdir -p .venv/bin && echo "$*" > .venv/asked; exit 1;; esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what make needs to begin."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def make(clone: Path, python: str, target: str, *arguments: str) -> tuple[int, list[str]]:
    """Run make with this `python3` alone; return its status and what it says of errors."""
    programs = clone / "programs"
    programs.mkdir()
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        (programs / name).write_text(python)
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [shutil.which("make") or "make", target, *arguments],
        cwd=clone,
        env={"PATH": f"{programs}{os.pathsep}{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("target", [".venv/installed-local", "demo", "test", "check"])
@pytest.mark.parametrize("chosen", ["", "PYTHON=python3"])
def test_a_python_that_cannot_make_an_environment_is_one_clear_line(
    clone: Path, target: str, chosen: str
) -> None:
    status, errors = make(clone, FAILS, target, *([chosen] if chosen else []))
    assert status == 2
    assert errors[0] == (
        "Python 3.11 or newer with venv and ensurepip is needed "
        "(Debian, Ubuntu: apt install python3-venv), or make PYTHON=/path/to/python3"
    )
    assert [line for line in errors[1:] if not line.startswith("make")] == []
    assert not (clone / ".venv").exists()


def test_an_environment_without_pip_is_made_anew(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    make(clone, WORKS, ".venv/installed-local")
    assert (clone / ".venv" / "asked").read_text() == "-m venv --clear .venv\n"
