"""What every command has: its group, and the options that are taken before its name or after it."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

PROGRAM = "payment-infra"
# What click's context keeps for us, by name.
DEBUG = "payment_infra.debug"
ENTERED = "payment_infra.entered"

TAKE_OVER = "--take-over"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Group(click.Group):
    """A group of commands that says which one was probably meant, as click does of options."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name, and what follows its name."""
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            close = "".join(f" Did you mean {one!r}?" for one in get_close_matches(name, names, 1))
            raise click.UsageError(f"No such command {name!r}.{close}", ctx)
        return super().resolve_command(ctx, args)


def everywhere(function: Decorated) -> Decorated:
    """Add --debug and --no-color, which act by themselves and are not passed on."""
    for decorate in (
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_debug,
            help="Show the traceback of an error.",
        ),
        click.option(
            "--no-color",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_no_color,
            help="Write without colour, as with NO_COLOR.",
        ),
    ):
        function = decorate(function)
    return function


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[DEBUG] = value or ctx.meta.get(DEBUG, False)


def _no_color(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value or os.environ.get("NO_COLOR"):
        ctx.find_root().color = ctx.color = False


def entered() -> str:
    """Return the command line that is being run, as a person can enter it again.

    What it takes over is left out: that names one holder of the lock, who will be another one then.
    """
    import shlex

    words = [PROGRAM, *click.get_current_context().meta.get(ENTERED, ())]
    if TAKE_OVER in words:
        place = words.index(TAKE_OVER)
        del words[place : place + 2]
    return shlex.join(word for word in words if not word.startswith(f"{TAKE_OVER}="))
