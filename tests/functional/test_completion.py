"""What a shell is offered when somebody presses Tab, and the script that makes it ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from payment_infra.cli import COMMANDS
from tests.functional.conftest import Cli, Program, refused

PROGRAMS = Path(sys.executable).parent
SHELLS = ("bash", "zsh", "fish")


def offered(program: Program, *words: str, shell: str = "bash") -> list[str]:
    """Return the lines that the shell's function is answered with; the last word is begun."""
    done = program(
        _PAYMENT_INFRA_COMPLETE=f"{shell}_complete",
        COMP_WORDS=" ".join(("payment-infra", *words)),
        COMP_CWORD=words[-1] if shell == "fish" else str(len(words)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_each_shell_is_offered_commands_in_its_own_form(program: Program) -> None:
    assert offered(program, "dep") == ["plain,deploy"]
    assert offered(program, "dep", shell="zsh") == ["plain", "deploy", COMMANDS["deploy"]]
    assert offered(program, "dep", shell="fish") == [f"plain,deploy\t{COMMANDS['deploy']}"]


def test_every_command_is_offered_in_its_order(program: Program) -> None:
    assert offered(program, "") == [f"plain,{name}" for name in COMMANDS]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--no",), ["--no-color"]),
        (("deploy", "--role"), ["--role-arn", "--role-path", "--role-prefix"]),
        (("list", "--output", ""), ["text", "json"]),
        (("deploy", "--preset", "p"), ["production"]),
        (("failed", "re"), ["redrive"]),
        (("completion", ""), list(SHELLS)),
        (("deploy", "--stack-name", "9", "--region"), ["--region"]),
        (("no-such-command", "--x"), []),
    ],
    ids=" ".join,
)
def test_options_choices_and_subcommands_are_offered(
    words: tuple[str, ...], expected: list[str], program: Program
) -> None:
    assert [line for line in offered(program, *words) if line] == [
        f"plain,{one}" for one in expected
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_all_that_goes_to_stdout(shell: str, cli: Cli) -> None:
    result = cli("completion", shell)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"_PAYMENT_INFRA_COMPLETE={shell}_complete" in result.stdout
    assert "payment-infra" in result.stdout
    assert result.stdout == cli("completion", shell).stdout


def test_bash_completes_by_the_script(clean: Path) -> None:
    script = """
source <(payment-infra completion bash)
complete -p payment-infra
COMP_WORDS=(payment-infra des); COMP_CWORD=1
_payment_infra_completion payment-infra
echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={"PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", "HOME": str(clean)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    function = "complete -o nosort -F _payment_infra_completion payment-infra"
    assert (done.stdout.splitlines(), done.stderr) == ([function, "destroy"], "")


@pytest.mark.parametrize("arguments", [(), ("tcsh",)], ids=["none", "another"])
def test_a_shell_that_is_not_known_is_told_those_that_are_in_one_line(
    arguments: tuple[str, ...], cli: Cli
) -> None:
    line = refused(cli("completion", *arguments), 2)
    assert all(shell in line for shell in SHELLS)
