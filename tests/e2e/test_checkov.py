"""checkov over the committed production template, in an environment of its own."""

import json

import pytest

from tests.audit.__main__ import production
from tests.audit.checkers import CHECKOV, Finding, checkov, install, suppressed_in
from tests.e2e.harness import REPOSITORY

TEMPLATE = REPOSITORY / "templates" / "payment-infra-production.yaml"


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    install("installed-checkov")
    return checkov(TEMPLATE)


def test_checkov_finds_no_failure_in_the_production_template(findings: list[Finding]) -> None:
    assert [one for one in findings if not one.reason] == []


def test_what_checkov_skips_is_what_the_template_says(findings: list[Finding]) -> None:
    said = (one for one in suppressed_in(json.loads(production())) if one.checker == CHECKOV)
    assert sorted((one.rule, one.resource, one.reason) for one in findings if one.reason) == sorted(
        (one.rule, one.resource, one.reason) for one in said
    )
