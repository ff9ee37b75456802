"""What keeps the embedded AWS, and this tool's calls to it, apart from whoever runs them here.

Neither the environment nor a file of the user decides anything: both are made anew, and what is in
them is written here.
"""

from __future__ import annotations

import os
import site
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import botocore.session

# How the interpreter, which has started with them, finds its own libraries.
INTERPRETER_VARIABLES = ("PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
ACCESS_KEY = "test"


def clean_environment(package: str, home: Path) -> dict[str, str]:
    """Return the whole environment of a process that runs a package of this interpreter.

    Args:
        package: what is to be found, with what it needs.
        home: the folder for all that it writes.
    """
    return {
        **{name: os.environ[name] for name in INTERPRETER_VARIABLES if name in os.environ},
        **_path_to(package),
        "PATH": os.defpath,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def _path_to(package: str) -> dict[str, str]:
    """Return what leads to a package where the interpreter alone would not look, as in a folder of
    the user's own (`pip install --user`)."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return {}
    folder = str(Path(spec.origin).parents[1])
    return {} if folder in site.getsitepackages() else {"PYTHONPATH": folder}


def clean_session() -> botocore.session.Session:
    """Return a session of the SDK that has the emulator's credentials, and for everything else the
    SDK's own defaults.

    Each variable of the session is given no place to come from (botocore, `session_vars` of
    Session), and models come from the SDK alone, not from AWS_DATA_PATH or ~/.aws/models.
    """
    import botocore.session
    from botocore.loaders import Loader

    variables: dict[str, Any] = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    # Sections of the file, and what has no default that says "nothing".
    for name in ("config_file", "credentials_file", "s3", "proxies_config"):
        variables[name] = (None, None, None, None)
    variables["ca_bundle"] = (None, None, True, None)  # or REQUESTS_CA_BUNDLE would be asked
    session = botocore.session.Session(session_vars=variables)
    loader = Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    session.register_component("data_loader", loader)
    session.set_credentials(ACCESS_KEY, ACCESS_KEY)
    return session
