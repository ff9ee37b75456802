"""What a template has for a gateway that notifies, and nothing of it for one that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payment_infra import names
from payment_infra.combinations import conflicts
from payment_infra.config import PRESETS, StackConfig
from payment_infra.groups import encryption
from payment_infra.rendering import MAX_BODY_BYTES
from tests.unit.template import Evaluated, Json, load, of_type

ACME = "handlers.shared.acme:Acme"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:acme/key-AbCdEf"
PLAIN = load(gateway=ACME, gateway_secret=SECRET)
NOTIFYING = load(gateway=ACME, gateway_secret=SECRET, gateway_events=True)
PRODUCTION: dict[str, Any] = {
    **PRESETS["production"],
    "gateway": ACME,
    "gateway_secret": SECRET,
    "gateway_events": True,
}
DEPLOYED = Evaluated(NOTIFYING)


def statements(template: Json) -> dict[str, Any]:
    policy = Evaluated(template).resources["GatewayEventsPolicy"]["PolicyDocument"]
    return {one["Sid"]: one for one in policy["Statement"]}


def test_only_what_is_asked_for_is_added_and_nothing_there_changes_its_name() -> None:
    added = NOTIFYING["Resources"].keys() - PLAIN["Resources"].keys()
    assert {name for name in added if not name.startswith("PaymentAPIDeployment")} == {
        "GatewayEventsErrorAlarm",
        "GatewayEventsFunction",
        "GatewayEventsLogGroup",
        "GatewayEventsMethod",
        "GatewayEventsPermission",
        "GatewayEventsPolicy",
        "GatewayEventsResource",
        "GatewayEventsRole",
    }
    gone = PLAIN["Resources"].keys() - NOTIFYING["Resources"].keys()
    assert {name[:-12] for name in gone} == {"PaymentAPIDeployment"}
    assert PLAIN["Parameters"] == NOTIFYING["Parameters"]


@pytest.mark.parametrize("template", [load(), load(**PRESETS["production"])])
def test_with_the_simulated_gateway_there_is_nothing_of_it(template: Json) -> None:
    text = json.dumps({**template, "Metadata": {}}).lower()
    assert "gateway-events" not in text
    assert "gatewayevents" not in text
    assert len(load()) <= MAX_BODY_BYTES


def test_the_simulated_gateway_notifies_of_nothing() -> None:
    [conflict] = conflicts(StackConfig(gateway_events=True))
    assert conflict.fields == ("gateway_events", "gateway")
    assert conflicts(StackConfig(gateway_events=True, gateway=ACME)) == []


@pytest.mark.parametrize("authorization", ["iam", "none"])
def test_the_method_is_open_takes_any_body_and_invokes_its_own_function(authorization: str) -> None:
    deployed = Evaluated(load(gateway=ACME, gateway_events=True, authorization=authorization))
    method = deployed.resources["GatewayEventsMethod"]
    assert method["AuthorizationType"] == "NONE"
    assert method["HttpMethod"] == "POST"
    assert not {"RequestValidatorId", "RequestModels", "ApiKeyRequired"} & method.keys()
    assert "<GatewayEventsFunction.Arn>/invocations" in method["Integration"]["Uri"]
    assert deployed.resources["GatewayEventsResource"]["PathPart"] == names.GATEWAY_EVENTS_PATH
    permission = deployed.resources["GatewayEventsPermission"]
    assert permission["SourceArn"].endswith("<PaymentAPI>/prod/POST/gateway-events")
    # What a deployment takes a snapshot of is in it.
    [deployment] = of_type(NOTIFYING, "AWS::ApiGateway::Deployment").values()
    assert "GatewayEventsMethod" in deployment["DependsOn"]


@pytest.mark.parametrize(("given", "rate"), [({}, 100), ({"gateway_events_rate_limit": 7}, 7)])
def test_it_has_a_throttle_of_its_own(given: dict[str, int], rate: int) -> None:
    stage = Evaluated(load(gateway=ACME, gateway_events=True, **given)).resources["PaymentAPIStage"]
    [own] = [one for one in stage["MethodSettings"] if one["ResourcePath"] == "/~1gateway-events"]
    assert own["HttpMethod"] == "POST"
    assert (own["ThrottlingRateLimit"], own["ThrottlingBurstLimit"]) == (rate, 2 * rate)
    assert own["DataTraceEnabled"] is False


def test_the_function_may_settle_payments_and_read_the_secret_and_no_more() -> None:
    granted = {sid: one["Action"] for sid, one in statements(NOTIFYING).items()}
    assert granted == {
        "ClaimAndFinishPayments": ["dynamodb:UpdateItem"],
        "ReadGatewaySecret": ["secretsmanager:GetSecretValue"],
        "WriteLogs": ["logs:CreateLogStream", "logs:PutLogEvents"],
    }
    assert statements(NOTIFYING)["ReadGatewaySecret"]["Resource"] == [SECRET]
    variables = DEPLOYED.resources["GatewayEventsFunction"]["Environment"]["Variables"]
    assert variables == {
        "POWERTOOLS_SERVICE_NAME": "payment-dev",
        "TRANSACTIONS_TABLE": "<TransactionsTable>",
        "GATEWAY": ACME,
        "GATEWAY_SECRET_ARN": SECRET,
    }


def test_it_is_watched_as_the_other_functions_are() -> None:
    watched = DEPLOYED.resources["HealthMonitorFunction"]["Environment"]["Variables"]
    assert "<GatewayEventsFunction>" in watched["FUNCTION_NAMES"].split(",")
    alarm = DEPLOYED.resources["GatewayEventsErrorAlarm"]
    assert alarm["AlarmDescription"].endswith(
        "Run payment-infra logs gateway-events --since 1h --level error"
    )
    assert "GatewayEventsErrorAlarm" in json.dumps(NOTIFYING["Resources"]["PaymentDashboard"]) or (
        "gateway-events-errors" in json.dumps(NOTIFYING["Resources"]["PaymentDashboard"])
    )
    assert "<GatewayEventsFunction>" in DEPLOYED.resources["PaymentDashboard"]["DashboardBody"]
    whole = load(**PRODUCTION)["Resources"]
    assert "GatewayEventsThrottleAlarm" in whole
    assert "GatewayEventsThrottleAlarm" not in NOTIFYING["Resources"]


def test_it_is_published_after_what_charges_and_may_use_the_key() -> None:
    production = load(**PRODUCTION)
    alias = production["Resources"][names.LIVE_ALIASES[names.GATEWAY_EVENTS_FUNCTION]]
    assert set(alias["DependsOn"]) == {"ValidationAlias", "ProcessingAlias"}
    assert "UseKeyForTable" in statements(production)
    table = production["Resources"]["TransactionsTable"]
    assert "GatewayEventsPolicy" in table["DependsOn"]
    key = json.dumps(production["Resources"]["EncryptionKey"])
    assert encryption.GATEWAY_EVENTS_LOG_GROUP in key
    assert "KmsKeyId" in production["Resources"]["GatewayEventsLogGroup"]["Properties"]


def test_production_says_which_rules_do_not_fit_it() -> None:
    resources = load(**PRODUCTION)["Resources"]
    method = json.dumps(resources["GatewayEventsMethod"]["Metadata"])
    assert "AwsSolutions-APIG4" in method
    assert "CKV_AWS_59" in method
    assert "LambdaDLQ" in json.dumps(resources["GatewayEventsFunction"]["Metadata"])


@pytest.mark.parametrize(
    "restricted",
    [{"allowed_cidrs": ("203.0.113.0/24",)}, {"allowed_accounts": ("210987654321",)}],
)
def test_where_a_policy_restricts_the_api_the_gateway_may_call_unsigned_but_from_its_addresses(
    restricted: dict[str, Any],
) -> None:
    path = "execute-api:/prod/POST/gateway-events"
    policies = [
        Evaluated(load(gateway=ACME, gateway_events=takes, **restricted)).resources["PaymentAPI"]
        for takes in (True, False)
    ]
    [allowed] = [one for one in policies[0]["Policy"]["Statement"] if one.get("Resource") == [path]]
    assert (allowed["Effect"], allowed["Principal"]) == ("Allow", "*")
    assert "Condition" not in allowed
    assert path not in json.dumps(policies[1]["Policy"])
    # What is denied by address is denied to all methods.
    denied = [one for one in policies[0]["Policy"]["Statement"] if one["Effect"] == "Deny"]
    assert ["execute-api:/*"] in [one["Resource"] for one in denied] or (
        "allowed_accounts" in restricted
    )
