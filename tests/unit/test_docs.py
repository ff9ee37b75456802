"""The documents say what there is, all of it, and nothing that there is not."""

from __future__ import annotations

import ast
import json
import os
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest

from handlers.shared.aws import metrics
from payment_infra.artifacts import code_keys
from payment_infra.cli import COMMANDS
from payment_infra.cli.diff import DIFFERENT
from payment_infra.cli.interruption import BY_SIGNAL, SIGNALS
from payment_infra.cli.streams import READER_LEFT
from payment_infra.cli.views import ndjson
from payment_infra.cloud.events import (
    Caution,
    Change,
    Diagnosis,
    LastOperation,
    Outputs,
    Preview,
    PropertyChange,
    Result,
    StackEvent,
    StepBegun,
)
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.config import FIELDS, PRESETS, StackConfig
from payment_infra.gateway_names import gateway_name
from payment_infra.grants import GrantChange
from payment_infra.place import PLACE
from payment_infra.rendering import render
from payment_infra.sources import ENVIRONMENT_PREFIX, resolve
from payment_infra.template import build_template
from tests import costs
from tests.documents import PROGRAM, REPOSITORY, RUNNABLE, Page, pages
from tests.reference import commands, flags, reference
from tests.unit.template import Evaluated, load

README = Page(REPOSITORY / "README.md")
PACKAGE = REPOSITORY / "payment_infra"
PAGES = {page.name: page for page in pages()}
EVERY_PAGE = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
# The programs of others whose options the documents name.
OTHERS = {"aws", "curl", "make", "git", "pip", "python", "python3", "awscurl", "cat", "mkdir"}
OTHERS_OPTIONS = {"--aws-sigv4", "--service", "--s3-bucket", "--endpoint-url", "--require-hashes"}
OTHERS_OPTIONS |= {"--generate-hashes"}
# What the documents name and AWS, the gateway's protocol or an example has, not this repository.
OTHERS_NAMES = {
    *("GetItem", "TransactWriteItems", "ReturnValuesOnConditionCheckFailure", "ZipFile"),
    *("dev-001", "payment-infra-dev-001", "transactions-dev-001", "payment-dashboard-dev-001"),
}
VARIABLES = {"PAYMENT_INFRA_PRESET", "PAYMENT_INFRA_CONFIG"}
MARK = "<!-- From here on written by the tests"


def page(name: str) -> Page:
    return PAGES[f"docs/{name}.md"]


@cache
def template(**settings: Any) -> Any:
    return build_template(StackConfig(**settings), code_keys())


def named(cells: list[str]) -> set[str]:
    """Return what stands in backticks in some cells."""
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


# Commands and options.


def test_the_readme_has_every_command_and_no_other() -> None:
    rows = README.rows("## Commands")
    assert [name for row in rows for name in named(row[:1])] == list(COMMANDS)


def test_the_reference_has_every_option_as_help_has_it() -> None:
    written = page("commands")
    head, _, rest = written.text.partition(MARK)
    first_line = rest.partition("\n")[0]
    text = f"{head}{MARK}{first_line}\n\n{reference()}"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        written.path.write_text(text, encoding="utf-8")
    assert text == written.path.read_text(encoding="utf-8")


@EVERY_PAGE
def test_a_command_in_a_shell_block_is_one_that_the_program_takes(page: Page) -> None:
    for line in page.command_lines():
        arguments = line[1:]
        if arguments != ["--help"]:
            name = command_of(arguments)
            assert name, line
            rest = arguments[len(name.split()) :]
            try:
                commands()[name].make_context(name, rest)
            except click.UsageError as error:
                pytest.fail(f"{' '.join(line)}: {error.format_message()}")


@EVERY_PAGE
def test_a_command_in_the_text_is_one_that_there_is_with_its_options(page: Page) -> None:
    for span in page.spans:
        arguments = span.removeprefix(f"{PROGRAM} ").split()
        is_ours = span.startswith(f"{PROGRAM} ") or command_of(arguments) is not None
        options = [word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)]
        if is_ours and arguments[0] not in {"COMMAND", "--version", *options}:
            name = command_of(arguments)
            assert name, span
            assert set(options) <= known_options(name), span
        elif arguments and arguments[0].rpartition("/")[2] not in OTHERS:
            assert set(options) <= known_options() | OTHERS_OPTIONS, span


def command_of(arguments: list[str]) -> str | None:
    """Return the name of the command that the arguments begin with, if they begin with one."""
    two, one = " ".join(arguments[:2]), " ".join(arguments[:1])
    return next((name for name in (two, one) if name in commands()), None)


@cache
def known_options(name: str | None = None) -> set[str]:
    """Return the options of a command, those of its own commands included, or of all."""
    return {
        text
        for other, command in commands().items()
        if name is None or other == name or other.startswith(f"{name} ")
        for text in flags(command)
    } | ({"--version"} if name is None else set())


# Settings, parameters, outputs.


def test_every_setting_is_told_with_its_defaults_and_no_other() -> None:
    rows = page("configuration").rows("## All settings")
    assert [row[0] for row in rows] == [f"`{name}`" for name in FIELDS]
    for preset, column in (("development", 2), ("production", 3)):
        config = StackConfig(preset=preset, **PRESETS[preset])  # type: ignore[arg-type]
        told = {row[0].strip("`"): row[column].partition(",")[0].strip("`") for row in rows}
        assert told == {name: default(name, getattr(config, name)) for name in FIELDS}


def test_what_a_setting_costs_is_told_in_its_own_words() -> None:
    rows = page("configuration").rows("## What settings cost")
    costs = {f"`{name}`": field.metadata["costs"] for name, field in FIELDS.items()}
    assert rows == [[name, text] for name, text in costs.items() if text]


def default(name: str, value: object) -> str:
    """Return how the documents say a default."""
    if name == "gateway":
        return gateway_name(str(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(value) or "-"
    return "none" if name == "tags" else str(value) or "-"


@pytest.mark.parametrize("name", ["suffix", "throttle_rate_limit", "throttle_burst_limit"])
def test_a_range_in_the_table_of_settings_is_that_of_the_rule(name: str) -> None:
    """Of numbers, or of how many characters a text has."""
    bounds = re.findall(r"[\d,]+", allowed(name).partition(" lower-case")[0])
    low, high = (int(bound.replace(",", "")) for bound in bounds)
    field = FIELDS[name]
    values = [low - 1, low, high, high + 1]
    given = values if isinstance(field.default, int) else ["a" * number for number in values]
    assert [field.metadata["rule"](value) is None for value in given] == [False, True, True, False]


@pytest.mark.parametrize(
    "name", ["authorization", "payment_access", "runtime", "architecture", "log_retention_days"]
)
def test_a_choice_in_the_table_of_settings_is_that_of_the_rule(name: str) -> None:
    told = allowed(name).partition(": ")[2] or allowed(name)
    choice = FIELDS[name].metadata["rule"]("").removeprefix("must be one of ").split(", ")
    if told.endswith(", ..."):
        assert told.split(", ")[:-1] == choice[: told.count(",")]
    elif " to " in told:
        assert told.split(" to ") == [choice[0], choice[-1]]
    else:
        assert told.split(", ") == choice


def allowed(name: str) -> str:
    """Return what the documents say that a setting may be."""
    rows = page("configuration").rows("## All settings")
    return {row[0].strip("`"): row[4].replace("`", "") for row in rows}[name]


def test_what_an_update_keeps_is_what_is_marked_so() -> None:
    kept = {name for name, field in FIELDS.items() if field.metadata["kept"]}
    told = page("configuration").section("## What an update keeps")
    told = told.partition("**What money")[2].partition("None of them")[0]
    assert named([told]) == kept - {"termination_protection"}


@EVERY_PAGE
def test_a_variable_is_one_that_is_read(page: Page) -> None:
    known = VARIABLES | {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in (*PLACE, *FIELDS)}
    assert set(re.findall(rf"{ENVIRONMENT_PREFIX}[A-Z_]+[A-Z]", page.text)) <= known


@EVERY_PAGE
def test_an_example_of_the_configuration_is_taken(page: Page, tmp_path: Path) -> None:
    for block in page.blocks:
        if block.info == "toml":
            file = tmp_path / "payment-infra.toml"
            file.write_text(block.text)
            suffix = next(iter(re.findall(r"\[environments\.(.+)\]", block.text)), "dev-001")
            assert resolve({"suffix": suffix}, {}, file).config.suffix == suffix


def test_every_parameter_is_told_with_its_defaults_and_no_other() -> None:
    rows = page("configuration").rows("## Parameters")
    development, production = (
        parameter_defaults(**PRESETS[preset]) for preset in ("development", "production")
    )
    assert development.keys() <= production.keys()
    assert {row[0].strip("`"): row[1] for row in rows} == {
        name: told
        if told == (less := development.get(name, "-"))
        else f"{less} (production: {told})"
        for name, told in production.items()
    }


def parameter_defaults(**settings: Any) -> dict[str, str]:
    """Return how the documents say the default of each parameter of a template."""
    parameters = template(**settings).to_dict()["Parameters"]
    return {
        name: str(one["Default"]) or "empty" if "Default" in one else "none"
        for name, one in parameters.items()
    }


def test_every_output_is_told_and_no_other() -> None:
    rows = page("configuration").rows("## Outputs")
    assert {row[0].strip("`") for row in rows} == set(template().outputs)


# Alarms and metrics.


def alarms(**fields: Any) -> dict[str, str]:
    """Return the base name of every alarm, and its description."""
    found = template(**fields).to_dict()["Resources"].values()
    return {
        one["Properties"]["AlarmName"]["Fn::Sub"].removesuffix("-${EnvironmentSuffix}"): one[
            "Properties"
        ]["AlarmDescription"]
        for one in found
        if one["Type"] == "AWS::CloudWatch::Alarm"
    }


# Of a stack that has them all: at the simulated gateway no payment is pending.
EVERY_ALARM = alarms(**PRESETS["production"], gateway="handlers.shared.acme:Acme")


def runbook() -> dict[str, str]:
    """Return what the runbook says, by alarm."""
    told = page("monitoring").section("## Runbook")
    entries = re.findall(r"^### (.+)\n((?:(?!### ).*\n?)*)", told, re.MULTILINE)
    return {name: text for heading, text in entries for name in named([heading])}


def test_the_runbook_has_every_alarm_and_no_other() -> None:
    assert set(runbook()) == set(EVERY_ALARM)


@pytest.mark.parametrize("name", EVERY_ALARM)
def test_the_runbook_begins_with_the_command_that_the_alarm_names(name: str) -> None:
    command = EVERY_ALARM[name].partition(". Run ")[2]
    assert f"`{command}`" in " ".join(runbook()[name].split())


def test_every_metric_is_told_and_no_other() -> None:
    constants = ((name, value) for name, value in vars(metrics).items() if name.isupper())
    names = {value for _, value in constants if isinstance(value, str)}
    rows = page("monitoring").rows("## Metrics")
    assert named([row[0] for row in rows]) == names - {metrics.NAMESPACE}


# What a program gives back.


def test_every_exit_code_is_told_and_no_other() -> None:
    rows = page("commands").rows("## Exit codes")
    assert {int(row[0]) for row in rows} == exit_codes()


@EVERY_PAGE
def test_an_exit_code_in_the_text_is_one_that_there_is(page: Page) -> None:
    prose = " ".join(page.prose.split())
    told = re.findall(r"\bexit(?:s|ing)?(?: code)?(?: with| of)? (\d+)", prose)
    assert {int(code) for code in told} <= exit_codes()


@cache
def exit_codes() -> set[int]:
    """Return the exit codes of all errors, and those of success, of a difference, of a reader that
    has left, and of what a signal has interrupted."""
    sources = (path.read_text() for path in PACKAGE.rglob("*.py"))
    found = re.findall(r"^ +exit_code = (\d+)$", "\n".join(sources), re.MULTILINE)
    signals = {BY_SIGNAL + number for number in SIGNALS}
    return {0, DIFFERENT, READER_LEFT, *signals, *map(int, found)}


def test_every_type_of_ndjson_is_told_and_no_other() -> None:
    tree = ast.parse(Path(ndjson.__file__).read_text(encoding="utf-8"))
    written = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "_write"
        and isinstance(node.args[0], ast.Constant)
    }
    rows = page("deploying").rows("## NDJSON")
    assert {row[0].strip("`") for row in rows} == written


def test_every_field_of_ndjson_is_told_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    view, cause = ndjson.JsonView(), Diagnosis("", "", "", "", None, None, None)
    changes = (Change("Add", "", "", properties=(PropertyChange(""),)),)
    grants = (GrantChange(added=True, role="", effect="", actions=(), resources=()),)
    view.tell(Preview("", "", "", "", True, changes, grants, unasked=(PropertyChange(""),)))
    view.tell(StackEvent("", datetime.now(UTC), "", "", "", ""))
    now = datetime.now(UTC)
    view.tell(LastOperation("", now, now, "", 0, ()))
    for event in (Caution(""), Outputs({}), StepBegun(1, 1, ""), Result("", "", changed=True)):
        view.tell(event)
    view.fail(DeploymentFailed("", diagnosis=cause))
    written = {
        line["type"]: keys(line) - {"type"}
        for line in map(json.loads, capsys.readouterr().out.splitlines())
    }
    rows = page("deploying").rows("## NDJSON")
    told = {row[0].strip("`"): named(row[1:]) - {"restore"} for row in rows}
    assert told.pop("report")  # whose other fields are the report's own
    assert told == written


def keys(value: object) -> set[str]:
    """Return the keys of a JSON value at any depth."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item)}
    if isinstance(value, dict):
        return {*value, *(key for item in value.values() for key in keys(item))}
    return set()


# Names, links, numbers.


@cache
def source_names() -> set[str]:
    """Return every name that the sources and the templates have."""
    paths = [
        *(
            path
            for folder in ("payment_infra", "handlers")
            for path in (REPOSITORY / folder).rglob("*.py")
        ),
        *(REPOSITORY / "templates").iterdir(),
        REPOSITORY / "handlers" / "openapi.json",
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    # An alarm's name is put together from its parts.
    return set(re.findall(r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*", text)) | set(EVERY_ALARM)


@EVERY_PAGE
def test_a_name_in_backticks_is_one_that_the_sources_have(page: Page) -> None:
    """Names of several words: ThisOne, this_one and this-one."""
    shape = r"(?:[A-Z]+[a-z0-9]+){2,}|[a-z0-9]+(?:[-_][a-z0-9]+)+"
    names = {span for span in page.spans if re.fullmatch(shape, span)}
    if page.name != "CONTRIBUTING.md":  # which names what a contributor is going to write
        assert names - OTHERS_NAMES <= source_names()


@EVERY_PAGE
def test_links_and_anchors_lead_somewhere(page: Page) -> None:
    for link in page.links:
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, fragment = unquote(link).partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        if fragment:
            assert fragment in Page(target).anchors, link


def test_every_page_is_in_the_index() -> None:
    index = page("README")
    linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    assert {one.path for name, one in PAGES.items() if name.startswith("docs/")} <= {
        *linked,
        index.path,
    }


@EVERY_PAGE
def test_a_file_that_a_page_names_is_there(page: Page) -> None:
    """By its path in the repository, or in the package, as `cli/options.py`."""
    file = r"(?:[a-z0-9_]+/)+(?:[a-z0-9_-]+\.(?:py|md|json|yaml|txt))?"
    for name in (span for span in page.spans if re.fullmatch(file, span)):
        assert any((folder / name).exists() for folder in (REPOSITORY, PACKAGE)), name


def test_the_numbers_are_those_of_the_template() -> None:
    as_yaml, as_json = (render(template(), form) for form in ("yaml", "json"))
    kilobytes = [f"{len(text.encode()) / 1000:.1f} KB" for text in (as_yaml, as_json)]
    told = " ".join(page("deploying").text.split())
    assert f"has {kilobytes[0]} as YAML and {kilobytes[1]} as JSON" in told
    assert f"development template has {kilobytes[0]}" in page("development").text
    resources = Evaluated(load()).resources
    assert f"Deployed {len(resources)} resources." in README.text
    demo = render(template(suffix="local", authorization="none"), "yaml")
    assert f"({len(demo.encode())} bytes)" in README.text
    assert f"{len(alarms())} alarms" in README.text
    assert f"{len(alarms())} alarms" in page("monitoring").text
    assert f"{len(alarms())} alarms" in page("deploying").text


def test_the_tables_of_the_cost_are_the_arithmetic_of_the_prices() -> None:
    written = page("cost")
    if os.environ.get("UPDATE_SNAPSHOTS"):
        for heading, rows in costs.tables():
            section = written.section(heading)
            head = section[: re.search(r"^\|(-+\|)+\n", section, re.MULTILINE).end()]  # type: ignore[union-attr]
            rest = re.sub(r"\A(\|.*\n)*", "", section.removeprefix(head))
            table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
            text = written.path.read_text(encoding="utf-8")
            written.path.write_text(text.replace(section, head + table + rest), encoding="utf-8")
        written = Page(written.path)
    for heading, rows in costs.tables():
        assert written.rows(heading) == rows


def test_production_costs_at_most_nine_tenths_of_the_reference() -> None:
    """For a million payments; what is on besides is told beside it."""
    sums = {name: costs.total(costs.per_million(one)) for name, one in costs.SYSTEMS.items()}
    assert sums["production"] <= 0.9 * min(sums["reference"], 16.0)
    told = page("cost").text
    for value in sums.values():
        assert f"{value:.2f} USD" in told
    logged = costs.MEASURED.handler_log_bytes + costs.MEASURED.access_log_bytes
    assert f"{logged / 1000 * 0.12:.2f} USD for a million payments" in told


def test_runnable_blocks_are_marked_in_one_way() -> None:
    infos = {block.info for one in PAGES.values() for block in one.blocks}
    assert infos <= {RUNNABLE, "bash", "text", "json", "toml", "mermaid", "ts", "python"}
