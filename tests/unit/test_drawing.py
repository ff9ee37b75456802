"""What is drawn anew in its place."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from payment_infra.cli import status
from payment_infra.cli.views.drawing import fitted
from payment_infra.cloud.operating import status as operating
from tests.transcripts import screen

LINES = [f"line {number}" for number in range(40)]


@pytest.mark.parametrize("lines", [3, 22, 23, 40])
def test_what_is_drawn_fits_a_terminal_with_room_for_what_ends_it(lines: int) -> None:
    drawn = fitted("\n".join(LINES[:lines]), Console(width=80, height=24)).plain.splitlines()
    if lines <= 22:
        assert drawn == LINES[:lines]
    else:
        assert drawn[:21] == LINES[:21]
        assert drawn[21:] == [f"… {lines - 21} more lines: a higher terminal shows them"]


def test_what_is_drawn_counts_the_lines_into_which_a_long_one_is_broken() -> None:
    drawn = fitted("word " * 100, Console(width=80, height=5)).plain.splitlines()
    assert len(drawn) == 3
    assert drawn[-1].startswith("… 5 more lines")


def test_ctrl_c_leaves_the_last_status_once_and_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    drawn: list[str] = []

    def pause(_: float) -> None:
        drawn.append(capsys.readouterr().out)
        if len(drawn) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pause)
    monkeypatch.setattr(operating, "read_status", lambda *_: None)
    monkeypatch.setattr(status, "_screen", lambda *_: "\n".join(LINES))
    environment: Any = SimpleNamespace(again=lambda: None)
    with pytest.raises(KeyboardInterrupt):
        status._watch(environment, 1)
    # At the end of a full line, what a terminal shows of the key would begin a new one.
    assert all(text.endswith("\n") for text in drawn)
    left = screen("".join([*drawn, "^C", capsys.readouterr().out]), 24)
    assert left.splitlines() == LINES
