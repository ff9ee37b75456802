"""Commands whose standard streams are closed, full, left by their reader, or of a poor encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from payment_infra.artifacts import code_keys
from payment_infra.config import StackConfig
from tests import snapshots

REPOSITORY = Path(__file__).parents[2]
TEMPLATE = (REPOSITORY / "templates/payment-infra.yaml").read_bytes()
PROGRAM = (sys.executable, "-m", "payment_infra")
# A command against an account in memory, in a process of its own. The file that is named first gets
# what stacks there are at its end.
ON_AN_ACCOUNT = """
import sys, time
from payment_infra.cli import root, streams
from payment_infra.cli.app import App
from tests.aws import FakeAws, FakeBucket

aws = FakeAws(buckets={"zips": FakeBucket()})
time.sleep = lambda _: None
streams.prepare()
try:
    root.main(sys.argv[2:], obj=App(lambda *_: aws.session()))
finally:
    with open(sys.argv[1], "w") as log:
        log.write(" ".join(f"{name} {stack.status}" for name, stack in aws.stacks.items()))
"""
DEPLOY = ("deploy", "--suffix", "dev", "--bucket", "zips")
DEPLOYED = "payment-infra-dev CREATE_COMPLETE"
READER_LEFT = 141
CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")
# /dev/full is not everywhere; how large a file a process may write can be limited on every system
# (in blocks of 512 or 1024 bytes), and Python has the signal ignored, so that the write fails.
FULL = "ulimit -f 8"


@dataclass(frozen=True)
class Shell:
    """Runs programs with redirections, as `>&-`, in the shell that every system has."""

    folder: Path

    def __call__(
        self,
        *command: str | Path,
        redirected: str = "",
        before: str = "",
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        **variables: str,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["/bin/sh", "-c", f'{before}\nexec "$0" "$@" {redirected}', *command],
            cwd=self.folder,
            env={
                "PATH": os.defpath,
                "HOME": str(self.folder),
                "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
                "LC_ALL": "C.UTF-8",
                "PYTHONPATH": str(REPOSITORY),
                "PYTHONDONTWRITEBYTECODE": "1",
                "AWS_EC2_METADATA_DISABLED": "true",
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=120,
            check=False,
        )

    def on_an_account(
        self,
        *arguments: str,
        redirected: str = "",
        stdout: int = subprocess.PIPE,
        both: bool = False,
    ) -> tuple[int, str, str]:
        """Run a command on an account; return exit code, stderr, and the stacks then."""
        done = self(
            *(sys.executable, "-c", ON_AN_ACCOUNT, "stacks", *arguments),
            redirected=redirected,
            stdout=stdout,
            stderr=stdout if both else subprocess.PIPE,
        )
        told = (done.stderr or b"").decode()
        return done.returncode, told, (self.folder / "stacks").read_text()


@pytest.fixture
def shell(clean: Path) -> Shell:
    return Shell(clean)


@contextmanager
def left_pipe() -> Iterator[int]:
    """Give a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@pytest.mark.parametrize("closed", CLOSED)
def test_a_deployment_needs_no_open_stream(closed: str, shell: Shell) -> None:
    code, _, stacks = shell.on_an_account(*DEPLOY, "--yes", redirected=closed)
    assert (code, stacks) == (0, DEPLOYED)


@pytest.mark.parametrize("closed", CLOSED)
def test_a_closed_stream_is_as_one_to_nowhere(closed: str, shell: Shell) -> None:
    done = shell(*PROGRAM, "render", redirected=closed)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (b"" if " >&-" in f" {closed}" else TEMPLATE)


def test_a_question_that_nobody_would_see_is_refused_where_it_is_seen(shell: Shell) -> None:
    terminal, stdin = os.openpty()
    try:
        redirected = f"<{os.ttyname(stdin)} >stdout 2>&-"
        code, told, stacks = shell.on_an_account(*DEPLOY, redirected=redirected)
    finally:
        os.close(terminal)
        os.close(stdin)
    assert (code, told, stacks) == (2, "", "")
    line = "Error: there is no terminal to ask on; add --yes to go ahead\n"
    assert (shell.folder / "stdout").read_text() == line


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("render", "--suffix"), 2, "Error: Option '--suffix' requires an argument."),
        (("render", "--sufix"), 2, "Error: No such option"),
        (("--sufix",), 2, "Error: No such option"),
        (("render", "--suffix", ""), 2, "Error: --suffix: '' is not allowed"),
        (("failed",), 2, "Usage: payment-infra failed "),
    ],
    ids=str,
)
def test_an_error_that_stderr_cannot_show_is_on_stdout(
    arguments: tuple[str, ...], code: int, line: str, shell: Shell
) -> None:
    done = shell(*PROGRAM, *arguments, redirected="2>&-")
    assert (done.returncode, done.stdout.decode()[: len(line)]) == (code, line)
    assert shell(*PROGRAM, *arguments, redirected=">stdout").stderr == done.stdout


OPENS = (
    "import os, socket; from payment_infra.cli import streams; streams.prepare(); "
    "numbers = [os.open(os.devnull, 0), socket.socket().fileno()]; os._exit(min(numbers))"
)


def test_the_number_of_a_closed_stream_goes_to_nothing_that_is_opened_later(shell: Shell) -> None:
    assert shell(sys.executable, "-c", OPENS, redirected="<&- >&- 2>&-").returncode == 3


@pytest.mark.parametrize("both", [False, True])
def test_a_deployment_goes_on_where_its_reader_has_left(both: bool, shell: Shell) -> None:
    arguments = (*DEPLOY, "--yes", "--output", "json")
    with left_pipe() as pipe:
        code, told, stacks = shell.on_an_account(*arguments, stdout=pipe, both=both)
    note = "stdout: nobody reads it any more; what was begun goes on to its end\n"
    assert (code, told, stacks) == (0, "" if both else note, DEPLOYED)


def test_a_deployment_whose_output_is_full_goes_on_and_says_so(shell: Shell) -> None:
    done = shell(
        *(sys.executable, "-c", ON_AN_ACCOUNT, "stacks", *DEPLOY, "--yes", "--output", "json"),
        before=FULL,
        redirected=">full",
    )
    assert (shell.folder / "stacks").read_text() == DEPLOYED
    assert done.stderr.decode().splitlines() == [
        "stdout: File too large; what was begun goes on to its end",
        "Error: stdout: File too large; it has not got all, but what was begun is done",
    ]
    assert done.returncode == 1


@pytest.mark.parametrize(
    "arguments", [("render",), ("config", "--output", "json"), ("openapi",), ("render", "--help")]
)
def test_a_command_that_shows_something_ends_quietly_where_its_reader_has_left(
    arguments: tuple[str, ...], shell: Shell
) -> None:
    with left_pipe() as pipe:
        done = shell(*PROGRAM, *arguments, stdout=pipe)
    assert (done.returncode, done.stderr) == (READER_LEFT, b"")


def test_whoever_stops_reading_is_left_with_every_zip(shell: Shell) -> None:
    with left_pipe() as pipe:
        done = shell(*PROGRAM, "package", stdout=pipe)
    assert (done.returncode, done.stderr) == (READER_LEFT, b"")
    names = {f"{name}.zip" for name in code_keys(config=StackConfig())}
    assert {path.name for path in (shell.folder / "dist").iterdir()} == names


def test_what_is_told_has_no_reader_and_the_command_does_its_work(shell: Shell) -> None:
    with left_pipe() as pipe:
        done = shell(*PROGRAM, "render", "-o", "out.yaml", stderr=pipe)
    assert done.returncode == 0
    assert (shell.folder / "out.yaml").read_bytes() == TEMPLATE


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("render",), ("--help",), ("config", "--output", "json")])
def test_what_a_full_disk_does_not_take_is_an_error(
    arguments: tuple[str, ...], unbuffered: str, shell: Shell
) -> None:
    # A file that is nearly full, so that each of them is too long for it.
    (shell.folder / "full").write_bytes(b" " * 4_000)
    done = shell(
        *PROGRAM,
        *arguments,
        before=FULL,
        redirected=">>full",
        PYTHONUNBUFFERED=unbuffered,
    )
    assert done.stderr == b"Error: stdout: File too large\n"
    assert done.returncode == 1


def test_a_stream_that_does_not_wait_gets_everything(shell: Shell) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen(
        [*PROGRAM, "render"], cwd=shell.folder, env={"PYTHONPATH": str(REPOSITORY)}, stdout=writer
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == TEMPLATE
    assert process.wait() == 0


ENCODINGS = ("ascii", "latin-1", "cp1252", "cp437")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_a_program_reads_is_the_same_in_every_encoding(encoding: str, shell: Shell) -> None:
    done = shell(*PROGRAM, "render", "--tag", "Team=東京", PYTHONIOENCODING=encoding)
    utf_8 = shell(*PROGRAM, "render", "--tag", "Team=東京")
    assert done.stdout == utf_8.stdout


SHOWS = """
import sys
import click
from payment_infra.cli import streams
streams.prepare()
for text in sys.argv[1:]:
    click.echo(text)
    click.echo(text, err=True)
"""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_whatever_is_shown_is_written_in_every_encoding(encoding: str, shell: Shell) -> None:
    kept = [path.read_text(encoding="utf-8") for path in sorted(snapshots.FOLDER.glob("*.txt"))]
    done = shell(sys.executable, "-c", SHOWS, *kept, PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    for content in (done.stdout, done.stderr):
        shown = content.decode(encoding)
        assert shown.count("\n") == sum(text.count("\n") + 1 for text in kept)
        assert "\\u" not in shown  # each character that is drawn has one that is near to it


TABLE = """
from payment_infra.cli import streams
streams.prepare()
from payment_infra.cli.views.output import print_table
print_table(("name", "value"), [("東京", "x"), ("é→", "y")])
"""


@pytest.mark.parametrize(
    ("encoding", "table"),
    [
        ("utf-8", "name  value\n東京  x\né→    y\n"),
        ("ascii", "name          value\n\\u6771\\u4eac  x\n\\xe9->        y\n"),
        ("latin-1", "name          value\n\\u6771\\u4eac  x\né->           y\n"),
    ],
)
def test_a_table_is_aligned_as_it_is_written(encoding: str, table: str, shell: Shell) -> None:
    done = shell(sys.executable, "-c", TABLE, PYTHONIOENCODING=encoding)
    assert done.stdout.decode(encoding) == table
