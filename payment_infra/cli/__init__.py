"""The command line: the root group, which loads a command's module only when it is called."""

import atexit
import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from payment_infra import __version__
from payment_infra.cli import interruption, streams
from payment_infra.cli.everywhere import DEBUG, ENTERED, PROGRAM, Group, everywhere
from payment_infra.errors import Interrupted, PaymentInfraError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Purpose to commands, each with its module's line of help. They are written here so that --help
# imports no command.
SECTIONS = {
    "Make the template": {
        "render": "Write the CloudFormation template; offline.",
        "validate": "Check a template with cfn-lint.",
        "config": "Show every setting, its value, and where it came from.",
        "openapi": "Write the OpenAPI document of the API; offline.",
        "gateway": "Try a payment gateway before anybody pays with it.",
        "package": "Write the zips of functions and dependencies.",
    },
    "Deploy it": {
        "bootstrap": "Make the bucket for the zips, once per account and region.",
        "upload": "Put zips and template into the bucket.",
        "deploy": "Create or update the stack.",
        "diff": "Show what a deployment would change.",
        "watch": "Show the operation in progress on the stack.",
        "cancel": "Cancel the deployment in progress.",
        "rollback": "Undo what a failed deployment has left.",
        "destroy": "Delete the stack.",
    },
    "See how it is": {
        "status": "Show on one screen how an environment is.",
        "list": "List the environments of the region, in any state.",
        "health": "Ask the API how it is.",
        "logs": "Show the logs of all functions, in the order of time.",
        "metrics": "Draw the dashboard's widgets in the terminal.",
        "outputs": "Print the outputs of the deployed stack.",
        "drift": "Show what was changed outside of CloudFormation.",
        "doctor": "Check this machine and the access to AWS; changes nothing.",
        "smoke": "Check a deployed stack with real requests.",
    },
    "Mend it": {
        "payment": "See, settle and cancel one payment; list those with a status.",
        "failed": "See, repeat and remove failed transactions.",
        "reconcile": "Compare payments with the gateway's own list.",
        "subscribe": "Say who is told of alarms.",
        "export": "Write transactions as JSON lines, for reconciliation.",
        "restore": "Bring the payments of an earlier moment back.",
        "resume": "Let payments in, whatever has stopped them.",
    },
    "On this machine": {
        "local": "Run the stack on this machine, without an AWS account.",
        "completion": "Write what completes commands and options in a shell.",
    },
}
# What a shell that completes a line calls the program with (click, "Shell Completion").
COMPLETE_VARIABLE = "_PAYMENT_INFRA_COMPLETE"
COMMANDS = {name: text for commands in SECTIONS.values() for name, text in commands.items()}


class Root(Group):
    """The group that finds its commands by name, and turns every failure into one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was entered, for a hint that repeats it."""
        ctx.meta[ENTERED] = tuple(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _refuse(ctx, error)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which a newcomer needs them."""
        return [*COMMANDS]  # the command `list`, once loaded, hides the class of that name

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"payment_infra.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """Return the commands and options that begin so, without importing a command."""
        from click.shell_completion import CompletionItem

        options = click.Command.shell_complete(self, ctx, incomplete)
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        return [*(CompletionItem(name, help=COMMANDS[name]) for name in names), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by their purpose, without importing them."""
        width = max(map(len, COMMANDS))
        for purpose, commands in SECTIONS.items():
            with formatter.section(purpose):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; this is the outermost edge, where every exception ends."""
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:
            raise
        except click.UsageError as error:
            _refuse(ctx, error)
        except PaymentInfraError as error:
            _fail(ctx, str(error), error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            _fail(ctx, "interrupted", Interrupted.exit_code)
        except OSError as error:
            _fail(ctx, _told(error), 1)
        except Exception as error:  # noqa: BLE001
            first_line = next(iter(str(error).splitlines()), "")
            kind = type(error).__name__
            _fail(ctx, f"unexpected {kind}: {first_line}; --debug shows where it came from", 1)


def _refuse(ctx: click.Context, error: click.UsageError) -> NoReturn:
    """Say in one line what is wrong with a command line; of one that says nothing, give help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=not streams.errors_are_unseen())
        ctx.exit(error.exit_code)
    if isinstance(error, click.NoSuchOption) and error.ctx:
        _suggest_shown(error, error.ctx)
    # An option without its value has no context, but its command was chosen before.
    chosen = f"{ctx.command_path} {ctx.invoked_subcommand or ''}".rstrip()
    path = error.ctx.command_path if error.ctx else chosen
    message = " ".join(error.format_message().split())  # a list of choices has lines
    _fail(ctx, f"{message} (see `{path} --help`)", error.exit_code)


def _suggest_shown(error: click.exceptions.NoSuchOption, ctx: click.Context) -> None:
    """Have a suggestion name no option that is hidden, and none by a name that it had earlier."""
    hidden: set[str] = set()
    renamed: dict[str, str] = {}
    for parameter in ctx.command.params:
        if getattr(parameter, "hidden", False):
            hidden.update(parameter.opts)
        renamed |= dict.fromkeys(getattr(parameter, "earlier", ()), parameter.opts[-1])
    if error.possibilities:
        shown = (renamed.get(name, name) for name in error.possibilities if name not in hidden)
        error.possibilities[:] = dict.fromkeys(shown)


def _fail(ctx: click.Context, message: str, exit_code: int) -> NoReturn:
    from payment_infra.foreign import escaped

    interruption.end_at_once()
    if ctx.meta.get(DEBUG):
        import traceback

        traceback.print_exc()
    unseen = streams.errors_are_unseen()
    click.secho(f"Error: {escaped(message)}", fg="red", err=not unseen)
    ctx.exit(interruption.status(exit_code))


def _told(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name=PROGRAM)
@everywhere
def root() -> None:
    """Generate, ship and operate a resilient payment processing API on AWS.

    \b
    payment-infra render                     the template, offline
    payment-infra deploy --suffix dev-001    the stack, in your AWS account
    payment-infra local                      the same stack, on this machine
    """


def main() -> None:
    """Run the command line."""
    streams.prepare()
    # What a command imports and builds stays until it ends: to look through it for garbage again
    # and again takes a tenth of its time, and the interpreter's own look at the end another.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    interruption.handle()
    try:
        root.main(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE)
    except OSError as error:  # of --help or --version, which no command is needed for
        click.secho(f"Error: {_told(error)}", fg="red", err=True)
        sys.exit(1)
