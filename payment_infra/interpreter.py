"""The Python that runs this: for a subprocess that needs it, and as commands to copy into a shell.

A tool that is installed by uv or pipx lives in an environment of its own, whose Python is in no
`PATH`. So everything that is run, and everything that is advised, names it by its path.
"""

import os
import shlex
import sys
from importlib.util import find_spec

from payment_infra.errors import PaymentInfraError


def interpreter() -> str:
    """Return the path of the Python that runs this.

    Raises:
        PaymentInfraError: it is no program that can be started: it has been removed since, or is
            embedded in another program (the Python library reference, `sys.executable`).
    """
    if not os.access(sys.executable or "", os.X_OK):
        named = f"{sys.executable} is gone" if sys.executable else "sys.executable is empty"
        raise PaymentInfraError(
            f"another Python is to be started, and this one cannot be found ({named}); "
            "install payment-infra anew"
        )
    return sys.executable


def python_command(*arguments: str) -> str:
    """Return the shell command that gives the arguments to the Python that runs this."""
    return shlex.join([sys.executable or "python3", *arguments])


def pip_remedy() -> str:
    """Say how this Python gets pip, which payment-infra requires, back.

    Debian and those that descend from it keep `ensurepip` in a package of its own, python3-venv.
    """
    if find_spec("ensurepip") is None:
        return "install payment-infra anew, which brings pip"
    return f"`{python_command('-m', 'ensurepip')}` installs it"
