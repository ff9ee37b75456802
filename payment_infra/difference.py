"""How two templates differ: in structure, in code, in parameters, and in what is granted.

Templates are plain data with the long forms of the intrinsic functions; {} stands for none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from payment_infra.grants import GrantChange, compare_grants
from payment_infra.names import ARTIFACT_KEY
from payment_infra.rendering import describe

# Below a resource: where it says which object of the bucket holds its code.
CODE_PATHS = (("Properties", "Code", "S3Key"), ("Properties", "Content", "S3Key"))
HIDDEN = "****"
NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True)
class Difference:
    """A value that differs: where, and what it was and is; None stands for a value that is absent.

    path leads from the top of the template, as ("Resources", "Table", "Properties", "TableName").
    """

    path: tuple[str, ...]
    old: Any
    new: Any


@dataclass(frozen=True)
class CodeChange:
    """The code of a function or layer: the first 12 digits of its digest, None for none."""

    logical_id: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class ParameterChange:
    """The value of a parameter; None where it is absent, `****` where it may not be shown."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Comparison:
    """Everything in which what would be deployed differs from what is."""

    template: tuple[Difference, ...]
    code: tuple[CodeChange, ...]
    parameters: tuple[ParameterChange, ...]
    grants: tuple[GrantChange, ...]

    @property
    def same(self) -> bool:
        """Whether there is no difference at all."""
        return not (self.template or self.code or self.parameters or self.grants)


def compare_all(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    old_parameters: Mapping[str, str],
    new_parameters: Mapping[str, str | None],
) -> Comparison:
    """Compare templates and the values of their parameters; None keeps the old value."""
    return Comparison(
        template=compare(old, new),
        code=compare_code(old, new),
        parameters=compare_parameters(old_parameters, new_parameters, _hidden(old, new)),
        grants=compare_grants(old, new),
    )


def same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a deployed template, as CloudFormation answers it, is this one."""
    return old == new or old == json.loads(_as_answered(json.dumps(new, ensure_ascii=False)))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return how the templates differ in structure, in the order of the new one.

    A resource that comes or goes is one difference. Left out are the parameters' defaults, which
    `compare_parameters` sees as values, and the digests of code, which `compare_code` sees.
    """
    return tuple(
        difference
        for difference in _compare((), old, new)
        if not (difference.path[0] == "Parameters" and difference.path[2:] == ("Default",))
        and difference.path[2:] not in CODE_PATHS
    )


def compare_code(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[CodeChange, ...]:
    """Return the functions and layers whose code differs."""
    before, after = _code(old), _code(new)
    return tuple(
        CodeChange(name, before.get(name), after.get(name))
        for name in (before | after)
        if before.get(name) != after.get(name)
    )


def compare_parameters(
    old: Mapping[str, str], new: Mapping[str, str | None], hidden: frozenset[str] = frozenset()
) -> tuple[ParameterChange, ...]:
    """Return the parameters whose values differ; None in `new` keeps the old value.

    Args:
        old: name to value.
        new: the same.
        hidden: the names of those that are never shown (NoEcho).
    """
    changes = []
    for name in dict(old) | dict(new):
        before = old.get(name)
        after = new.get(name)
        if name in new and after is None:
            after = before
        if before == after:
            continue
        if name in hidden:
            before, after = before and HIDDEN, after and HIDDEN
        changes.append(ParameterChange(name, before, after))
    return tuple(changes)


def property_changes(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Mapping[str, tuple[Difference, ...]]:
    """Return by logical id what differs in resources that both have, by path below Properties.

    A change of code is one difference whose path is ("code",), between digests.
    """
    changes: dict[str, list[Difference]] = {}
    for code in compare_code(old, new):
        if code.old is not None and code.new is not None:
            changes.setdefault(code.logical_id, []).append(
                Difference(("code",), code.old, code.new)
            )
    for change in compare(old, new):
        if change.path[0] == "Resources" and len(change.path) > 2:
            logical_id, *path = change.path[1:]
            below = tuple(path[1:] if path[0] == "Properties" else path)
            changes.setdefault(logical_id, []).append(Difference(below, change.old, change.new))
    return {name: tuple(found) for name, found in changes.items()}


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as `payment-infra diff --output json` writes it."""
    return {
        "same": comparison.same,
        "template": [
            {"path": ".".join(difference.path), "old": difference.old, "new": difference.new}
            for difference in comparison.template
        ],
        "code": [asdict(code) for code in comparison.code],
        "parameters": [asdict(parameter) for parameter in comparison.parameters],
        "iam": [asdict(grant) for grant in comparison.grants],
    }


def _compare(path: tuple[str, ...], old: Any, new: Any) -> Iterator[Difference]:
    if old == new or (isinstance(new, str) and old == _as_answered(new)):
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping) and not _is_function(old, new):
        came = {_as_answered(str(key)): key for key in new if key not in old}
        old = {came.get(key, key): value for key, value in old.items()}
        for key in (*new, *(key for key in old if key not in new)):
            yield from _compare((*path, str(key)), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare_lists(path, old, new)
    else:
        yield Difference(path, old, new)


def _as_answered(text: str) -> str:
    """Return a text as GetTemplate answers it for a template that is not ASCII, as those of earlier
    releases could be: with a "?" for each character that is not (aws-cdk, `cdk diff`:
    mangleLikeCloudFormation)."""
    return NOT_ASCII.sub("?", text)


def _compare_lists(path: tuple[str, ...], old: list[Any], new: list[Any]) -> Iterator[Difference]:
    """Compare elements with a name of their own by it, others by their place."""
    for key in ("Sid", "Key", "Name"):
        if all(isinstance(item, Mapping) and isinstance(item.get(key), str) for item in old + new):
            before = {item[key]: item for item in old}
            after = {item[key]: item for item in new}
            if len(before) == len(old) and len(after) == len(new):
                yield from _compare(path, before, after)
                return
    for index, (item, other) in enumerate(zip_longest(old, new)):
        yield from _compare((*path, str(index)), item, other)


def _is_function(*values: Mapping[str, Any]) -> bool:
    return any(
        len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::", "Condition"))
        for value in values
    )


def _code(template: Mapping[str, Any]) -> dict[str, str]:
    """Return by logical id which code a resource has."""
    code = {}
    for name, resource in template.get("Resources", {}).items():
        properties = resource.get("Properties", {})
        for _, part, key in CODE_PATHS:
            value = properties.get(part)
            if isinstance(value, Mapping) and key in value:
                text = describe(value[key])
                match = re.fullmatch(ARTIFACT_KEY, text)
                code[name] = match["digest"] if match else text
    return code


def _hidden(*templates: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        name
        for template in templates
        for name, parameter in template.get("Parameters", {}).items()
        if str(parameter.get("NoEcho", "")).lower() == "true"
    )
