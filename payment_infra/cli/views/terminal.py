"""How a command shows an operation on a stack, and asks about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from payment_infra.cli.interruption import status
from payment_infra.cli.views.drawing import is_drawable
from payment_infra.cli.views.output import check_answers, confirm
from payment_infra.errors import Declined, Interrupted, PaymentInfraError

if TYPE_CHECKING:
    from payment_infra.cli.views.progress import View
    from payment_infra.cloud.events import Event


class TerminalOperator:
    """Shows what happens, and asks the person at the terminal."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._agreed = False

    def tell(self, event: Event) -> None:
        """Show what happened."""
        self._view.tell(event)

    def check_answers(self, agreed: bool) -> None:
        """Refuse at once where nobody can answer; see `output.check_answers`."""
        check_answers(agreed)

    def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None:
        """Ask, unless it has been agreed to; see `output.confirm`."""
        self._view.pause()
        try:
            confirm(question, agreed, flag)
        except Declined as declined:
            if self._agreed:  # and what that was a question of may have been done
                raise Declined("declined; nothing more was changed") from declined
            raise
        self._agreed = True


@contextmanager
def at_terminal(stack_name: str, output: str) -> Iterator[TerminalOperator]:
    """Show an operation while the block lasts.

    Args:
        stack_name: the stack's.
        output: "text", or "json" for NDJSON, in which an error has a line too.
    """
    from payment_infra.cli.views.progress import view

    terminal = sys.stderr.isatty() and is_drawable() and os.environ.get("CI") != "true"
    with view(output, stack_name, terminal=terminal) as shown:
        try:
            yield TerminalOperator(shown)
        except PaymentInfraError as error:
            error.exit_code = status(error.exit_code)
            shown.fail(error)
            raise
        except (KeyboardInterrupt, click.Abort):
            interrupted = Interrupted("interrupted")
            interrupted.exit_code = status()
            shown.fail(interrupted)
            raise
