"""Runs commands: in this process against an account in memory, or as the real program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from payment_infra.cli import root
from payment_infra.cli.app import App
from tests.aws import FakeAws, FakeBucket
from tests.offline import cache_with_layer, offline

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session

REPOSITORY = Path(__file__).parents[2]

__all__ = ["cache_with_layer", "offline"]


class Terminal(BytesIO):
    """What a person types, at a terminal."""

    def isatty(self) -> bool:
        """Whether somebody can be asked."""
        return True


@dataclass
class Cli:
    """Runs commands in this process."""

    aws: FakeAws
    connected: list[tuple[str | None, str | None, str | None]] = field(default_factory=list)

    def __call__(
        self, *arguments: str | Path, typed: str | None = None, color: bool = False
    ) -> Result:
        stdin = None if typed is None else Terminal(typed.encode())
        return CliRunner().invoke(
            root, [str(one) for one in arguments], input=stdin, color=color, obj=App(self._connect)
        )

    def _connect(
        self, profile: str | None, region: str | None, endpoint_url: str | None
    ) -> Session:
        self.connected.append((profile, region, endpoint_url))
        return self.aws.session(endpoint_url)


def refused(result: Result, exit_code: int) -> str:
    """Return the one line on stderr that says why, having checked that it is all there is."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without settings of this tool or of AWS."""
    for name in os.environ:
        if name.startswith(("PAYMENT_INFRA_", "AWS_")) or name == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(buckets={"zips": FakeBucket()})


@pytest.fixture
def cli(aws: FakeAws) -> Cli:
    return Cli(aws)


Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program(clean: Path, tmp_path: Path, cache_with_layer: Path) -> Program:
    """Runs the program as a user does, with nothing in the environment but what is given."""
    home = tmp_path / "home"
    home.mkdir()

    def run(
        *arguments: str | Path, source: Path = REPOSITORY, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment: Mapping[str, str] = {
            "PATH": os.defpath,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(cache_with_layer),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-m", "payment_infra", *arguments],
            cwd=clean,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the program and its handlers, to be changed."""
    ignore = shutil.ignore_patterns("__pycache__")
    for package in ("payment_infra", "handlers"):
        shutil.copytree(REPOSITORY / package, tmp_path / "source" / package, ignore=ignore)
    return tmp_path / "source"
