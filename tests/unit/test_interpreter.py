"""What is run and what is advised names the Python that runs this, by its path."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

import pytest

from payment_infra import interpreter as module
from payment_infra.errors import PaymentInfraError
from payment_infra.interpreter import interpreter, pip_remedy, python_command
from tests.documents import REPOSITORY

PACKAGE = REPOSITORY / "payment_infra"


def test_a_command_is_one_that_a_shell_takes_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/srv/our tools/bin/python")
    command = python_command("-m", "pip", "install", "one==1.0")
    assert command == "'/srv/our tools/bin/python' -m pip install one==1.0"
    assert shlex.split(command)[0] == sys.executable


def test_what_runs_this_is_what_is_run() -> None:
    assert interpreter() == sys.executable


@pytest.mark.parametrize(
    ("path", "told"),
    [("", "sys.executable is empty"), (None, "sys.executable is empty"), ("gone", "gone is gone")],
)
def test_a_python_that_cannot_be_started_is_told_in_one_line(
    path: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", path)
    with pytest.raises(PaymentInfraError) as refused:
        interpreter()
    assert str(refused.value) == (
        f"another Python is to be started, and this one cannot be found ({told}); "
        "install payment-infra anew"
    )
    # A person finds one all the same.
    assert python_command("-m", "pip").split()[0] == (path or "python3")


def test_a_python_that_cannot_install_pip_itself_is_not_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert importlib.util.find_spec("ensurepip") is not None
    assert pip_remedy() == f"`{shlex.quote(sys.executable)} -m ensurepip` installs it"
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert pip_remedy() == "install payment-infra anew, which brings pip"


def test_nothing_else_asks_which_python_this_is() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    asking = {path.name for path, text in sources.items() if "sys.executable" in text}
    assert asking == {"interpreter.py"}
