"""Tries a gateway class with payments, where there is what a function has.

It is a program, run by `gateway_check`:

    python -I -S gateway_trial.py REQUEST < SECRET

The request is `conformance.Request` in JSON. Each check is a line of JSON on stdout, as it ends.
Whatever the gateway prints goes nowhere.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

    from payment_infra.conformance import Result


def main(text: str) -> None:
    """Do what the request says, and end; no thread that the gateway has started is waited for."""
    conformance = _beside("conformance")
    request = conformance.Request(**json.loads(text))
    told, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.path[:0] = request.folders
    sys.meta_path.append(_beside("gateway_probe").RuntimeFinder(request.runtime))
    secret = sys.stdin.read()
    made = getattr(import_module(request.module), request.name)
    for result in conformance.run(made, secret or None, request):
        _tell(told, result)
    os._exit(0)


def _beside(name: str) -> Any:
    """Return a module beside this one, where no folder of this one is on the path."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = module_from_spec(cast("ModuleSpec", spec))
    sys.modules[name] = module  # a dataclass looks itself up there
    cast("Loader", cast("ModuleSpec", spec).loader).exec_module(module)
    return module


def _tell(stream: TextIO, result: Result) -> None:
    stream.write(f"{json.dumps(asdict(result))}\n")
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1])
