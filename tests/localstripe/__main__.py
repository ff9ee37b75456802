"""`python -m tests.localstripe`: Stripe's stand-in on this machine, to try things by hand.

It prints where it is, and a secret for a gateway, until Ctrl-C ends it. `--notify` is the URL that
notifications are sent to; `--secret-file` a file that the secret is written to. What else there is
to call, `serving.py` says.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.localstripe.standin import stripe

if TYPE_CHECKING:
    from tests.localstripe.notices import Event


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.localstripe", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where it listens; any free one")
    parser.add_argument("--notify", metavar="URL", help="where notifications are sent")
    parser.add_argument("--secret-file", type=Path, metavar="F", help="where the secret is written")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt), stripe(options.port) as account:
        print(f"Stripe's stand-in is at {account.url}; Ctrl-C ends it. A secret for it:")
        if options.secret_file:
            _write(options.secret_file, account.secret())
        print(account.secret(), flush=True)
        if options.notify:
            account.notify(options.notify, _told)
        threading.Event().wait()


def _write(file: Path, secret: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(secret)


def _told(event: Event, answered: str) -> None:
    print(f"{event.kind} {event.payment['id']}: {answered}", file=sys.stderr)


if __name__ == "__main__":
    main()
