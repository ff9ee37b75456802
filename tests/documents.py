"""The documents as a test reads them: pages, headings, tables, code spans and shell blocks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# How a shell block begins that is run as it stands.
RUNNABLE = "bash run"
PROGRAM = "payment-infra"

_FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2$\n?", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind the fence, and its lines without their indentation."""

    info: str
    text: str

    def commands(self) -> Iterator[str]:
        """Yield the commands of a shell block, each on one line, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()


@dataclass(frozen=True)
class Page:
    """A document of the repository."""

    path: Path

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(REPOSITORY).as_posix()

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        """The fenced blocks, in order."""
        return [
            Block(info.strip(), re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))
            for indent, _, info, body in _FENCE.findall(self.text)
        ]

    @cached_property
    def prose(self) -> str:
        """The text without the fenced blocks."""
        return _FENCE.sub("\n", self.text)

    @cached_property
    def spans(self) -> list[str]:
        """What stands in backticks outside of blocks, each on one line."""
        return [" ".join(text.split()) for _, text in _SPAN.findall(self.prose)]

    @cached_property
    def links(self) -> list[str]:
        """The targets of all links."""
        return _LINK.findall(_SPAN.sub("", self.prose))

    @cached_property
    def anchors(self) -> set[str]:
        """What GitHub calls the headings."""
        return {anchor(one) for one in re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)}

    def section(self, heading: str) -> str:
        """Return what stands below a heading, up to the next one of its level or above."""
        level = heading.partition(" ")[0]
        pattern = rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(level)}}} |\Z)"
        found = re.search(pattern, self.text, re.MULTILINE | re.DOTALL)
        assert found, f"{self.name} has no {heading}"
        return found[1]

    def rows(self, heading: str) -> list[list[str]]:
        """Return the cells of the tables below a heading, without the tables' own headings."""
        rows: list[list[str]] = []
        for line in self.section(heading).splitlines():
            if re.fullmatch(r"\|(-+\|)+", line):
                rows.pop()
            elif line.startswith("|"):
                rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
        return rows

    def command_lines(self) -> Iterator[list[str]]:
        """Yield the words of each command of ours in a shell block, or behind a prompt."""
        for block in self.blocks:
            prompt = "" if block.info.startswith("bash") else "$ "
            for line in block.commands():
                if line.startswith(f"{prompt}{PROGRAM} "):
                    yield words(line.removeprefix(prompt))


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def words(line: str) -> list[str]:
    """Return the words of a command, up to where the shell does something with it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if word in {"|", ">", "&&", ";", "&"}:
            break
        found.append(word)
    return found


def pages() -> list[Page]:
    """Return the README, the contributor's guide, the security policy and the pages of docs/."""
    paths = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [Page(path) for path in [*paths, *sorted((REPOSITORY / "docs").rglob("*.md"))]]
