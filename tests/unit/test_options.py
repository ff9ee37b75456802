"""What holds for the options of all commands: a meaning has one name, and a name one meaning."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from payment_infra.cli import root
from payment_infra.cli.option_types import Renamed
from payment_infra.cli.sections import SHARED
from payment_infra.config import FIELDS, SECTIONS
from tests.reference import commands, flags

PACKAGE = Path(root.callback.__code__.co_filename).parents[1]  # type: ignore[union-attr]
COMMANDS = commands()
# Every option that is no setting, once, with what follows it.
READ = {
    "--config": "FILE",
    "--stack-policy": "FILE",
    # Of the gateway that a command is about, and of the one that a stack on this machine has.
    "--secret-file": "FILE",
    "--gateway-secret-file": "FILE",
}
# The result; what is saved before it is deleted; and what is written besides the result.
WRITTEN = {"--out": "FILE or DIR", "--export": "FILE", "--report": "FILE", "--state": "DIR"}
MOMENTS = {"--since", "--to", "--until"}
SPANS = {"--interval": "SECONDS", "--drain": "SECONDS", "--timeout": "MINUTES"}
# What says in which form something is written: what is shown, and the template.
FORMS = {"--output": ("text", "json"), "--format": ("yaml", "json")}
LETTERS = {
    "-h": "--help",
    "-o": "--out",
    "-y": "--yes",
    "-v": "--verbose",
    "-f": "--follow",
}


def own(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command that are no settings."""
    return {text: one for text, one in flags(command).items() if one.name not in FIELDS}


def named(chosen: Callable[[str, click.Option], bool]) -> set[str]:
    """Return the long names of all options that are chosen, in all commands."""
    return {
        one.opts[-1]
        for command in COMMANDS.values()
        for one in own(command).values()
        if chosen(metavar(one), one)
    }


def metavar(option: click.Option) -> str:
    """Return what follows an option, "" for a flag."""
    return "" if option.is_flag else option.make_metavar(click.Context(root))


def test_an_option_is_written_alike_in_every_command() -> None:
    forms: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for text, option in own(command).items():
            forms.setdefault(text, set()).add(metavar(option))
    assert {text: form for text, form in forms.items() if len(form) > 1} == {
        "-o": {"FILE", "DIR"},
        "--out": {"FILE", "DIR"},
    }


def test_what_is_read_and_written_has_one_name_for_each_meaning() -> None:
    assert named(lambda form, _: form in {"FILE", "DIR"}) == {*READ, *WRITTEN}
    for name, command in COMMANDS.items():
        assert ("-o" in flags(command)) == ("--out" in flags(command)), name


def test_times_spans_and_forms_have_one_name_each() -> None:
    assert named(lambda form, _: form == "TIME") == MOMENTS
    assert {
        one.opts[-1]: metavar(one)
        for command in COMMANDS.values()
        for one in own(command).values()
        if metavar(one) in {"SECONDS", "MINUTES", "HOURS", "DAYS"}
    } == SPANS
    assert {
        one.opts[-1]: tuple(one.type.choices)
        for command in COMMANDS.values()
        for one in own(command).values()
        if isinstance(one.type, click.Choice) and "json" in one.type.choices
    } == FORMS


def test_a_letter_is_short_for_the_same_option_everywhere() -> None:
    for name, command in COMMANDS.items():
        for text, option in flags(command).items():
            if not text.startswith("--"):
                assert option.opts[-1] == LETTERS[text], name


def test_a_number_is_told_as_what_it_is() -> None:
    assert not named(lambda form, _: form in {"INTEGER RANGE", "FLOAT RANGE", "INTEGER", "TEXT"})


# Command and the names that its options had, to those that they have.
EARLIER = {
    ("export", "--output-file"): "--out",
    ("export", "--force"): "--overwrite",
    ("package", "--out-dir"): "--out",
}


def test_earlier_names_are_those_that_scripts_may_have() -> None:
    assert {
        (name, earlier): option.opts[-1]
        for name, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, Renamed)
        for earlier in option.earlier
    } == EARLIER


@pytest.mark.parametrize(("command", "earlier"), EARLIER, ids=" ".join)
def test_an_earlier_name_is_taken_and_shown_nowhere(command: str, earlier: str) -> None:
    assert earlier not in flags(COMMANDS[command])
    assert earlier not in CliRunner().invoke(root, [command, "--help"]).output
    name = EARLIER[command, earlier]
    option = flags(COMMANDS[command])[name]
    given = (earlier,) if option.is_flag else (earlier, "there")
    context = COMMANDS[command].make_context(command, list(given))
    assert context.params[option.name or ""] == (
        True if option.is_flag else context_value("there", option)
    )


def context_value(text: str, option: click.Option) -> object:
    """Return what an option makes of a text."""
    return option.type.convert(text, option, None)


def test_a_suggestion_names_what_help_has() -> None:
    told = CliRunner().invoke(root, ["package", "--outdir", "there"]).stderr
    assert told.startswith("Error: No such option '--outdir'. Did you mean '--out'?")
    told = CliRunner().invoke(root, ["status", "--prest", "production"]).stderr
    assert "--preset" not in told


# Where a preset says something: all settings count, or which of them are checked.
WITH_PRESET = {"render", "validate", "config", "upload", "deploy", "diff", "doctor", "local"}


def test_a_preset_is_offered_where_it_sets_something() -> None:
    assert {name for name, one in COMMANDS.items() if "--preset" in flags(one)} == WITH_PRESET


def test_a_preset_is_taken_from_scripts_elsewhere() -> None:
    context = COMMANDS["status"].make_context("status", ["--preset", "production"])
    assert context.params["preset"] == "production"


def test_yes_says_which_questions_it_does_not_answer() -> None:
    """They are those that are asked with an answer of their own; --yes is that of --wait, too."""
    answers = {
        answer
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and "confirm" in ast.unparse(call.func).split(".")
        for answer in (
            word for word in ast.unparse(call).replace("'", " ").split() if word[:2] == "--"
        )
    }
    told = {
        text.rstrip(".")
        for command in COMMANDS.values()
        if (option := flags(command).get("--yes"))
        for text in (option.help or "").split()
        if text.startswith("--")
    }
    assert told == answers - {"--yes", "--wait"} == {"--allow", "--confirm-discard", "--mismatched"}


def test_settings_have_the_sections_of_their_source() -> None:
    assert [name for names in SECTIONS.values() for name in names] == list(FIELDS)
    source = (PACKAGE / "config.py").read_text()
    comments = re.findall(r"\n\n    # (.+)\.\n    (\w+):", source)
    assert {title: names[0] for title, names in SECTIONS.items()} == {
        "The environment": "suffix",
        **dict(comments),
    }


SECTIONED = ("render", "validate", "config", "upload", "deploy", "diff", "local")


@pytest.mark.parametrize("command", SECTIONED)
def test_help_has_the_own_options_first_and_settings_in_sections(command: str) -> None:
    shown = CliRunner().invoke(root, [command, "--help"], terminal_width=80).stdout
    assert max(map(len, shown.splitlines())) <= 80
    found: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if heading := re.fullmatch(r"([A-Z].*):", line):
            title = heading[1]
            found[title] = []
        elif option := re.match(r"  (?:-\w, )?(--[a-z-]+)", line):
            found[title].append(option[1])
    options = flags(COMMANDS[command])
    names = {text: option.name for text, option in options.items()}
    assert {name for rows in found.values() for name in rows} <= set(options)
    of_settings = {title: [names[row] for row in found.get(title, [])] for title in SECTIONS}
    assert of_settings == {
        title: [name for name in fields if name in names.values()]
        for title, fields in SECTIONS.items()
    }
    elsewhere = [flag for shared in SHARED.values() for flag in shared]
    own = [
        option.opts[-1]
        for option in dict.fromkeys(options.values())
        if option.name not in FIELDS and option.opts[-1] not in elsewhere
    ]
    assert found.get("Options", []) == own
    assert [*found] == [title for title in ("Options", *SHARED, *SECTIONS) if found.get(title)]
