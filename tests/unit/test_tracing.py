"""Which requests X-Ray records."""

from __future__ import annotations

from typing import Any

import pytest

from payment_infra.config import PRESETS
from payment_infra.errors import UsageError
from payment_infra.rules import MAX_SUFFIX_LENGTH
from payment_infra.sources import resolve
from tests.unit.template import Evaluated, load, of_type

PRODUCTION = PRESETS["production"]


def rule(**fields: Any) -> Any:
    template = load(**{**PRODUCTION, **fields})
    return Evaluated(template).resources["PaymentAPISamplingRule"]["SamplingRule"]


def test_production_records_five_percent_of_this_stages_requests_and_of_no_other() -> None:
    assert rule() == {
        "RuleName": "p-dev",
        "Priority": 1000,
        "FixedRate": 0.05,
        "ReservoirSize": 0,
        "ServiceName": "payment-api-dev/<PaymentAPIStage>",
        "ServiceType": "AWS::ApiGateway::Stage",
        "ResourceARN": "arn:aws:apigateway:eu-central-1::/restapis/<PaymentAPI>"
        "/stages/<PaymentAPIStage>",
        "Host": "*",
        "HTTPMethod": "*",
        "URLPath": "*",
        "Version": 1,
    }


def test_the_functions_and_the_stage_are_traced_whoever_samples() -> None:
    for template in (load(), load(**PRODUCTION)):
        stage = template["Resources"]["PaymentAPIStage"]["Properties"]
        assert stage["TracingEnabled"] is True
        for function in of_type(template, "AWS::Lambda::Function").values():
            assert function["Properties"]["TracingConfig"] == {"Mode": "Active"}


def test_development_leaves_sampling_to_x_rays_default_rule() -> None:
    assert of_type(load(), "AWS::XRay::SamplingRule") == {}


@pytest.mark.parametrize(("percent", "rate"), [(0, 0), (1, 0.01), (29, 0.29), (100, 1)])
def test_the_percentage_is_the_rules_rate(percent: int, rate: float) -> None:
    assert rule(trace_percent=percent)["FixedRate"] == rate


def test_name_and_priority_are_what_is_set() -> None:
    found = rule(sampling_rule_name="payments", sampling_priority=7)
    assert (found["RuleName"], found["Priority"]) == ("payments", 7)


def test_names_fit_what_x_ray_takes() -> None:
    # AWS X-Ray API, SamplingRule: 32 and 64 characters.
    assert len("p-") + MAX_SUFFIX_LENGTH <= 32
    assert len("payment-api-/prod") + MAX_SUFFIX_LENGTH <= 64


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trace_percent", -2),
        ("trace_percent", 101),
        ("sampling_priority", 0),
        ("sampling_priority", 10_000),
        ("sampling_rule_name", "a" * 33),
        ("sampling_rule_name", "a b"),
    ],
)
def test_what_x_ray_would_refuse_is_refused_before(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')}: "):
        resolve({name: value}, {})
