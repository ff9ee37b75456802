"""docs/security.md: each threat has a control that is there, and a test that shows it."""

import re

import pytest

from payment_infra.config import FIELDS, KEPT, PRESETS
from tests.documents import REPOSITORY, Page
from tests.unit.template import load

PAGE = Page(REPOSITORY / "docs" / "security.md")
THREATS = {row[0]: row for row in PAGE.rows("## Threats") if len(row) == 4}
EVERY_THREAT = pytest.mark.parametrize("threat", THREATS)
TEMPLATE = load(**PRESETS["production"])


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def where(threat: str) -> list[str]:
    return spans(THREATS[threat][2])


@EVERY_THREAT
def test_a_control_is_where_the_page_says(threat: str) -> None:
    there = {*TEMPLATE["Resources"], *TEMPLATE["Parameters"], *FIELDS}
    assert where(threat)
    assert set(where(threat)) <= there


@EVERY_THREAT
def test_a_control_is_tested_where_the_page_says(threat: str) -> None:
    tests = spans(THREATS[threat][3])
    assert tests
    for test in tests:
        assert test.startswith("tests/")
        assert "\ndef test_" in (REPOSITORY / test).read_text(), test


def test_what_production_protects_more_than_development_is_against_some_threat() -> None:
    told = {name for threat in THREATS for name in where(threat)}
    assert set(PRESETS["production"]) & set(KEPT) <= told


def test_the_policy_names_the_version_as_the_program_says_it_and_no_address() -> None:
    policy = Page(REPOSITORY / "SECURITY.md").text
    assert "payment-infra --version" in policy
    assert not re.search(r"[\w.]+@[\w.]+|https?://", policy)
