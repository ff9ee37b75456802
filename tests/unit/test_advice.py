"""Commands that are advised lead to where the command line led: no text holds one of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from payment_infra.cli import COMMANDS, root

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted((REPOSITORY / "payment_infra").rglob("*.py"))
# What makes the whole command of its words: Stack, Environment, Session and a restore's Work; for
# the AWS CLI, Session.
MAKES_IT = frozenset({"command", "aws"})


def _calls_aws(name: str) -> bool:
    command = root.get_command(click.Context(root), name)
    if isinstance(command, click.Group):
        command = next(iter(command.commands.values()))
    assert command is not None
    return any(one.name == "endpoint_url" for one in command.params)


NAMES = "|".join(name for name in COMMANDS if _calls_aws(name))
ADVISED = re.compile(rf"`payment-infra ({NAMES})\b|payment-infra ({NAMES}) |`({NAMES}) --?[a-z]")
# A remedy is a format: see `diagnosis.REMEDIES`.
WITH_FLAGS = re.compile(rf"`payment-infra ({NAMES})\b[^`]* {{flags}}`")
# Of the AWS CLI's commands, those that call no service of an account are advised bare.
OF_AWS = re.compile(r"\baws (?!configure\b|sso\b)[a-z0-9]+ (wait )?[a-z]+-")


def _bare(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the texts that hold a command, but for docstrings and what makes it whole."""
    match node:
        case ast.Call(func=ast.Attribute(attr=attr)) if attr in MAKES_IT:
            return
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Constant(value=str(text)) if ADVISED.search(WITH_FLAGS.sub("", text)):
            yield node
        case ast.Constant(value=str(text)) if OF_AWS.search(text):
            yield node
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _bare(child)


def bare(source: str) -> list[int]:
    return [one.lineno for one in _bare(ast.parse(source))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_text_advises_a_command_without_what_leads_to_the_environment(path: Path) -> None:
    assert bare(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('f"{x}; `payment-infra deploy` makes it"', [1]),
        ('raise E(\n    "it "\n    "is (`payment-infra failed list`)"\n)', [2]),
        ('f"`payment-infra watch --stack-name {name}` shows it"', [1]),
        ('note("`restore --undo` goes back")', [1]),
        ('note("`payment-infra upload {flags}` and `payment-infra drift`")', [1]),
        ('f"payment-infra resume {named}"', [1]),
        ('note("`payment-infra upload {flags}` puts it there")', []),
        ("f\"`{stack.command('deploy')}` makes it\"", []),
        ('session.command("payment-infra deploy --suffix SUFFIX")', []),
        ('def f():\n    """Return what `payment-infra deploy` does."""', []),
        ('note("`payment-infra package` builds it")', []),
        ('note("needed by `deploy`")', []),
        ('f"`aws events enable-rule --name {name}`"', [1]),
        ('f"aws iam attach-{kind}-policy"', [1]),
        ('note("see `aws cloudformation list-change-sets`")', [1]),
        ("f\"`{session.aws('events enable-rule')}`\"", []),
        ('note("run `aws configure`, `aws sso login` or `aws configure list-profiles`")', []),
    ],
)
def test_the_rule_sees_what_it_is_for(source: str, lines: list[int]) -> None:
    assert bare(source) == lines
