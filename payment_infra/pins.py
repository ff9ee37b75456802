"""The lines of a requirements file that name one version of one library, with its hashes."""

import re
from collections.abc import Iterator, Mapping

from payment_infra.errors import UsageError

# "Requirements File Format" and "Secure installs" of pip. An environment marker is none: what it
# comes to differs between machines.
PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*==\s*(?P<version>[A-Za-z0-9.!+_-]+)"
    r"(\s+--hash[=\s]sha(256|384|512):[0-9a-f]+)+"
)


def read_pins(text: str, file: object) -> Mapping[str, str]:
    """Return what a requirements file pins: a library's normalized name to its version.

    Args:
        text: the file's.
        file: what a message calls it.

    Raises:
        UsageError: a line is anything else; says which.
    """
    pins: dict[str, str] = {}
    for number, line in _lines(text):
        pin = PIN.fullmatch(line)
        if pin is None:
            raise UsageError(
                f"{file}:{number}: {line.split()[0]} is not pinned as NAME==VERSION with --hash, "
                "and nothing else; `pip-compile --generate-hashes` or `uv pip compile "
                "--generate-hashes` writes such lines"
            )
        name = normalized(pin["name"])
        if name in pins:
            raise UsageError(f"{file}:{number}: {name} is pinned twice; leave one of them out")
        pins[name] = pin["version"]
    return pins


def normalized(name: str) -> str:
    """Return a library's name as they are compared ("Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield each line that says something, with its number; `\` at the end continues one."""
    parts: list[str] = []
    first = 0
    for number, raw in enumerate(text.splitlines(), 1):
        bare = re.sub(r"(^|\s)#.*", "", raw)
        first = first if parts else number
        parts.append(bare.rstrip().removesuffix("\\").strip())
        if not bare.rstrip().endswith("\\"):
            if line := " ".join(filter(None, parts)):
                yield first, line
            parts = []
    if line := " ".join(filter(None, parts)):
        yield first, line
