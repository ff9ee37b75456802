"""What ends a command from outside: Ctrl-C, a request to terminate, the end of its terminal.

All are taken alike: the first interrupts, so that what was begun is cleaned up; the second of its
kind interrupts the clean-up, so that what is left is told; the third ends the program at once. A
terminal's end can come as several signals, of its shell and of the system (Linux kernel,
drivers/tty: `disassociate_ctty`), and a service manager sends it after its request to terminate
(systemd.kill, `SendSIGHUP=`), so that another kind of signal is no second one, and neither is
another SIGHUP.
"""

import os
import signal
from typing import Any

from payment_infra.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a live view has hidden (ECMA-48 private mode 25, as in xterm's control sequences).
STDERR, SHOW_CURSOR = 2, b"\x1b[?25h"
# A shell gives 128 and the signal's number for a program that a signal has ended (POSIX, "Exit
# Status for Commands").
BY_SIGNAL = 128

# What has come, in its order.
_received: list[int] = []


def handle(*, ignored: tuple[signal.Signals, ...] = ()) -> None:
    """Have the signals interrupt the program from now on, but for those that are ignored.

    Args:
        ignored: those that interrupt it even if whoever started it has them ignored.
    """
    for number in SIGNALS:
        if number in ignored or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def end_at_once() -> None:
    """Have the next signal end the program: there is nothing left to clean up."""
    for number in SIGNALS:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, _end)


def status(exit_code: int = Interrupted.exit_code) -> int:
    """Return the exit code of what ends so: of what is interrupted, that of its first signal."""
    if exit_code == Interrupted.exit_code and _received:
        return BY_SIGNAL + _received[0]
    return exit_code


def _interrupt(number: int, _: Any) -> None:
    """Raise for the first signal, and for the second of its kind."""
    _received.append(number)
    times = _received.count(number)
    if len(_received) == 1 or (times == 2 and number != signal.SIGHUP):
        raise KeyboardInterrupt
    if times > 2 and number != signal.SIGHUP:
        _end(number, None)


def _end(number: int, _: Any) -> None:
    """End the program at once, whatever still takes its time."""
    if os.isatty(STDERR):
        os.write(STDERR, SHOW_CURSOR)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(signal.Signals(number))
