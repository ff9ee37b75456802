"""Where the configuration comes from, and what each source gives.

A value is taken from the strongest source that gives one: a flag, then the environment variable
PAYMENT_INFRA_<FIELD>, then `[environments.SUFFIX]` of payment-infra.toml, then that file's top
level, then the preset. Where the environment is (`payment_infra.place`) comes from the same
sources, but from no preset.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from payment_infra.combinations import conflicts
from payment_infra.config import FIELDS, PRESETS, StackConfig
from payment_infra.errors import UsageError
from payment_infra.place import PLACE, Place
from payment_infra.rules import Tags, Values, check_suffix
from payment_infra.texts import fault, read_text

FILE_NAME = "payment-infra.toml"
# Characters of a value that is refused.
MAX_SHOWN = 80
ENVIRONMENT_PREFIX = "PAYMENT_INFRA_"
DEFAULTS = StackConfig()
KEYS = ("preset", *PLACE, *FIELDS)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration, and for each field the name of the source that gave its value.

    file is the configuration file, if one was named; place is where the environment is.
    """

    config: StackConfig
    preset_chosen: bool
    sources: Mapping[str, str]
    file: Path | None = None
    place: Place = field(default_factory=Place)

    @property
    def preset(self) -> str:
        """The preset that gives what no other source does."""
        return self.config.preset

    def asked_for(self, name: str) -> bool:
        """Whether somebody gave the field's value, or chose the preset that gives it."""
        return (self.preset_chosen and name in PRESETS[self.preset]) or self._given(name)

    def on(self, preset: str) -> Resolved:
        """Return the same with a preset that the values come from which no other source gives."""
        values = {
            name: PRESETS[preset].get(name, getattr(DEFAULTS, name))
            for name in FIELDS
            if not self._given(name)
        }
        sources = {**self.sources, **dict.fromkeys(values, _preset_source(preset))}
        config: StackConfig = replace(self.config, preset=preset, **values)  # type: ignore[arg-type]
        return replace(self, config=config, sources=sources)

    def _given(self, name: str) -> bool:
        return self.sources[name] != _preset_source(self.preset)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The values that one source gives, and how each is called there."""

    values: Mapping[str, object]
    name: Callable[[str], str]
    source: str = ""
    # Whether the source has types of its own; a flag or a variable can give nothing but text.
    typed: bool = False
    # What the paths of files are relative to.
    folder: Path = Path()


def resolve(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    path: Path | None = None,
    suffix: str = "",
) -> Resolved:
    """Put the configuration together from every source.

    Args:
        flags: field name (a setting's, the place's, or `preset`) to value; None means that the
            flag was not given.
        environ: the environment; `PAYMENT_INFRA_<FIELD>` is looked at.
        path: the configuration file. None: payment-infra.toml of the working directory, if any.
        suffix: the environment if no source names one.

    Raises:
        UsageError: an unknown key, a wrong type or a value that is not allowed.
    """
    file = _read_file(path)
    given = _Layer(
        {name: value for name, value in flags.items() if value is not None},
        lambda name: "--tag" if name == "tags" else f"--{name.replace('_', '-')}",
    )
    variables = _Layer(
        {
            name: environ[ENVIRONMENT_PREFIX + name.upper()]
            for name in KEYS
            if ENVIRONMENT_PREFIX + name.upper() in environ
        },
        lambda name: ENVIRONMENT_PREFIX + name.upper(),
    )
    _refuse_unknown_variables(environ)
    top_name = str(path or FILE_NAME)
    environments = file.pop("environments", {})
    folder = path.parent if path else Path()
    top = _file_layer(file, top_name, folder)
    _refuse_unknown(top, KEYS)
    suffix = next(
        (
            str(layer.values["suffix"])
            for layer in (given, variables, top)
            if "suffix" in layer.values
        ),
        suffix,
    )
    sections = _sections(environments, top_name, folder)
    section = sections.get(suffix, _Layer({}, str))

    layers = [given, variables, section, top]
    preset = _preset(layers)
    chosen = any("preset" in layer.values for layer in layers)
    place, place_sources = _strongest(PLACE, layers)
    layers.append(_Layer(PRESETS[preset], str, _preset_source(preset)))
    layers.append(_Layer({"suffix": suffix} if suffix else {}, str, "default"))
    values, sources = _strongest(FIELDS, layers)
    sources = {name: sources.get(name, _preset_source(preset)) for name in FIELDS}
    config = StackConfig(preset=preset, **values)
    _refuse_conflicts(config, sources)
    return Resolved(config, chosen, sources, path, Place(**place, sources=place_sources))


def _strongest(
    specs: Mapping[str, Field[Any]], layers: Sequence[_Layer]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values that the layers, strongest first, give, and the source of each."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, spec in specs.items():
        layer = next((layer for layer in layers if name in layer.values), None)
        if layer is None:
            continue
        value = _typed(spec, layer.values[name], layer.name(name), layer.typed)
        values[name] = _placed(spec, value, layer.folder)
        sources[name] = layer.source or layer.name(name)
        if sources[name].startswith("--") and values[name] is False:
            sources[name] = f"--no-{sources[name].removeprefix('--')}"
    return values, sources


def _placed(spec: Field[Any], value: object, folder: Path) -> object:
    """Return a value whose path, if it is one, can be used from the working directory."""
    is_path = spec.metadata.get("is_path")
    return str(folder / str(value)) if is_path and is_path(value) else value


def _refuse_conflicts(config: StackConfig, sources: Mapping[str, str]) -> None:
    for broken in conflicts(config):
        named = ", ".join(f"{name} (from {sources[name]})" for name in broken.fields)
        raise UsageError(f"{named}: {broken.problem}")


def _file_layer(values: Mapping[str, object], where: str, folder: Path) -> _Layer:
    return _Layer(values, lambda name: f"{where}: {name}", where, typed=True, folder=folder)


def _preset_source(preset: str) -> str:
    return f"preset {preset}"


def _read_file(path: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path or Path(FILE_NAME)))
    except FileNotFoundError:
        if path is None:
            return {}
        raise UsageError(f"{path}: there is no such file; check --config") from None
    except OSError as error:
        raise UsageError(f"{path or FILE_NAME}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path or FILE_NAME}: not valid TOML: {fault(error)}") from error


def _sections(environments: object, file: str, folder: Path) -> dict[str, _Layer]:
    """Check every `[environments.SUFFIX]`, so that a slip shows before its day comes."""
    if not isinstance(environments, dict):
        raise UsageError(f"{file}: environments must hold tables, as [environments.SUFFIX]")
    sections = {}
    for suffix, values in environments.items():
        where = f"{file} [environments.{suffix}]"
        problem = check_suffix(suffix)
        if problem or not isinstance(values, dict):
            raise UsageError(f"{where}: the suffix {problem or 'must name a table'}")
        layer = _file_layer(values, where, folder)
        _refuse_unknown(layer, tuple(name for name in KEYS if name != "suffix"))
        _preset([layer])
        for name in layer.values.keys() - {"preset"}:
            _typed({**FIELDS, **PLACE}[name], layer.values[name], layer.name(name), layer.typed)
        sections[suffix] = layer
    return sections


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    given = (name for name in environ if name.startswith(ENVIRONMENT_PREFIX))
    names = {name.removeprefix(ENVIRONMENT_PREFIX).lower(): name for name in given}
    names.pop("config", None)
    _refuse_unknown(_Layer(dict.fromkeys(names), names.__getitem__), KEYS)


def _refuse_unknown(layer: _Layer, known: tuple[str, ...]) -> None:
    for key in layer.values:
        if key not in known:
            close = get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise UsageError(f"{layer.name(key)}: unknown key; {hint}")


def _preset(layers: list[_Layer]) -> str:
    layer = next((layer for layer in layers if "preset" in layer.values), None)
    if layer is None:
        return "development"
    preset = layer.values["preset"]
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UsageError(
            f"{layer.name('preset')}: {preset!r} is not a preset; use {' or '.join(PRESETS)}"
        )
    return preset


def _typed(spec: Field[Any], value: object, where: str, strict: bool) -> object:
    """Turn a source's value into the field's type and check it against the field's rule.

    `strict` takes no text for what is a number, a boolean or a table.
    """
    parsers: Mapping[Any, Callable[[str], object]] = {
        int: _parse_integer,
        bool: _parse_boolean,
        tuple[str, ...]: _parse_values,
        Tags: _parse_tags,
    }
    checkers: Mapping[Any, Callable[[object], object]] = {
        str: _text,
        int: _integer,
        bool: _boolean,
        tuple[str, ...]: _values,
        Tags: _tags,
    }
    try:
        if isinstance(value, str) and not strict and spec.type in parsers:
            value = parsers[spec.type](value)
        if isinstance(value, str):
            value = spec.metadata["names"].get(value, value)
        typed = checkers[spec.type](value)
    except ValueError as error:
        raise UsageError(f"{where}: {_shown(value)} is not allowed: must be {error}") from None
    rule = spec.metadata["rule"]
    problem = rule(typed) if rule else None
    if problem:
        raise UsageError(f"{where}: {_shown(value)} is not allowed: it {problem}")
    return typed


def _shown(value: object) -> str:
    """Return a value as it is written, without the rest of one that would hide what is wrong."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number")
    return value


def _parse_integer(text: str) -> object:
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _parse_boolean(text: str) -> object:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    return words.get(text.lower(), text)


def _values(value: object) -> Values:
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise ValueError("a list of strings")
    return tuple(value)


def _parse_values(text: str) -> object:
    """Parse VALUE,VALUE."""
    return tuple(value.strip() for value in text.split(",") if value.strip())


def _tags(value: object) -> Tags:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError("a table of strings")
    return dict(value)


def _parse_tags(text: str) -> object:
    """Parse KEY=VALUE,KEY=VALUE."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("KEY=VALUE, with commas between several")
    return {key.strip(): value for key, _, value in pairs}
