"""What a function has in Lambda, in a folder of this machine, and how programs run there.

A Python of their own finds what Lambda has and nothing else: the files that every function's zip
holds, the dependency layer, the standard library, and what comes with the runtime.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from payment_infra.errors import PaymentInfraError
from payment_infra.interpreter import interpreter
from payment_infra.layer import FOLDER
from payment_infra.names import PROCESSING
from payment_infra.own_gateway import RUNTIME_LIBRARIES
from payment_infra.zips import unzip_files

# Some of what Lambda sets ("Using Lambda environment variables"), so that an SDK's client can be
# made while a module is imported. No call can succeed with these keys.
LAMBDA_ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_LAMBDA_FUNCTION_NAME": PROCESSING,
    "LANG": "C.UTF-8",
    "TZ": ":UTC",
}


@dataclass(frozen=True)
class FunctionFolder:
    """The folder, and what is where in it."""

    folder: Path

    @property
    def code(self) -> Path:
        """What /var/task is to a function."""
        return self.folder / "task"

    @property
    def libraries(self) -> Path:
        """What /opt/python is to a function."""
        return self.folder / "opt" / FOLDER

    def unpack(self, sources: dict[str, bytes], layer: bytes) -> None:
        """Put the files where they are imported from; Lambda unpacks the zips too."""
        try:
            for path, content in sources.items():
                file = self.code / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            for path, content in unzip_files(layer).items():
                file = self.libraries.parent / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        except (OSError, zipfile.BadZipFile) as error:
            raise PaymentInfraError(
                f"{self.folder}: handlers and dependency layer cannot be unpacked ({error}); "
                "make room there, or delete the layer from the user's cache folder"
            ) from error

    @property
    def path(self) -> tuple[str, ...]:
        """What comes first on the path of a program."""
        return str(self.code), str(self.libraries)

    def environment(self) -> dict[str, str]:
        """Return the whole environment: nothing of the caller's settings and secrets is in it."""
        # Without it, Windows has no random numbers.
        system = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        scratch = str(self.folder)
        return (
            {"PATH": os.defpath, "HOME": scratch, "TMPDIR": scratch} | LAMBDA_ENVIRONMENT | system
        )


def program(file: str, request: Any) -> list[str]:
    """Return the command of a program that is isolated (-I), without site-packages (-S), and leaves
    no bytecode behind (-B)."""
    return [interpreter(), "-I", "-S", "-B", file, json.dumps(asdict(request))]


def runtime_modules() -> dict[str, str]:
    """Return for each module of the runtime the folder that this machine has it in."""
    folders = {}
    for name in RUNTIME_LIBRARIES.values():
        spec = find_spec(name)
        if spec is not None and spec.origin:
            file = Path(spec.origin)
            folders[name] = str(file.parents[1] if spec.submodule_search_locations else file.parent)
    return folders
