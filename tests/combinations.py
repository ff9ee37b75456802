"""A set of configurations in which every pair of values of two settings stands, and its linting.

`python -m tests.combinations` lints each of them, and the committed templates, with cfn-lint, which
holds every resource to its JSON schema, for regions of three partitions; `make check` runs it. What
needs no cfn-lint is in `tests/unit/test_combinations.py`.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from payment_infra.artifacts import code_keys
from payment_infra.combinations import COMBINATIONS, conflicts
from payment_infra.config import FIELDS, PRESETS, StackConfig
from payment_infra.linting import Finding, lint, lint_file
from payment_infra.rendering import render
from payment_infra.rules import RUNTIMES
from payment_infra.template import build_template
from tests.settings import OTHER

TEMPLATES = sorted((Path(__file__).parents[1] / "templates").glob("*.yaml"))
REGIONS = ("us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1")
# Values besides the default, the preset's, and the one of `OTHER`.
MORE: Mapping[str, tuple[Any, ...]] = {
    "runtime": RUNTIMES,
    "endpoint_type": ("edge", "regional", "private"),
    "health_access": ("open", "status", "closed"),
    "execution_log_level": ("info", "error", "off"),
}
# What is no structure: a parameter's default. These have their own tests.
APART = frozenset(
    {"suffix", "bucket", "environment_tag", "tags", "alarm_email", "termination_protection"}
)
DEFAULTS = StackConfig()
# A field and its value, two of which are a pair.
Value = tuple[str, Any]
Pair = frozenset[Value]
# How many configurations are tried for each that is taken.
TRIES = 60


def values() -> dict[str, tuple[Any, ...]]:
    """Return the values that are tried of each setting, the default first."""
    return {
        name: tuple(
            dict.fromkeys(
                [
                    getattr(DEFAULTS, name),
                    *(preset[name] for preset in PRESETS.values() if name in preset),
                    OTHER[name],
                    *MORE.get(name, ()),
                ]
            )
        )
        for name in FIELDS
        if name not in APART
    }


def pairs(chosen: Mapping[str, Any]) -> set[Pair]:
    """Return every pair of a configuration's values."""
    return {frozenset(two) for two in itertools.combinations(chosen.items(), 2)}


def options() -> list[list[dict[str, Any]]]:
    """Return the settings in parts that do not depend on each other: of each part what it may be.

    Settings that stand in one combination are in one part.
    """
    tried, parts = values(), list[set[str]]()
    for fields in (*([name] for name in tried), *(one.fields for one in COMBINATIONS)):
        joined = (set(fields) & set(tried)).union(*(part for part in parts if part & set(fields)))
        parts = [*(part for part in parts if not part & joined), joined]
    return [
        [
            chosen
            for some in itertools.product(*(tried[name] for name in names))
            if not conflicts(_config(chosen := dict(zip(names, some, strict=True))))
        ]
        for names in ([name for name in tried if name in part] for part in parts)
    ]


def possible() -> set[Pair]:
    """Return every pair of values of two settings that any configuration may have."""
    parts = options()
    inside = (pairs(chosen) for part in parts for chosen in part)
    across = (
        {frozenset({one, other}) for one in first for other in second}
        for first, second in itertools.combinations(map(_single, parts), 2)
    )
    return set().union(*inside, *across)


def _single(part: list[dict[str, Any]]) -> set[Value]:
    return {value for chosen in part for value in chosen.items()}


def configurations(seed: int = 1) -> list[StackConfig]:
    """Return both presets, and configurations that have every possible pair; always the same."""
    draw, parts = random.Random(seed), options()
    taken = [
        {name: getattr(StackConfig(**preset), name) for name in values()}  # type: ignore[arg-type]
        for preset in PRESETS.values()
    ]
    left = possible().difference(*map(pairs, taken))
    while left:
        # In an order of its own: that of a set differs from process to process.
        wanted = dict(min(left, key=lambda pair: sorted(map(repr, pair))))
        tries = [_draw(draw, parts, wanted) for _ in range(TRIES)]
        taken.append(max(tries, key=lambda chosen: len(left & pairs(chosen))))
        left -= pairs(taken[-1])
    return [
        *(StackConfig(**preset) for preset in PRESETS.values()),  # type: ignore[arg-type]
        *(_config(chosen) for chosen in taken[len(PRESETS) :]),
    ]


def _draw(
    draw: random.Random, parts: list[list[dict[str, Any]]], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """Draw a configuration that has the wanted values."""
    drawn: dict[str, Any] = {}
    for part in parts:
        fitting = [one for one in part if wanted.items() & one.items() == _of(wanted, one)]
        drawn |= draw.choice(fitting)
    return drawn


def _of(wanted: Mapping[str, Any], chosen: Mapping[str, Any]) -> set[Value]:
    return {(name, value) for name, value in wanted.items() if name in chosen}


def _config(chosen: Mapping[str, Any]) -> StackConfig:
    return replace(DEFAULTS, **chosen)


def problems(config: StackConfig) -> Iterator[str]:
    """Yield what cfn-lint finds in a configuration's template: errors and warnings."""
    yield from _told(lint(render(build_template(config, code_keys()), "json"), REGIONS))


def _told(findings: list[Finding]) -> list[str]:
    return [f"{one.rule} {one.path}: {one.message}" for one in findings]


def different(config: StackConfig) -> dict[str, Any]:
    """Return the settings that are not the default."""
    return {
        name: getattr(config, name)
        for name in FIELDS
        if getattr(config, name) != getattr(DEFAULTS, name)
    }


def _found(config: StackConfig) -> list[str]:
    return list(problems(config))


def main() -> int:
    """Lint every configuration; return 1 if anything is found."""
    every, failed = configurations(), False
    for template in TEMPLATES:
        if found := _told(lint_file(str(template), REGIONS)):
            failed = True
            print(f"{template.name}:", *found, sep="\n  ")
    with ProcessPoolExecutor() as pool:
        for config, found in zip(every, pool.map(_found, every), strict=True):
            if found:
                failed = True
                print(f"{different(config)}:", *found, sep="\n  ")
    print(
        f"cfn-lint: {len(TEMPLATES)} templates, {len(every)} configurations, "
        f"regions {', '.join(REGIONS)}"
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
