"""How a change set, and the difference from what is deployed, are drawn for a person."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from payment_infra.cli.views.text import columns, cut, draw_gateway
from payment_infra.rendering import describe

if TYPE_CHECKING:
    from payment_infra.cloud.events import Change, Preview
    from payment_infra.difference import Comparison
    from payment_infra.grants import GrantChange

SIGNS = {
    "Add": ("+", "green"),
    "Modify": ("~", "yellow"),
    "Remove": ("-", "red"),
    "Import": ("<", "green"),
}
# As wide as the longest action that a template of ours has.
ACTION_WIDTH = 32
INDENT = "    "
GAP = "  "
# What a long value is taken apart into where it has no room: words, and the parts of an ARN.
PARTS = re.compile(r".+?(?:\s+|/|(?<!arn|aws|..:):(?![:*])\s*|$)")


def draw(preview: Preview, width: int) -> str:
    """Return a change set as styled text: its changes, what it grants, and what data it may lose.

    Args:
        preview: the change set.
        width: of the terminal, in columns; no line is longer.
    """
    verb = "creates" if preview.creates else "changes"
    where = f"account {preview.account}, {preview.region}"
    heading = f"This {verb} {preview.stack} in {where}: {preview.counts}"
    lines = [click.style(line, bold=True) for line in textwrap.wrap(heading, width)]
    if preview.gateway:
        lines.append(cut(f"Payment gateway: {draw_gateway(preview.gateway)}", width))
    names = min(max((len(change.logical_id) for change in preview.changes), default=0), width // 2)
    for change in preview.changes:
        lines += _change(change, names, width)
    if preview.unasked:
        lines += ["", _heading("Back to the default")]
        for setting in preview.unasked:
            lines += _property(setting.path, setting.old, setting.new, width)
    if preview.grants:
        lines += ["", *_grants(preview.grants, width)]
    lost = [change for change in preview.changes if change.loses_data]
    if lost:
        lines += ["", *(line for change in lost for line in _loss(change, width))]
    return "\n".join(lines)


def draw_diff(comparison: Comparison, width: int) -> str:
    """Return a comparison as styled text; no line is longer than `width` columns."""
    if comparison.same:
        return "There are no differences."
    lines = []
    if comparison.template:
        lines.append(_heading("Template"))
        for difference in comparison.template:
            lines += _difference(".".join(difference.path), difference.old, difference.new, width)
    if comparison.code:
        lines.append(_heading("Code"))
        for code in comparison.code:
            lines += _difference(code.logical_id, code.old, code.new, width)
    if comparison.parameters:
        lines.append(_heading("Parameters"))
        for parameter in comparison.parameters:
            lines += _difference(parameter.name, parameter.old, parameter.new, width)
    if comparison.grants:
        lines += _grants(comparison.grants, width)
    return "\n".join(lines)


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _change(change: Change, names: int, width: int) -> Iterator[str]:
    sign, color = SIGNS.get(change.action, ("?", "yellow"))
    replaces = "" if change.replacement == "no" else change.replacement
    room = width - len(sign) - 2 * len(GAP) - names - (len(replaces) + len(GAP) if replaces else 0)
    row = f"{sign} {cut(change.logical_id, names):<{names}}{GAP}{cut(change.resource_type, room)}"
    mark = click.style(replaces, fg="red" if replaces == "replaces" else "yellow", bold=True)
    yield click.style(row, fg=color) + (GAP + mark if replaces else "")
    for changed in change.properties:
        path = f"{changed.path} (from {changed.cause})" if changed.cause else changed.path
        yield from _property(path, changed.old, changed.new, width)


def _property(path: str, old: str | None, new: str | None, width: int) -> Iterator[str]:
    """Yield `path: old → new`, on lines of their own where it is too long for one."""
    values = "" if old is None and new is None else f": {old or '(none)'} → {new or '(none)'}"
    line = f"    {path}{values}"
    if columns(line) <= width and "\n" not in line:
        yield line
        return
    yield f"    {cut(path, width - 4)}"
    for sign, value in (("-", old), ("+", new)):
        if value is not None:
            yield f"      {sign} {cut(value, width - 8)}"


def _difference(path: str, old: Any, new: Any, width: int) -> Iterator[str]:
    if old is None or new is None:
        sign, color = ("+", "green") if old is None else ("-", "red")
        value = new if old is None else old
        kind = value.get("Type") if isinstance(value, dict) else None
        text = f"{sign} {path}: {kind or describe(value)}"
        yield click.style(cut(text, width), fg=color)
        return
    for number, line in enumerate(_property(path, describe(old), describe(new), width)):
        yield click.style(f"~ {line.strip()}", fg="yellow") if number == 0 else line


def _grants(grants: Iterable[GrantChange], width: int) -> Iterator[str]:
    """Yield the IAM table: effect and role, and below them the actions beside the resources."""
    yield _heading("IAM")
    actions = min(ACTION_WIDTH, width // 2)
    resources = width - len(INDENT) - actions - len(GAP)
    for grant in grants:
        sign, color = ("+", "green") if grant.added else ("-", "red")
        yield click.style(cut(f"{sign} {grant.effect} {grant.role}", width), fg=color)
        about = [*grant.resources, *([f"if {grant.condition}"] if grant.condition else [])]
        for action, resource in zip_longest(
            _wrap(grant.actions, actions), _wrap(about, resources), fillvalue=""
        ):
            yield click.style(f"{INDENT}{action:<{actions}}{GAP}{resource}".rstrip(), fg=color)


def _wrap(texts: Iterable[str], width: int) -> Iterator[str]:
    """Yield the lines of texts that are wrapped, never cut: what is granted is seen whole."""
    for text in texts:
        line = ""
        for part in PARTS.findall(text):
            if line and len(f"{line}{part}".rstrip()) > width:
                yield line.rstrip()
                line = ""
            line += part
            while len(line.rstrip()) > width:
                yield line[:width]
                line = line[width:]
        yield line.rstrip()


def _loss(change: Change, width: int) -> Iterator[str]:
    what = f"{change.logical_id} ({change.resource_type})"
    if change.action == "Remove":
        told = f"{what} is removed: what it holds is gone, or left outside the stack"
    else:
        verb = "is" if change.replacement == "replaces" else "may be"
        told = f"{what} {verb} replaced by an empty one: what it holds stays behind in the old one"
    for line in textwrap.wrap(f"Warning: {told}", width, subsequent_indent=INDENT):
        yield click.style(line, fg="red", bold=True)
