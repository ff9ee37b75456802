"""The secret of a gateway, read of a file, a pipe or stdin: whole, and shown by nothing."""

from __future__ import annotations

import io
import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING

import pytest

from payment_infra.errors import UsageError
from payment_infra.secret_file import MAX_SECRET_BYTES, read_secret

if TYPE_CHECKING:
    from pathlib import Path


def private(tmp_path: Path, content: bytes) -> str:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    return str(file)


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> io.BytesIO:
    """Let stdin be this."""
    stdin = io.BytesIO(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    return stdin


@pytest.mark.parametrize(
    "content", [b"sk_test_1", b"\n sk_test_1\r\n\n", b"\xef\xbb\xbfsk_test_1\n"]
)
def test_it_is_the_text_without_what_an_editor_adds(tmp_path: Path, content: bytes) -> None:
    secret = read_secret(private(tmp_path, content))
    assert (secret.text, secret.warning) == ("sk_test_1", "")


def test_it_may_be_as_long_as_one_of_secrets_manager(tmp_path: Path) -> None:
    assert len(read_secret(private(tmp_path, b"x" * MAX_SECRET_BYTES)).text) == 65_536


def test_it_may_come_through_a_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o644)
    writer = threading.Thread(target=fifo.write_bytes, args=(b"sk_test_1\n",))
    writer.start()
    secret = read_secret(str(fifo))
    writer.join()
    assert (secret.text, secret.warning) == ("sk_test_1", "")


def test_it_may_come_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, b"sk_test_1\n")
    assert read_secret("-").text == "sk_test_1"


def test_of_what_never_ends_no_more_is_read_than_a_secret_can_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin = given(monkeypatch, b"x" * 1_000_000)
    with pytest.raises(UsageError, match="stdin: is longer than 64 KiB"):
        read_secret("-")
    assert stdin.tell() == MAX_SECRET_BYTES + 1


def test_a_terminal_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, b"sk_test_1\n")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(UsageError, match="stdin: is a terminal, which would show the secret"):
        read_secret("-")


def test_a_file_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    file = private(tmp_path, b"sk_test_1")
    os.chmod(file, 0o644)
    assert read_secret(file).warning == (
        f"everybody on this machine can read {file}; `chmod 600` it"
    )
    os.chmod(file, 0o640)
    assert read_secret(file).warning == ""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; it has to hold the gateway's secret"),
        (b" \n\t\n", "is empty; it has to hold the gateway's secret"),
        (b"x" * (MAX_SECRET_BYTES + 1), "is longer than 64 KiB, and so no secret; "),
        ("sk_test_canary".encode("utf-16"), "is a text in UTF-16; save it in UTF-8"),
        (b"sk_test_canary\xe9", "is not a text in UTF-8 (byte 14)"),
        (b"sk_test_canary\0", "is no text in UTF-8, perhaps in UTF-16; save it in UTF-8"),
    ],
)
def test_what_is_no_secret_is_one_line_that_has_nothing_of_it(
    tmp_path: Path, content: bytes, told: str
) -> None:
    file = private(tmp_path, content)
    with pytest.raises(UsageError) as raised:
        read_secret(file)
    assert str(raised.value).startswith(f"{file}: {told}")
    shown = "".join(traceback.format_exception(raised.value))
    assert "canary" not in shown


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        read_secret(str(tmp_path))
    with pytest.raises(UsageError, match=r"nowhere: cannot be read \(No such file"):
        read_secret(str(tmp_path / "nowhere"))


def test_nothing_that_shows_it_shows_its_text(tmp_path: Path) -> None:
    assert "canary" not in repr(read_secret(private(tmp_path, b"sk_test_canary")))
