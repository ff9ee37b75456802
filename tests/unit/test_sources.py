from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from payment_infra.config import FIELDS, PRESETS
from payment_infra.errors import UsageError
from payment_infra.place import PLACE
from payment_infra.sources import Resolved, resolve

# Weakest first.
STRENGTH = ("preset", "top", "section", "variable", "flag")
# A field of each type, with a value for each source that can give one.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "architecture": {"top": "x86_64", "section": "arm64", "variable": "x86_64", "flag": "arm64"},
    "alarm_email": {"top": "a@x.org", "section": "b@x.org", "variable": "c@x.org", "flag": ""},
    "throttle_rate_limit": {"top": 11, "section": 12, "variable": 13, "flag": 14},
    "retain_data": {"top": False, "section": True, "variable": False, "flag": True},
    "tags": {
        "top": {"from": "top"},
        "section": {"from": "section"},
        "variable": {"from": "variable"},
        "flag": {"from": "flag"},
    },
}


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(text)}" for key, text in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def text(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={content}" for key, content in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(content: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return write


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> str:
    with pytest.raises(UsageError) as refused:
        resolve(flags or {}, environ or {}, path)
    return str(refused.value)


def resolve_from(
    name: str, sources: tuple[str, ...], file: Callable[[str], Path]
) -> tuple[Resolved, dict[str, str]]:
    """Resolve with a value for the field from each source; return what each source is called."""
    values = EXAMPLES[name]
    lines = [f"{name} = {toml(values['top'])}"] if "top" in sources else []
    lines += ["[environments.dev]"]
    lines += [f"{name} = {toml(values['section'])}"] if "section" in sources else []
    path = file("\n".join(lines))
    variable = f"PAYMENT_INFRA_{name.upper()}"
    environ = {variable: text(values["variable"])} if "variable" in sources else {}
    flags = {name: values["flag"]} if "flag" in sources else {}
    resolved = resolve({"suffix": "dev", "preset": None, **flags}, environ, path)
    called = {
        "preset": "preset development",
        "top": str(path),
        "section": f"{path} [environments.dev]",
        "variable": variable,
        "flag": "--tag" if name == "tags" else f"--{name.replace('_', '-')}",
    }
    return resolved, called


@pytest.mark.parametrize(
    ("name", "weaker", "stronger"),
    [(name, *pair) for name in EXAMPLES for pair in itertools.combinations(STRENGTH, 2)],
)
def test_the_stronger_of_two_sources_gives_the_value_and_is_named(
    name: str, weaker: str, stronger: str, file: Callable[[str], Path]
) -> None:
    resolved, called = resolve_from(name, (weaker, stronger), file)
    assert getattr(resolved.config, name) == EXAMPLES[name][stronger]
    assert resolved.sources[name] == called[stronger]


def test_a_field_that_no_source_gives_is_said_to_come_from_the_preset(
    in_empty_folder: Path,
) -> None:
    resolved = resolve({"preset": "production"}, {})
    assert set(resolved.sources) == set(FIELDS)
    assert set(resolved.sources.values()) == {"preset production"}
    asked = {name for name in FIELDS if resolved.asked_for(name)}
    assert asked == set(PRESETS["production"])
    assert resolved.config.log_retention_days == 365


def test_what_a_flag_gives_is_not_the_presets_even_if_it_is_the_same_value(
    in_empty_folder: Path,
) -> None:
    resolved = resolve({"throttle_rate_limit": "1000"}, {})
    assert resolved.asked_for("throttle_rate_limit")
    assert not resolved.asked_for("throttle_burst_limit")


@pytest.mark.parametrize(
    ("weaker", "stronger"), tuple(itertools.combinations(("top", "section", "variable", "flag"), 2))
)
def test_the_preset_is_chosen_by_the_strongest_source_too(
    weaker: str, stronger: str, file: Callable[[str], Path]
) -> None:
    chosen = {weaker: "development", stronger: "production"}
    lines = [f"preset = {chosen['top']!r}"] if "top" in chosen else []
    lines += ["[environments.dev]"]
    lines += [f"preset = {chosen['section']!r}"] if "section" in chosen else []
    environ = {"PAYMENT_INFRA_PRESET": chosen["variable"]} if "variable" in chosen else {}
    flags = {"suffix": "dev", "preset": chosen.get("flag")}
    assert resolve(flags, environ, file("\n".join(lines))).preset == "production"


@pytest.mark.parametrize("source", ["flag", "variable", "top"])
def test_the_suffix_selects_its_own_section_only(source: str, file: Callable[[str], Path]) -> None:
    path = file(
        ("suffix = 'one'\n" if source == "top" else "")
        + "[environments.one]\nthrottle_rate_limit = 1\n"
        + "[environments.two]\nthrottle_rate_limit = 2\n"
    )
    environ = {"PAYMENT_INFRA_SUFFIX": "one"} if source == "variable" else {}
    flags = {"suffix": "one"} if source == "flag" else {}
    assert resolve(flags, environ, path).config.throttle_rate_limit == 1


def test_without_a_file_the_working_directorys_is_read_if_there_is_one(
    in_empty_folder: Path,
) -> None:
    assert resolve({}, {}).config.throttle_rate_limit == 1000
    (in_empty_folder / "payment-infra.toml").write_text("throttle_rate_limit = 5")
    resolved = resolve({}, {})
    assert resolved.config.throttle_rate_limit == 5
    assert resolved.sources["throttle_rate_limit"] == "payment-infra.toml"


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes"])
def test_a_variable_says_yes_in_these_words(word: str, in_empty_folder: Path) -> None:
    assert resolve({}, {"PAYMENT_INFRA_RETAIN_DATA": word}).config.retain_data is True


@pytest.mark.parametrize("word", ["false", "False", "0", "no"])
def test_a_variable_says_no_in_these_words(word: str, in_empty_folder: Path) -> None:
    assert (
        resolve({}, {"PAYMENT_INFRA_MANAGE_API_GATEWAY_ACCOUNT": word})
    ).config.manage_api_gateway_account is False


def test_an_unknown_key_of_the_file_is_refused_with_the_likely_one(
    file: Callable[[str], Path],
) -> None:
    path = file("throtle_rate_limit = 5")
    expected = f"{path}: throtle_rate_limit: unknown key; did you mean throttle_rate_limit?"
    assert refusal(path=path) == expected


def test_an_unknown_key_of_a_section_is_refused_even_if_another_environment_is_asked_for(
    file: Callable[[str], Path],
) -> None:
    path = file("[environments.prod]\nretain_dat = true")
    message = refusal({"suffix": "dev"}, path=path)
    expected = f"{path} [environments.prod]: retain_dat: unknown key; did you mean retain_data?"
    assert message == expected


def test_a_section_cannot_give_the_suffix_that_selects_it(file: Callable[[str], Path]) -> None:
    path = file("[environments.prod]\nsuffix = 'dev'")
    assert refusal(path=path).startswith(f"{path} [environments.prod]: suffix: unknown key; ")


def test_an_unknown_variable_is_refused_with_the_likely_field(in_empty_folder: Path) -> None:
    message = refusal(environ={"PAYMENT_INFRA_SUFIX": "dev"})
    assert message == "PAYMENT_INFRA_SUFIX: unknown key; did you mean suffix?"


def test_an_unknown_key_that_resembles_none_is_refused_with_those_there_are(
    in_empty_folder: Path,
) -> None:
    message = refusal(environ={"PAYMENT_INFRA_XYZZY": "1"})
    known = ", ".join([*PLACE, *FIELDS])
    assert message == f"PAYMENT_INFRA_XYZZY: unknown key; known are preset, {known}"


def test_other_variables_are_none_of_ours(in_empty_folder: Path) -> None:
    environ = {"PAYMENT_INFRACTION": "1", "AWS_REGION": "x", "PAYMENT_INFRA_CONFIG": "f.toml"}
    assert resolve({}, environ).config == resolve({}, {}).config


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("throttle_rate_limit = '5'", "'5' is not allowed: must be a whole number"),
        ("throttle_rate_limit = 5.0", "5.0 is not allowed: must be a whole number"),
        ("throttle_rate_limit = true", "True is not allowed: must be a whole number"),
        ("retain_data = 'yes'", "'yes' is not allowed: must be true or false"),
        ("retain_data = 1", "1 is not allowed: must be true or false"),
        ("runtime = 3.13", "3.13 is not allowed: must be a string"),
        ("suffix = 5", "5 is not allowed: must be a string"),
        ("tags = 'a=b'", "'a=b' is not allowed: must be a table of strings"),
        ("tags = {a = 1}", "{'a': 1} is not allowed: must be a table of strings"),
    ],
)
def test_a_wrong_type_in_the_file_is_refused(
    line: str, complaint: str, file: Callable[[str], Path]
) -> None:
    path = file(line)
    key = line.partition(" ")[0]
    assert refusal(path=path) == f"{path}: {key}: {complaint}"


BAD_VALUES = {
    "authorization": ("cognito", "'cognito' is not allowed: it must be one of iam, none"),
    "architecture": ("arm", "'arm' is not allowed: it must be one of arm64, x86_64"),
    "alarm_email": ("me", "'me' is not allowed: it must be an email address"),
    "throttle_rate_limit": (0, "0 is not allowed: it must be from 1 to 1000000"),
    "throttle_burst_limit": (1000001, "1000001 is not allowed: it must be from 1 to 1000000"),
    "bucket": ("No", "'No' is not allowed: it must be a bucket name: 3 to 63 lower-case letters"),
    "log_retention_days": (2, "2 is not allowed: it must be one of 1, 3, 5, 7, 14, "),
    "runtime": ("python3.10", "'python3.10' is not allowed: it must be one of python3.11, "),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_names_the_file_the_key_the_value_and_what_is_allowed(
    name: str, file: Callable[[str], Path]
) -> None:
    value, complaint = BAD_VALUES[name]
    path = file(f"{name} = {toml(value)}")
    assert refusal(path=path).startswith(f"{path}: {name}: {complaint}")
    path = file(f"[environments.dev]\n{name} = {toml(value)}")
    message = refusal({"suffix": "dev"}, path=path)
    assert message.startswith(f"{path} [environments.dev]: {name}: {complaint}")


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_names_the_flag_or_the_variable(name: str, in_empty_folder: Path) -> None:
    value, complaint = BAD_VALUES[name]
    flag = f"--{name.replace('_', '-')}"
    assert refusal({name: str(value)}).startswith(f"{flag}: {complaint}")
    variable = f"PAYMENT_INFRA_{name.upper()}"
    assert refusal(environ={variable: str(value)}).startswith(f"{variable}: {complaint}")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("throttle_rate_limit", "many", "a whole number"),
        ("throttle_rate_limit", "1_000", "a whole number"),
        ("throttle_rate_limit", "٣", "a whole number"),
        ("throttle_rate_limit", "", "a whole number"),
        ("retain_data", "maybe", "true or false"),
        ("tags", "Team", "KEY=VALUE, with commas between several"),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused(
    name: str, value: str, allowed: str, in_empty_folder: Path
) -> None:
    variable = f"PAYMENT_INFRA_{name.upper()}"
    expected = f"{variable}: {value!r} is not allowed: must be {allowed}"
    assert refusal(environ={variable: value}) == expected


@pytest.mark.parametrize(
    "tags",
    [
        {"aws:created-by": "me"},
        {"AWS:created-by": "me"},
        {"Team": "Aws:payments"},
        {"": "no key"},
        {"k" * 129: "v"},
        {"Team": ""},
        {"Team": "v" * 257},
        {"Team": "\N{GRINNING FACE}"},
        {"Team": "a\nb"},
        {"Team": "50%"},
        {f"key-{number}": "v" for number in range(41)},
    ],
    ids=lambda tags: next(iter(tags))[:20],
)
def test_a_tag_that_aws_or_the_template_refuses_is_refused(
    tags: Mapping[str, str], in_empty_folder: Path
) -> None:
    assert refusal({"tags": tags}).startswith("--tag: ")


@pytest.mark.parametrize("tags", [{" ": "a"}, {"Team": "  "}])
def test_a_tag_of_nothing_but_spaces_is_refused(
    tags: Mapping[str, str], in_empty_folder: Path
) -> None:
    assert "not all of them spaces" in refusal({"tags": tags})


def test_a_value_that_is_long_is_not_repeated_whole(in_empty_folder: Path) -> None:
    line = refusal({"tags": {f"Tag{number}": "x" for number in range(41)}})
    assert line.endswith("... is not allowed: it has 41 tags, at most 40 fit")
    assert len(line) < 160


def test_tags_that_iam_takes_for_one_are_refused_by_their_keys(in_empty_folder: Path) -> None:
    assert refusal({"tags": {"Team": "a", "Cost": "b", "team": "c"}}) == (
        "--tag: {'Team': 'a', 'Cost': 'b', 'team': 'c'} is not allowed: it has the keys Team and "
        "team, which are one to IAM; give one of them"
    )


@pytest.mark.parametrize("key", ["Environment", "environment", "ENVIRONMENT"])
def test_no_tag_has_the_key_of_the_suffix_unless_that_has_another(
    key: str, in_empty_folder: Path
) -> None:
    assert refusal({"tags": {key: "production"}}) == (
        "environment_tag (from preset development), tags (from --tag): a tag has the key of the "
        "one that holds the suffix, in the same case or another; give another environment_tag, or "
        "no such tag"
    )
    config = resolve({"tags": {key: "production"}, "environment_tag": "Suffix"}, {}).config
    assert config.tags == {key: "production"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gateway_secret", "arn:aws:secretsmanager:us-east-1:123456789012:secret:clé-AbCdEf"),
        ("permissions_boundary", "arn:aws:iam::123456789012:policy/clé"),
        ("role_prefix", "clé-"),
    ],
)
def test_a_name_that_aws_has_in_ascii_alone_is_refused_otherwise(
    name: str, value: str, in_empty_folder: Path
) -> None:
    assert refusal({name: value}).startswith(
        f"--{name.replace('_', '-')}: {value!r} is not allowed"
    )


@pytest.mark.parametrize("key", ["", "aws:environment", "AWS:x", "k" * 129, "a\nb", "env?"])
def test_a_key_that_aws_refuses_is_refused(key: str, in_empty_folder: Path) -> None:
    assert refusal({"environment_tag": key}).startswith("--environment-tag: ")


@pytest.mark.parametrize(
    "tags",
    [
        {"Team": "v"},
        {"k" * 128: "v" * 256},
        {f"key-{number}": "é +-=._:/@" for number in range(40)},
    ],
)
def test_a_tag_at_the_limit_is_taken(tags: Mapping[str, str], in_empty_folder: Path) -> None:
    assert resolve({"tags": tags}, {}).config.tags == tags


@pytest.mark.parametrize("source", ["flag", "variable", "top", "section"])
def test_an_unknown_preset_is_refused_with_those_there_are(
    source: str, file: Callable[[str], Path]
) -> None:
    line = "preset = 'staging'"
    path = file({"top": line, "section": f"[environments.dev]\n{line}"}.get(source, ""))
    flags = {"suffix": "dev", "preset": "staging" if source == "flag" else None}
    environ = {"PAYMENT_INFRA_PRESET": "staging"} if source == "variable" else {}
    where = {
        "flag": "--preset",
        "variable": "PAYMENT_INFRA_PRESET",
        "top": f"{path}: preset",
        "section": f"{path} [environments.dev]: preset",
    }[source]
    expected = f"{where}: 'staging' is not a preset; use {' or '.join(PRESETS)}"
    assert refusal(flags, environ, path) == expected


@pytest.mark.parametrize(
    "content", ["suffix =", "suffix = 'dev'\nsuffix = 'prod'", "[environments"]
)
def test_a_toml_syntax_error_names_file_and_line(content: str, file: Callable[[str], Path]) -> None:
    path = file(content)
    message = refusal(path=path)
    assert message.startswith(f"{path}: not valid TOML: ")
    assert "(at line " in message or "(at end of document)" in message


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"suffix = '\xff'")
    assert refusal(path=path).startswith(f"{path}: is not a text in UTF-8 ")


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "missing.toml"
    assert refusal(path=path) == f"{path}: there is no such file; check --config"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refusal(path=tmp_path) == f"{tmp_path}: cannot be read (Is a directory)"


@pytest.mark.parametrize("content", ["environments = 5", "environments = [1]"])
def test_environments_hold_tables(content: str, file: Callable[[str], Path]) -> None:
    path = file(content)
    expected = f"{path}: environments must hold tables, as [environments.SUFFIX]"
    assert refusal(path=path) == expected


def test_a_section_is_a_table_named_by_a_suffix(file: Callable[[str], Path]) -> None:
    path = file("[environments]\ndev = 5")
    assert refusal(path=path) == f"{path} [environments.dev]: the suffix must name a table"
    path = file("[environments.Dev]")
    assert refusal(path=path).startswith(
        f"{path} [environments.Dev]: the suffix must be lower-case"
    )


def test_a_file_may_have_braces_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "{settings}.toml"
    path.write_text("throttle_rate_limit = 0")
    assert refusal(path=path).startswith(f"{path}: throttle_rate_limit: 0 is not allowed")


def test_the_usual_environment_has_its_section_unless_another_is_named(tmp_path: Path) -> None:
    file = tmp_path / "payment-infra.toml"
    file.write_text("[environments.local]\nthrottle_rate_limit = 7\n")
    usual = resolve({}, {}, file, "local").config
    assert (usual.suffix, usual.throttle_rate_limit) == ("local", 7)
    other = resolve({"suffix": "dev"}, {}, file, "local").config
    assert (other.suffix, other.throttle_rate_limit) == ("dev", 1000)
    assert resolve({}, {}, file).config.suffix == ""


def test_a_file_as_windows_saves_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(codecs.BOM_UTF8 + b"suffix = 'dev'\r\n[tags]\r\nTeam = 'x'\r\n")
    config = resolve({}, {}, path).config
    assert (config.suffix, config.tags) == ("dev", {"Team": "x"})


def test_a_file_in_utf_16_is_named_as_that(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("suffix = 'dev'", encoding="utf-16")
    assert refusal(path=path) == f"{path}: is a text in UTF-16; save it in UTF-8"


# Paths.


def test_a_path_is_relative_to_the_file_that_gives_it(in_empty_folder: Path) -> None:
    names = ("gateway", "gateway_requirements")
    given = "gateway = 'acme.py:Acme'\ngateway_requirements = './locks/acme.txt'\n"
    section = "gateway = '../other/acme.py:Acme'\ngateway_requirements = '/locks/acme.txt'\n"
    Path("conf").mkdir()
    for path in (Path("payment-infra.toml"), Path("conf/payment-infra.toml")):
        path.write_text(f"{given}[environments.prod]\n{section}")

    def found(path: Path | None, suffix: str = "dev") -> tuple[str, ...]:
        config = resolve({"suffix": suffix}, {}, path).config
        return tuple(getattr(config, name) for name in names)

    assert found(None) == ("acme.py:Acme", "locks/acme.txt")
    assert found(Path("conf/payment-infra.toml")) == ("conf/acme.py:Acme", "conf/locks/acme.txt")
    absolute = in_empty_folder / "conf" / "payment-infra.toml"
    folder = absolute.parent
    assert found(absolute) == (f"{folder}/acme.py:Acme", f"{folder}/locks/acme.txt")
    elsewhere = ("conf/../other/acme.py:Acme", "/locks/acme.txt")
    assert found(Path("conf/payment-infra.toml"), "prod") == elsewhere


def test_a_path_of_a_flag_or_a_variable_is_relative_to_the_working_directory(
    file: Callable[[str], Path],
) -> None:
    path = file("gateway = 'acme.py:Acme'\n")
    flagged = resolve({"gateway": "b/acme.py:Acme"}, {}, path)
    variable = resolve({}, {"PAYMENT_INFRA_GATEWAY": "b/acme.py:Acme"}, path)
    assert flagged.config.gateway == variable.config.gateway == "b/acme.py:Acme"


@pytest.mark.parametrize("gateway", ["simulated", "scripted", "handlers.shared.acme:Acme"])
def test_a_gateway_that_is_no_file_is_no_path(gateway: str, file: Callable[[str], Path]) -> None:
    path = file(f"gateway = '{gateway}'\n")
    assert resolve({}, {}, path).config == resolve({"gateway": gateway}, {}).config


@pytest.mark.parametrize(
    "gateway",
    [
        *("acme.py", "acme.py:", "acme:Acme", "a-b.py:Acme", "1a.py:Acme", ".py:Acme"),
        *("acme.pyc:Acme", "a\0b/acme.py:Acme", "acme/:Acme", "acme.py:1", "a\n/acme.py:A"),
        *("acme.py:A.B", "é.py:A"),
    ],
)
def test_a_gateway_that_is_neither_file_nor_module_is_refused(gateway: str) -> None:
    with pytest.raises(
        UsageError, match=r"must be simulated, scripted, stripe, FILE\.py:CLASS or handlers"
    ):
        resolve({"gateway": gateway}, {})


def test_requirements_are_of_a_file_of_ones_own_and_left_alone_by_those_that_come_along() -> None:
    given = {"gateway_requirements": "acme.txt"}
    for gateway in ("simulated", "scripted", "acme.py:Acme"):
        assert resolve({"gateway": gateway, **given}, {}).config.gateway_requirements == "acme.txt"
    with pytest.raises(UsageError, match=r"name it as FILE\.py:CLASS, or pin them in handlers/req"):
        resolve({"gateway": "handlers.shared.acme:Acme", **given}, {})
