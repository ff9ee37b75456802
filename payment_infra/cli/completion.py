"""`payment-infra completion`."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from payment_infra.cli import COMPLETE_VARIABLE
from payment_infra.cli.everywhere import PROGRAM, everywhere

SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@everywhere
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Write what completes commands and options in a shell.

    Put it into a folder where the shell looks for it, make that first, and open a new shell:

    \b
    bash:  payment-infra completion bash > ~/.local/share/bash-completion/completions/payment-infra
    zsh:   payment-infra completion zsh > ~/.zfunc/_payment-infra
           (with fpath+=~/.zfunc before compinit in ~/.zshrc)
    fish:  payment-infra completion fish > ~/.config/fish/completions/payment-infra.fish

    \b
    Example:
      payment-infra completion bash
    """
    script = SHELLS[shell](ctx.find_root().command, {}, PROGRAM, COMPLETE_VARIABLE).source()
    click.echo(script, nl=False)
