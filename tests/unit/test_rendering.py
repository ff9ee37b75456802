from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec, module_from_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payment_infra.artifacts import code_keys
from payment_infra.config import PRESETS, StackConfig
from payment_infra.linting import lint
from payment_infra.record import read_record
from payment_infra.rendering import SECTIONS, document, read_document, render, render_document
from payment_infra.sources import resolve
from payment_infra.template import build_bootstrap_template, build_template

REPOSITORY = Path(__file__).parents[2]
GOLDEN = {
    "development": REPOSITORY / "templates" / "payment-infra.yaml",
    "production": REPOSITORY / "templates" / "payment-infra-production.yaml",
}
# CloudFormation quotas, "Template body size in a request".
MAX_BODY_BYTES = 51_200
# What the development template takes; who adds to it sees here what that costs, and what is left.
BUDGET_BYTES = {"yaml": 50_500, "json": 53_600}
EVERY_PRESET = pytest.mark.parametrize("preset", GOLDEN)
EVERY_FORMAT = pytest.mark.parametrize("form", ["yaml", "json"])


def rendered(preset: str, form: str, **flags: object) -> str:
    config = resolve({"preset": preset, **flags}, {}).config
    return render(build_template(config, code_keys()), form)


def plain(value: Any) -> Any:
    """Return the value in plain dicts and lists, order and all."""
    return json.loads(json.dumps(value))


@EVERY_PRESET
def test_the_committed_template_is_what_is_rendered(preset: str) -> None:
    assert GOLDEN[preset].read_bytes() == rendered(preset, "yaml").encode()


@EVERY_PRESET
def test_yaml_and_json_hold_the_same_template_in_the_same_order(preset: str) -> None:
    yaml, document = read_document(rendered(preset, "yaml")), json.loads(rendered(preset, "json"))
    assert json.dumps(yaml) == json.dumps(document)


@pytest.mark.parametrize(
    "flags",
    [
        {"suffix": "0123"},
        {"suffix": "1e5"},
        {"suffix": "null"},
        {"suffix": "true"},
        {"suffix": "2026-11-22"},
        {"tags": {"a:b": "- #{x}", "Note": " 'é \" ", "Empty": "", "yes": "no"}},
    ],
    ids=str,
)
def test_yaml_keeps_text_that_looks_like_something_else(flags: Mapping[str, object]) -> None:
    tags = flags.get("tags")
    if tags is not None:  # past the check of tags, which would refuse some of this
        template = build_template(StackConfig(tags=tags), code_keys())  # type: ignore[arg-type]
        yaml, document = render(template, "yaml"), render(template, "json")
    else:
        yaml = rendered("development", "yaml", **flags)
        document = rendered("development", "json", **flags)
    assert json.dumps(read_document(yaml)) == json.dumps(json.loads(document))


# Letters of every length in UTF-8, and one that JSON writes as a pair of escapes.
FOREIGN = {"Équipe": "支払い", "Ort": "𠮷野家"}


@EVERY_FORMAT
def test_what_is_rendered_is_ascii_and_means_what_was_given(form: str) -> None:
    text = rendered("production", form, tags=FOREIGN)
    assert text.isascii()
    resources = read_document(text)["Resources"]
    tags = resources["TransactionsTable"]["Properties"]["Tags"]
    assert FOREIGN.items() <= {tag["Key"]: tag["Value"] for tag in tags}.items()
    assert FOREIGN.items() <= resources["BackupPlan"]["Properties"]["BackupPlanTags"].items()
    assert read_record(read_document(text)).values["tags"] == FOREIGN
    assert not [found for found in lint(text) if found.level == "error"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref A", {"Ref": "A"}),
        ("!Condition A", {"Condition": "A"}),
        ("!GetAtt A.B.C", {"Fn::GetAtt": ["A", "B.C"]}),
        ("!GetAtt [A, B.C]", {"Fn::GetAtt": ["A", "B.C"]}),
        ("{Fn::GetAtt: [A, B]}", {"Fn::GetAtt": ["A", "B"]}),
        ("!Sub ${A}-${B.C}", {"Fn::Sub": "${A}-${B.C}"}),
        ("!Sub [A, {B: !GetAtt C.D}]", {"Fn::Sub": ["A", {"B": {"Fn::GetAtt": ["C", "D"]}}]}),
        ("!If [A, !Ref B, [!Ref C]]", {"Fn::If": ["A", {"Ref": "B"}, [{"Ref": "C"}]]}),
        (
            "!Transform {Name: A, More: {B: [1]}}",
            {"Fn::Transform": {"Name": "A", "More": {"B": [1]}}},
        ),
        ("!Sub 5", {"Fn::Sub": "5"}),
        ("!Sub |\n  a\n  b", {"Fn::Sub": "a\nb"}),
        (">\n  a\n  b\n", "a b\n"),
        ("2010-09-09", "2010-09-09"),
        ("'0123'", "0123"),
        ("0.5", 0.5),
        ("7", 7),
        ("true", True),
        ('"\\u00e9\\t"', "é\t"),
        ("é", "é"),
    ],
)
def test_a_template_is_read_into_the_long_forms(text: str, value: object) -> None:
    indented = text.replace("\n", "\n  ")
    assert read_document(f"Resources:\n  A: {indented}") == {"Resources": {"A": value}}


NAMES = st.from_regex(r"\A[A-Za-z]{1,8}\Z")
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n"))
PLAIN = TEXTS | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


def functions(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.fixed_dictionaries({"Ref": NAMES}),
        st.fixed_dictionaries({"Fn::GetAtt": st.tuples(NAMES, NAMES).map(list)}),
        st.fixed_dictionaries({"Fn::Sub": TEXTS}),
        st.fixed_dictionaries({"Fn::Sub": st.tuples(TEXTS, st.just({"A": 1})).map(list)}),
        st.fixed_dictionaries({"Fn::If": st.tuples(NAMES, values, values).map(list)}),
    )


@given(
    st.recursive(
        PLAIN,
        lambda it: st.lists(it) | st.dictionaries(NAMES | TEXTS, it) | functions(it),
        max_leaves=10,
    )
)
def test_what_is_rendered_is_read_back_as_it_was(value: Any) -> None:
    whole = {"Resources": {"A": {"Type": "B", "Properties": {"C": value}}}}
    assert read_document(render_document(whole)) == whole


def test_yaml_is_indented_by_one_space_for_each_mapping_and_by_two_for_what_a_dash_begins() -> None:
    text = "a\nb"
    nested = {"Text": text, "List": [{"Text": text, "More": [[{"Text": text}]]}]}
    assert render_document({"Resources": {"A": {"Properties": nested}}}).splitlines() == [
        "Resources:",
        " A:",
        "  Properties:",
        "   Text: |-",
        "    a",
        "    b",
        "   List:",
        "   - Text: |-",
        "      a",
        "      b",
        "     More:",
        "     - - Text: |-",
        "          a",
        "          b",
    ]


@pytest.mark.parametrize("text", ["a\n b", " a\nb", "- a\n  - b\n\nc\n", "\n\n a", "a\n\tb\n\n"])
def test_a_text_keeps_the_space_that_its_lines_begin_with(text: str) -> None:
    whole = {"Resources": {"A": {"Properties": {"B": [{"C": text, "D": 1}], "E": text}}}}
    assert read_document(render_document(whole)) == whole


def test_yaml_uses_the_short_forms_of_the_intrinsic_functions() -> None:
    text = rendered("development", "yaml")
    assert "Fn::" not in text
    assert "Ref:" not in text
    for form in ("!Ref ", "!GetAtt ", "!Sub ", "!If [", "!Equals [", "!Not ["):
        assert form in text


def test_yaml_repeats_itself_rather_than_refer_to_an_anchor() -> None:
    # CloudFormation takes no aliases.
    text = rendered("development", "yaml", tags={"Team": "payments"})
    assert not [line for line in text.splitlines() if line.split(": ")[-1][:1] in {"&", "*"}]


@EVERY_FORMAT
def test_the_sections_come_in_the_order_in_which_they_are_read(form: str) -> None:
    text = rendered("production", form)
    document = read_document(text) if form == "yaml" else json.loads(text)
    assert list(document) == list(SECTIONS)
    assert list(SECTIONS) == [
        *("AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules"),
        *("Conditions", "Resources", "Outputs"),
    ]


def test_no_section_of_the_template_is_left_out() -> None:
    config = StackConfig(suffix="dev", **PRESETS["production"])  # type: ignore[arg-type]
    template = build_template(config, code_keys())
    assert set(document(template)) == set(template.to_dict()) == set(SECTIONS)


@EVERY_FORMAT
def test_the_resources_come_in_the_order_of_their_groups(form: str) -> None:
    text = rendered("development", form)
    document = read_document(text) if form == "yaml" else json.loads(text)
    names = list(document["Resources"])
    landmarks = [
        *("AlarmTopic", "TransactionsTable", "FailedTransactionsQueue", "FailedTransactionsDLQ"),
        *("ValidationFunction", "ValidationLogGroup", "ValidationRole", "ValidationPolicy"),
        *("ProcessingFunction", "RetryFunction", "RetryEventSource", "HealthMonitorFunction"),
        *("PaymentAPI", "ValidateMethod"),
        *("PaymentCallerPolicy", "PaymentAPIStage", "DynamoDBThrottleAlarm", "PaymentDashboard"),
    ]
    assert [name for name in names if name in landmarks] == landmarks


@EVERY_FORMAT
def test_a_resource_says_first_what_it_is_and_last_how_it_is_set(form: str) -> None:
    text = rendered("development", form)
    document = read_document(text) if form == "yaml" else json.loads(text)
    for resource in document["Resources"].values():
        assert next(iter(resource)) == "Type"
        assert list(resource)[-1] == "Properties"


@EVERY_FORMAT
@EVERY_PRESET
def test_rendering_loses_nothing_of_the_template(preset: str, form: str) -> None:
    template = build_template(resolve({"preset": preset}, {}).config, code_keys())
    text = render(template, form)
    document = read_document(text) if form == "yaml" else json.loads(text)
    assert plain(document) == plain(template.to_dict())


@EVERY_FORMAT
def test_development_keeps_to_its_budget_with_the_longest_names(form: str) -> None:
    text = rendered("development", form, suffix="a" * 30, bucket="b" * 63)
    assert len(text.encode()) <= BUDGET_BYTES[form]


def test_development_can_be_sent_to_cloudformation_as_it_is() -> None:
    # JSON, which has a quote at both ends of each word, needs a bucket.
    assert BUDGET_BYTES["yaml"] < MAX_BODY_BYTES
    assert len(render(build_bootstrap_template(), "yaml").encode()) < MAX_BODY_BYTES


def test_yaml_quotes_the_argument_of_a_function_only_where_it_has_to() -> None:
    lines = rendered("development", "yaml").splitlines()
    assert " HasAlarmEmail: !Not [!Equals [!Ref AlarmEmail, '']]" in lines
    assert "   TopicName: !Sub payment-alarms-${EnvironmentSuffix}" in lines
    # Within braces, a brace or a colon would end the text.
    tag = "{Name: service, Value: !Sub 'payment-${EnvironmentSuffix}'}"
    assert any(tag in line for line in lines)


@EVERY_PRESET
def test_yaml_has_on_one_line_what_is_short_and_on_lines_of_its_own_what_a_reader_looks_for(
    preset: str,
) -> None:
    lines = rendered(preset, "yaml").splitlines()
    for start, line in enumerate(lines):
        if line.endswith("  Properties:"):
            assert indent(lines[start + 1]) == indent(line) + 1
    assert not [line for line in lines if re.match(r"(Resources|Outputs): .", line)]
    assert lines.count("   Tags: [{Key: Environment, Value: !Ref EnvironmentSuffix}]") > 20
    assert not [line for line in lines if "  Properties: " in line]


@EVERY_PRESET
def test_yaml_does_not_indent_a_list(preset: str) -> None:
    # What that takes is what keeps the template within one request.
    lines = rendered(preset, "yaml").splitlines()
    pairs = [(above, line) for above, line in pairwise(lines) if above.endswith(":")]
    items = [(above, line) for above, line in pairs if line.lstrip().startswith("- ")]
    assert items
    for above, line in items:
        assert indent(line) == len(re.sub(r"^( *(- )*).*", r"\1", above)), (above, line)


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@EVERY_PRESET
def test_json_has_a_line_for_each_entry_of_a_section(preset: str) -> None:
    text = rendered(preset, "json")
    document = json.loads(text)
    lines = set(text.splitlines())
    entries = [
        (name, entry)
        for content in document.values()
        if isinstance(content, dict)
        for name, entry in content.items()
    ]
    assert len(entries) > 70
    for name, entry in entries:
        line = f"{compact(name)}:{compact(entry)}"
        assert {line, f"{line},"} & lines


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


@EVERY_FORMAT
def test_the_text_ends_with_one_newline_and_no_line_with_a_space(form: str) -> None:
    text = rendered("development", form)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert not [line for line in text.splitlines() if line != line.rstrip()]


SCRIPT = """
import os, sys
os.umask(int(sys.argv[1], 8))
from payment_infra.cli import root
root.main(["render", "--tag", "Z=1", "--tag", "A=\\u00e9", "--format", sys.argv[2]])
"""
MACHINES: Mapping[str, Mapping[str, str]] = {
    "usual": {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "umask": "022"},
    "odd": {
        "LC_ALL": "C",
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "4711",
        "umask": "077",
        "CFN_MAX_COL_WIDTH": "40",
        "PYTHONUTF8": "0",
    },
}


@EVERY_FORMAT
def test_every_machine_renders_the_same_bytes(form: str, tmp_path: Path) -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, machine["umask"], form],
            cwd=tmp_path,
            env={**machine, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            check=True,
        ).stdout
        for machine in MACHINES.values()
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith(b"AWSTemplateFormatVersion" if form == "yaml" else b"{")


def test_yaml_is_the_same_without_emitter_and_parser_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("yaml.CSafeDumper")
    monkeypatch.delattr("yaml.CSafeLoader")
    spec = find_spec("payment_infra.rendering")
    assert spec is not None
    assert spec.loader is not None
    slow = module_from_spec(spec)
    spec.loader.exec_module(slow)
    config = resolve({"preset": "production", "tags": FOREIGN}, {}).config
    template = build_template(config, code_keys())
    assert "write_literal" in dir(slow._Dumper)  # which only the one in Python has
    assert slow.render(template) == render(template)
    assert slow.read_document(render(template)) == read_document(render(template))


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, '{"a": ' * 100_000])
def test_a_document_that_is_nested_too_deeply_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="nest"):
        read_document(text)
