"""Imports a gateway class as a function would, and says what is wrong with it.

It is a program, run by `gateway_check` in a Python that has the standard library alone:

    python -I -S gateway_probe.py REQUEST

The request is JSON, and so is the answer, a finding or null, in the file that the request names.
The class is looked at, and not made: it might talk to somebody.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partialmethod
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

# How the handlers call a gateway's methods: what they give by place, and what by name.
Calls = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
CALLS: Calls = {
    "charge": (("transaction",), ("idempotency_key",)),
    "find": (("idempotency_key",), ()),
}
# Of a gateway in two steps, which is one that has `confirm`.
TWO_STEP_CALLS: Calls = {
    "prepare": (("transaction",), ("idempotency_key",)),
    "fetch": (("payment_id",), ()),
    "confirm": (("payment_id",), ("idempotency_key", "return_url")),
    "cancel": (("payment_id",), ("idempotency_key",)),
    "find": (("transaction",), ()),
    "digits": (("currency",), ()),
}
# Of one that notifies, which is in two steps.
NOTIFYING_CALLS: Calls = {"notification": (("headers", "body", "now"), ())}
# Of one that can list its payments, which is one in two steps that has `payments`.
LISTING_CALLS: Calls = {"payments": (("since", "until", "cursor"), ())}
# What /validate can be given for a gateway that needs it.
NEEDS = frozenset({"payment_method", "return_url"})


@dataclass(frozen=True)
class Request:
    """What to import, and from where.

    folders come first on the path, and beside the standard library nothing else does; runtime says
    for each module that Lambda's runtime has, and no layer need hold, which folder it is in.
    notifies is whether the gateway has to tell by itself what becomes of payments.
    """

    module: str
    name: str
    folders: tuple[str, ...]
    runtime: Mapping[str, str]
    answer: str
    notifies: bool = False


@dataclass(frozen=True)
class Finding:
    """Something is wrong: the import fails, there is no such class, or the class lacks something.

    frames are file and line of where it happened, the innermost last. missing is the name of a
    module that was not found.
    """

    kind: Literal["import", "class", "protocol"]
    text: str
    frames: tuple[tuple[str, int], ...] = ()
    missing: str = ""
    syntax: bool = False


class RuntimeFinder:
    """Finds the modules that Lambda's runtime has, and none that lies beside them here."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: object = None, target: Any = None) -> ModuleSpec | None:
        """Return a top-level module's spec; what is in a package is found by the package."""
        folder = self._folders.get(name) if path is None else None
        return None if folder is None else PathFinder.find_spec(name, [folder], target)


def main(text: str) -> None:
    """Do what the request says, and end; threads that the import has started are not waited for."""
    request = Request(**json.loads(text))
    sys.path[:0] = request.folders
    sys.meta_path.append(RuntimeFinder(request.runtime))
    finding = examine(request.module, request.name, notifies=request.notifies)
    Path(request.answer).write_text(json.dumps(finding and asdict(finding)), encoding="utf-8")
    os._exit(0)


def examine(module: str, name: str, *, notifies: bool = False) -> Finding | None:
    """Import the module, and look at the class of that name; None if all is well."""
    try:
        imported = import_module(module)
    except BaseException as error:  # noqa: BLE001 - whatever it raises, or whether it exits
        return _failed(error)
    made = getattr(imported, name, None)
    if not inspect.isclass(made):
        return Finding("class", f"{name} is no class")
    problems = ", ".join(_problems(made, notifies))
    return Finding("protocol", f"{name} {problems}", _place(made)) if problems else None


def _failed(error: BaseException) -> Finding:
    frames = [
        (frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)
    ]
    syntax = isinstance(error, SyntaxError)
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno or 0))
    missing = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return Finding("import", f"{type(error).__name__}: {text}", tuple(frames), missing, syntax)


def _place(made: type) -> tuple[tuple[str, int], ...]:
    try:
        return ((inspect.getfile(made), inspect.getsourcelines(made)[1]),)
    except (OSError, TypeError):
        return ()


def _problems(made: type, notifies: bool) -> Iterator[str]:
    """Yield what a gateway's class lacks (the protocol in handlers/shared/gateway.py)."""
    if inspect.isabstract(made):
        yield f"is abstract ({', '.join(sorted(getattr(made, '__abstractmethods__', ())))})"
    two_steps = _has(made, "confirm")
    calls = {**(TWO_STEP_CALLS if two_steps else CALLS), **(NOTIFYING_CALLS if notifies else {})}
    if two_steps and callable(getattr(made, "payments", None)) and _has(made, "payments"):
        calls = {**calls, **LISTING_CALLS}
    for name, (given, named) in calls.items():
        yield from _method(made, name, given, named)
    yield from _needs(made) if two_steps else _retention(made)
    if notifies and not two_steps:
        yield "charges in one step, and gateway_events takes a gateway in two"
    # A protocol's own __init__ takes anything, and passes it on to object's, which takes nothing.
    passes_on = getattr(inspect.getattr_static(made, "__init__"), "__module__", "") == "typing"
    if passes_on or not _accepts(made, ("secret",)):
        yield "cannot be called with one argument, the secret's text or None"


def _retention(made: type) -> Iterator[str]:
    if not _has(made, "KEY_RETENTION"):
        yield "has no KEY_RETENTION"
    else:
        retention = made.KEY_RETENTION  # type: ignore[attr-defined]
        if not isinstance(retention, timedelta) or retention <= timedelta(0):
            yield "has a KEY_RETENTION that is no timedelta above 0"


def _needs(made: type) -> Iterator[str]:
    needs = getattr(made, "NEEDS", None) if _has(made, "NEEDS") else None
    if not isinstance(needs, Set) or not needs <= NEEDS:
        yield f"has no NEEDS, a set of some of {', '.join(sorted(NEEDS))}"


def _method(made: type, name: str, given: tuple[str, ...], named: tuple[str, ...]) -> Iterator[str]:
    method = _bound(made, name) if _has(made, name) else None
    if not callable(method):
        yield f"has no method {name}"
    elif not _accepts(method, given, named):
        call = ", ".join((*given, *(f"{argument}=..." for argument in named)))
        yield f"has a method {name} that cannot be called as {name}({call})"
    elif inspect.iscoroutinefunction(method):
        yield f"has a method {name} that is async, and nobody awaits it"


def _has(made: type, name: str) -> bool:
    """Whether the class has it, and not from a protocol, whose methods do nothing."""
    owner = next((base for base in made.__mro__ if name in vars(base)), None)
    return owner is not None and not vars(owner).get("_is_protocol", False)


def _bound(made: type, name: str) -> Any:
    """Return the attribute as an instance has it, without an instance."""
    found = inspect.getattr_static(made, name)
    if isinstance(found, FunctionType | partialmethod | staticmethod | classmethod):
        return found.__get__(object(), made)
    return getattr(made, name)


def _accepts(
    called: Callable[..., object], given: tuple[str, ...], named: tuple[str, ...] = ()
) -> bool:
    try:
        _signature(called).bind(*given, **dict.fromkeys(named))
    except ValueError:  # what is not written in Python may have no signature
        return True
    except TypeError:
        return False
    return True


def _signature(called: Callable[..., object]) -> inspect.Signature:
    """Return the signature; annotations may name what only a type checker imports (PEP 649)."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(called, annotation_format=Format.FORWARDREF)
    return inspect.signature(called)


if __name__ == "__main__":
    main(sys.argv[1])
