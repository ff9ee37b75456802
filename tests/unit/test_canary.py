"""The canary: what shifts, how fast its alarms fire, and what goes back."""

from __future__ import annotations

from math import exp, factorial
from typing import Any

import pytest

from payment_infra.config import PRESETS, StackConfig
from payment_infra.errors import UsageError
from payment_infra.groups.canary import PERIOD_SECONDS
from payment_infra.names import CANARY_ALARMS
from payment_infra.rules import MAX_CANARY_MINUTES
from payment_infra.sources import resolve
from tests.costs import MILLION
from tests.unit.template import Evaluated, Json, load, of_type

TEMPLATE = load(versions=True, canary_percent=10)
CANARY = Evaluated(TEMPLATE)
SHIFTING = ("Validation", "Processing")
EVERY_SHIFTING = pytest.mark.parametrize("function", SHIFTING)
ALARMS = {
    "CanaryServerErrorAlarm",
    *(f"{function}Canary{what}Alarm" for function in SHIFTING for what in ("Error", "Failure")),
}
# Lambda and API Gateway send their metrics every minute, and an alarm of 60 s is evaluated as often
# (Lambda, "Monitoring functions"; CloudWatch, "Alarm evaluation").
DELIVERY_SECONDS = 60
EVALUATION_SECONDS = 60
# What docs/cost.md reckons with: of a million payments a month, each is a request to each function.
REQUESTS_A_SECOND = MILLION / (30 * 24 * 3600)


def update_policy(evaluated: Evaluated, function: str) -> Json:
    policy = TEMPLATE["Resources"][f"{function}Alias"]["UpdatePolicy"]
    condition, shifted, otherwise = policy["CodeDeployLambdaAliasUpdate"]["Fn::If"]
    assert otherwise == {"Ref": "AWS::NoValue"}
    return evaluated.value(shifted) if evaluated.condition(condition) else None


@EVERY_SHIFTING
def test_what_takes_payments_shifts_unless_it_is_told_to_be_at_once(function: str) -> None:
    shifted = {
        "ApplicationName": "<CanaryApplication>",
        "DeploymentGroupName": f"<{function}DeploymentGroup>",
    }
    assert update_policy(CANARY, function) == shifted
    assert update_policy(Evaluated(TEMPLATE, TrafficShifting="canary"), function) == shifted
    assert update_policy(Evaluated(TEMPLATE, TrafficShifting="at-once"), function) is None
    assert TEMPLATE["Parameters"]["TrafficShifting"]["AllowedValues"] == ["canary", "at-once"]


@pytest.mark.parametrize("function", ["Lookup", "Cancellation", "Retry", "HealthMonitor"])
def test_what_repeats_and_recovers_changes_after_the_canary_to_what_was_tried(
    function: str,
) -> None:
    alias = TEMPLATE["Resources"][f"{function}Alias"]
    assert alias["DependsOn"] == ["ValidationAlias", "ProcessingAlias"]
    assert "UpdatePolicy" not in alias


def test_the_pace_is_what_the_settings_say() -> None:
    for percent, minutes in ((10, 5), (25, 60)):
        evaluated = Evaluated(load(versions=True, canary_percent=percent, canary_minutes=minutes))
        assert evaluated.resources["CanaryPace"] == {
            "ComputePlatform": "Lambda",
            "TrafficRoutingConfig": {
                "Type": "TimeBasedCanary",
                "TimeBasedCanary": {"CanaryPercentage": percent, "CanaryInterval": minutes},
            },
        }
    production = PRESETS["production"]
    assert production["canary_percent"] == 10
    assert StackConfig(**production).canary_minutes == 5  # type: ignore[arg-type]


@EVERY_SHIFTING
def test_any_alarm_of_the_canary_takes_each_function_back(function: str) -> None:
    group = CANARY.resources[f"{function}DeploymentGroup"]
    watched = {alarm["Name"].strip("<>") for alarm in group["AlarmConfiguration"]["Alarms"]}
    assert watched == ALARMS
    assert sorted(watched) == sorted(CANARY_ALARMS)
    assert len(watched) <= 10  # CodeDeploy API, AlarmConfiguration
    assert group["AlarmConfiguration"]["Enabled"]
    assert not group["AlarmConfiguration"].get("IgnorePollAlarmFailure", False)
    assert group["AutoRollbackConfiguration"]["Enabled"]
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    assert group["DeploymentConfigName"] == "<CanaryPace>"
    style = {"DeploymentOption": "WITH_TRAFFIC_CONTROL", "DeploymentType": "BLUE_GREEN"}
    assert group["DeploymentStyle"] == style


@EVERY_SHIFTING
def test_the_alarms_watch_the_new_version_before_it_gets_anything(function: str) -> None:
    assert set(TEMPLATE["Resources"][f"{function}Alias"]["DependsOn"]) == ALARMS


def dimensions(alarm: str) -> dict[str, Any]:
    return {one["Name"]: one["Value"] for one in CANARY.resources[alarm]["Dimensions"]}


@EVERY_SHIFTING
def test_the_alarms_of_a_function_see_the_new_version_alone(function: str) -> None:
    [version] = [name for name in of_type(TEMPLATE, "AWS::Lambda::Version") if function in name]
    errors = CANARY.resources[f"{function}CanaryErrorAlarm"]
    assert (errors["Namespace"], errors["MetricName"]) == ("AWS/Lambda", "Errors")
    assert dimensions(f"{function}CanaryErrorAlarm") == {
        "FunctionName": f"<{function}Function>",
        "Resource": f"<{function}Function>:live",
        "ExecutedVersion": f"<{version}.Version>",
    }
    failures = CANARY.resources[f"{function}CanaryFailureAlarm"]
    assert (failures["Namespace"], failures["MetricName"]) == ("PaymentInfra", "Failures")
    assert dimensions(f"{function}CanaryFailureAlarm") == {
        "service": "payment-dev",
        "version": f"<{function}Function>:<{version}.Version>",
    }


def test_the_api_alarm_sees_the_stages_own_5xx() -> None:
    alarm = CANARY.resources["CanaryServerErrorAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/ApiGateway", "5XXError")
    assert dimensions("CanaryServerErrorAlarm") == {"ApiName": "payment-api-dev", "Stage": "prod"}


THRESHOLDS = {
    "CanaryServerErrorAlarm": 2,
    **{f"{function}CanaryErrorAlarm": 1 for function in SHIFTING},
    **{f"{function}CanaryFailureAlarm": 1 for function in SHIFTING},
}


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_fires_within_productions_canary_at_a_million_payments_a_month(name: str) -> None:
    production = StackConfig(**PRESETS["production"])  # type: ignore[arg-type]
    alarm = Evaluated(load(**PRESETS["production"])).resources[name]
    assert alarm["Threshold"] == THRESHOLDS[name]
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["Statistic"]) == (60, 1, "Sum")
    assert "DatapointsToAlarm" not in alarm
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    # A quiet minute neither fires nor stops it.
    assert alarm["TreatMissingData"] == "notBreaching"
    # One function alone has a new version, which answers 500 to all that it gets.
    failing = production.canary_percent / 100 * REQUESTS_A_SECOND * PERIOD_SECONDS
    assert 2.3 < failing < 2.4
    assert alarm["Threshold"] <= failing
    # Of its minutes, one may be cut in two since periods begin with the minute, and the last is
    # told and evaluated too late. Requests come by chance (Poisson): that no minute of the others
    # has enough of them.
    told = production.canary_minutes * 60 - DELIVERY_SECONDS - EVALUATION_SECONDS
    periods = told // PERIOD_SECONDS
    fewer = sum(failing**n / factorial(n) for n in range(alarm["Threshold"])) * exp(-failing)
    assert periods == 3
    assert fewer**periods < (0.001 if alarm["Threshold"] == 1 else 0.05)


def test_codedeploy_may_move_these_aliases_and_read_these_alarms_alone() -> None:
    document = CANARY.resources["CanaryPolicy"]["PolicyDocument"]
    granted = {
        one["Sid"]: (set(one["Action"]), set(one["Resource"])) for one in document["Statement"]
    }
    arns = {f"<{function}Function.Arn>" for function in SHIFTING}
    assert granted == {
        "ShiftTraffic": (
            {"lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig"},
            arns | {f"{arn}:live" for arn in arns},
        ),
        "ReadAlarms": ({"cloudwatch:DescribeAlarms"}, {f"<{alarm}.Arn>" for alarm in ALARMS}),
    }
    [trust] = CANARY.resources["CanaryRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": ["codedeploy.eu-central-1.amazonaws.com"]}
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "StringLike": {
            "aws:SourceArn": (
                "arn:aws:codedeploy:eu-central-1:123456789012:deploymentgroup:<CanaryApplication>/*"
            )
        },
    }


def test_without_a_canary_there_is_nothing_of_it() -> None:
    template = load(versions=True)
    assert "TrafficShifting" not in template["Parameters"]
    assert "Canary" not in "".join(template["Resources"])
    assert "UpdatePolicy" not in str(template)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"canary_percent": 10}, "a canary is of published versions"),
        ({"canary_percent": 100, "versions": True}, "must be from 0 to 99"),
        ({"canary_minutes": 4}, f"must be from 5 to {MAX_CANARY_MINUTES}"),
        ({"snap_start": True}, "a snapshot is taken of a published version"),
        (
            {"preset": "production", "runtime": "python3.11"},
            "SnapStart takes python3.12 and later",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        resolve({"suffix": "dev", **flags}, {})
