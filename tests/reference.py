"""The reference of the commands' options, as docs/commands.md has it: written from the commands.

What commands share stands there once, and is only named at each command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from payment_infra.cli import COMMANDS, SECTIONS, root
from payment_infra.cli.sections import SHARED
from payment_infra.config import FIELDS
from tests.documents import anchor

Command = click.Command
SETTINGS = "Settings"
# How a table's cell has a bar of its own.
CELL_BAR = r"\|"


def flags(command: Command) -> dict[str, click.Option]:
    """Return every way to write every option of a command that is shown, and the option."""
    context = click.Context(command, info_name=command.name, help_option_names=["-h", "--help"])
    return {
        text: option
        for option in command.get_params(context)
        if isinstance(option, click.Option) and not option.hidden
        for text in (*option.opts, *option.secondary_opts)
    }


def commands() -> dict[str, Command]:
    """Return every command by its name, the commands of a group included: `failed list`."""
    found: dict[str, Command] = {}
    context = click.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": one for inner, one in command.commands.items()}
    return found


def reference() -> str:
    """Return the reference as Markdown: what commands share, then each command."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    found = commands()
    every = {text: option for one in found.values() for text, option in flags(one).items()}
    for heading, names in SHARED.items():
        yield from (f"### {heading}", "", *_table(every[name] for name in names), "")
    deploy = flags(found["deploy"])
    yield from (
        f"### {SETTINGS}",
        "",
        "[Configuration](configuration.md) says what each means.",
        "",
    )
    yield from (*_table(deploy[_flag(name)] for name in FIELDS), "")
    for purpose, names_of_section in SECTIONS.items():
        yield from (f"### {purpose}", "")
        for name, command in found.items():
            if name.partition(" ")[0] in names_of_section:
                yield from (*_command(name, command), "")


def _command(name: str, command: Command) -> Iterator[str]:
    arguments = [
        one.make_metavar(click.Context(command))
        for one in command.params
        if isinstance(one, click.Argument)
    ]
    yield from (f"#### `{' '.join([name, *arguments])}`", "", _sentence(command.help), "")
    options = list(dict.fromkeys(flags(command).values()))
    settings = [one for one in options if one.name in FIELDS]
    shared = {name for names in SHARED.values() for name in names}
    own = [one for one in options if one not in settings and not shared & set(one.opts)]
    if own:
        yield from (*_table(own), "")
    yield f"Also: {', '.join(_also(options, settings))}."


def _also(options: list[click.Option], settings: list[click.Option]) -> Iterator[str]:
    if len(settings) > len(FIELDS) // 2:
        missing = [f"`{_flag(name)}`" for name in FIELDS if name not in {s.name for s in settings}]
        but = f" but {' and '.join(missing)}" if missing else ""
        yield f"[{SETTINGS}](#{anchor(SETTINGS)}){but}"
    else:
        yield from (f"`{one.opts[-1]}`" for one in settings)
    given = {text for one in options for text in one.opts}
    for heading, names in reversed(SHARED.items()):
        if set(names) <= given:
            yield f"[{heading}](#{anchor(heading)})"
        else:
            yield from (f"`{name}`" for name in names if name in given)


def _table(options: Iterator[click.Option] | list[click.Option]) -> Iterator[str]:
    yield from ("| Option | Does |", "|---|---|")
    for option in options:
        context = click.Context(root)
        metavar = "" if option.is_flag else f" {option.make_metavar(context)}"
        names = [f"`{text}{metavar}`" for text in (*option.opts, *option.secondary_opts)]
        record = option.get_help_record(context)
        text = record[1] if record else ""
        cells = (", ".join(names), " ".join(text.split()))
        yield f"| {' | '.join(cell.replace('|', CELL_BAR) for cell in cells)} |"


def _flag(setting: str) -> str:
    return "--tag" if setting == "tags" else f"--{setting.replace('_', '-')}"


def _sentence(text: str | None) -> str:
    return re.split(r"\n\s*\n", (text or "").strip())[0].replace("\n", " ")
