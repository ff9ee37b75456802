"""What is reserved for the functions: in the template, in a deployment, and where it is missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from payment_infra.cloud.deploying.consent import continued
from payment_infra.cloud.deploying.parameters import parameters
from payment_infra.cloud.deploying.preflight import check_all
from payment_infra.cloud.deploying.release import plan
from payment_infra.cloud.sdk.endpoints import EMULATED_ACCOUNT
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.stack import StackState
from payment_infra.config import PRESETS
from payment_infra.errors import UsageError
from payment_infra.groups.stage import HEALTH_BURST_LIMIT
from payment_infra.names import CONCURRENCIES, PARAMETER_FIELDS
from payment_infra.record import Record
from payment_infra.sources import resolve
from tests.aws import FakeAws, FakeBucket
from tests.unit.template import Evaluated, load, of_type

DEVELOPMENT = load()
WITH_EVENTS: dict[str, Any] = {
    **PRESETS["production"],
    "gateway": "handlers.shared.acme:Acme",
    "gateway_events": True,
}
PRODUCTION = load(**WITH_EVENTS)
RESERVED = {
    "ValidationFunction": 100,
    "ProcessingFunction": 400,
    "LookupFunction": 100,
    "CancellationFunction": 50,
    "GatewayEventsFunction": 50,
    "RetryFunction": 10,
    "HealthMonitorFunction": 25,
}
# Name in the alarm's name, of each function.
NAMES = {
    "Validation": "validation",
    "Processing": "processing",
    "Lookup": "lookup",
    "Cancellation": "cancellation",
    "GatewayEvents": "gateway-events",
    "Retry": "retry",
    "HealthMonitor": "health-monitor",
}


def reserved(evaluated: Evaluated) -> dict[str, Any]:
    return {
        function: evaluated.resources[function].get("ReservedConcurrentExecutions")
        for function in CONCURRENCIES
        if function in evaluated.resources
    }


# The template.


def test_production_reserves_concurrency_for_every_function_and_development_for_none() -> None:
    assert set(CONCURRENCIES) == set(of_type(PRODUCTION, "AWS::Lambda::Function"))
    assert reserved(Evaluated(PRODUCTION)) == RESERVED
    assert set(reserved(Evaluated(DEVELOPMENT)).values()) == {None}
    assert not set(CONCURRENCIES.values()) & set(DEVELOPMENT["Parameters"])


def test_a_parameter_of_0_reserves_nothing_and_stops_no_function() -> None:
    evaluated = Evaluated(PRODUCTION, **dict.fromkeys(CONCURRENCIES.values(), 0))
    assert set(reserved(evaluated).values()) == {None}
    evaluated = Evaluated(PRODUCTION, ProcessingConcurrency=800)
    assert reserved(evaluated) == {**RESERVED, "ProcessingFunction": 800}


@pytest.mark.parametrize("function", NAMES)
def test_a_parameter_of_0_leaves_the_alarm_out_that_would_divide_by_it(function: str) -> None:
    evaluated = Evaluated(PRODUCTION, **{CONCURRENCIES[f"{function}Function"]: 0})
    alarms = {name for name in evaluated.resources if name.endswith("ConcurrencyAlarm")}
    assert alarms == {f"{other}ConcurrencyAlarm" for other in set(NAMES) - {function}}


def test_the_template_takes_no_parameter_with_fewer_retries_than_the_queue_hands_out() -> None:
    for value in (0, 5, 10, 1000):
        assert Evaluated(PRODUCTION, RetryConcurrency=value).broken() == []
    retries = Evaluated(PRODUCTION).resources["RetryEventSource"]["ScalingConfig"]
    assert retries["MaximumConcurrency"] == 5
    for value in (1, 2, 3, 4):
        assert Evaluated(PRODUCTION, RetryConcurrency=value).broken() == [
            "RetryConcurrency must be 0, or at least 5: as many retries run at once."
        ]
    assert "Rules" not in load(**{**PRESETS["production"], "retry_concurrency": 0})
    assert "Rules" not in DEVELOPMENT


@pytest.mark.parametrize("function", CONCURRENCIES)
def test_a_setting_of_0_leaves_parameter_condition_and_alarm_out(function: str) -> None:
    name = CONCURRENCIES[function]
    template = load(**{**WITH_EVENTS, PARAMETER_FIELDS[name]: 0})
    assert "ReservedConcurrentExecutions" not in template["Resources"][function]["Properties"]
    for part in ("Parameters", "Conditions", "Resources"):
        gone = set(PRODUCTION[part]) - set(template[part])
        assert len(gone) == 1, part


def test_production_reserves_enough_for_what_the_queue_and_the_api_let_run_at_once() -> None:
    evaluated = Evaluated(PRODUCTION)
    retries = evaluated.resources["RetryEventSource"]["ScalingConfig"]["MaximumConcurrency"]
    assert retries < RESERVED["RetryFunction"]
    # And the scheduled run.
    assert RESERVED["HealthMonitorFunction"] > HEALTH_BURST_LIMIT
    # An account has 1,000 unless it is new, of which 100 cannot be reserved (Lambda quotas).
    assert sum(RESERVED.values()) <= 900


def test_retries_get_as_much_as_their_queue_hands_out_or_nothing_reserved() -> None:
    for value in (0, 5, 6):
        assert resolve({"retry_concurrency": value}, {}).config.retry_concurrency == value
    for value in (1, 4, -1):
        with pytest.raises(UsageError, match="it must be 0, or from 5 to 1000000"):
            resolve({"retry_concurrency": value}, {})


# The alarms.


@pytest.mark.parametrize("function", NAMES)
def test_an_alarm_fires_when_four_fifths_of_what_is_reserved_are_used(function: str) -> None:
    parameter = CONCURRENCIES[f"{function}Function"]
    alarm = Evaluated(PRODUCTION, **{parameter: 50}).resources[f"{function}ConcurrencyAlarm"]
    assert alarm["AlarmName"] == f"{NAMES[function]}-concurrency-dev"
    used, percent = alarm["Metrics"]
    assert used == {
        "Id": "used",
        "ReturnData": False,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/Lambda",
                "MetricName": "ConcurrentExecutions",
                "Dimensions": [{"Name": "FunctionName", "Value": f"<{function}Function>"}],
            },
            "Period": 300,
            # Lambda, "Monitoring concurrency": view this metric using MAX.
            "Stat": "Maximum",
        },
    }
    assert (percent["Expression"], percent["ReturnData"]) == ("100 * used / 50", True)
    assert (alarm["Threshold"], alarm["EvaluationPeriods"]) == (80, 2)
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["AlarmActions"] == ["<AlarmTopic>"]
    # Either the metric or the metrics (CloudWatch API, PutMetricAlarm).
    assert not {"MetricName", "Namespace", "Statistic", "Dimensions", "Period"} & set(alarm)


@pytest.mark.parametrize("method", ["Validate", "Process"])
def test_an_alarm_fires_when_one_in_a_hundred_payments_is_very_slow(method: str) -> None:
    alarm = Evaluated(PRODUCTION).resources[f"{method}SlowestAlarm"]
    assert alarm["AlarmName"] == f"{method.lower()}-slowest-dev"
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/ApiGateway", "Latency")
    assert {one["Name"]: one["Value"] for one in alarm["Dimensions"]} == {
        "ApiName": "payment-api-dev",
        "Stage": "prod",
        "Method": "POST",
        "Resource": f"/{method.lower()}",
    }
    assert (alarm["ExtendedStatistic"], alarm["Threshold"]) == ("p99", 5000)
    # One slow request alone does not page, and it takes no thousand requests.
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (300, 3, 2)
    assert alarm["EvaluateLowSampleCountPercentile"] == "evaluate"
    assert alarm["TreatMissingData"] == "notBreaching"
    assert "Statistic" not in alarm


def test_development_has_none_of_these_alarms() -> None:
    more = set(PRODUCTION["Resources"]) - set(DEVELOPMENT["Resources"])
    expected = {f"{function}ConcurrencyAlarm" for function in NAMES}
    assert expected | {"ValidateSlowestAlarm", "ProcessSlowestAlarm"} <= more


# A deployment.


def state(**values: str) -> StackState:
    """Return a stack in rest that has these parameters."""
    return StackState(
        id="arn:aws:cloudformation:eu-central-1:123456789012:stack/payment-infra-dev/1",
        status="UPDATE_COMPLETE",
        parameters={"EnvironmentSuffix": "dev", "ArtifactBucket": "zips", **values},
        outputs={},
        changed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(buckets={"zips": FakeBucket()})


def updated(
    aws: FakeAws, before: StackState, *, recorded: str = "development", **flags: object
) -> Any:
    """Return what an update of a stack with this preset deploys."""
    asked = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    resolved = continued(asked, Record(preset=recorded), before)
    return plan(aws.session(), before, resolved, {})


def test_only_what_the_template_has_is_sent(aws: FakeAws) -> None:
    resolved = resolve({"suffix": "dev", "bucket": "zips", "retry_concurrency": 7}, {})
    values = plan(aws.session(), None, resolved, {}).parameters
    assert set(CONCURRENCIES.values()) & set(values) == {"RetryConcurrency"}
    assert values["RetryConcurrency"] == "7"
    assert set(CONCURRENCIES.values()) <= set(parameters(aws.session(), None, resolved, "zips"))


def test_an_update_that_does_not_say_it_keeps_what_is_reserved(aws: FakeAws) -> None:
    kept = updated(aws, state(ProcessingConcurrency="70", RetryConcurrency="0"))
    assert set(CONCURRENCIES.values()) & set(kept.template["Parameters"]) == {
        "ProcessingConcurrency"
    }
    assert kept.parameters["ProcessingConcurrency"] is None
    changed = updated(aws, state(ProcessingConcurrency="70"), processing_concurrency=80)
    assert changed.parameters["ProcessingConcurrency"] == "80"
    none = updated(aws, state(), recorded="production")
    assert set(CONCURRENCIES.values()) & {*none.parameters, *none.template["Parameters"]} == set()
    ended = updated(aws, state(ProcessingConcurrency="70"), processing_concurrency=0)
    assert "ProcessingConcurrency" not in {*ended.parameters, *ended.template["Parameters"]}


def test_production_gives_an_existing_stack_what_it_reserves(aws: FakeAws) -> None:
    became = updated(aws, state(ProcessingConcurrency="70"), preset="production")
    assert {name: became.parameters.get(name) for name in CONCURRENCIES.values()} == {
        name: None if name == "GatewayEventsConcurrency" else str(RESERVED[function])
        for function, name in CONCURRENCIES.items()
    }


def test_nothing_is_reserved_for_notifications_where_none_are_taken() -> None:
    template = load(**PRESETS["production"])
    told = {*template["Parameters"], *template["Conditions"], *template["Resources"]}
    assert not {name for name in told if "GatewayEvents" in name}


def quotas(aws: FakeAws, planned: Any, *, creates: bool) -> tuple[str, str]:
    """Return how the check of the quotas ends, and what it says."""
    found = check_all(aws.session(), planned, creates=creates, command="payment-infra deploy")
    [check] = [check for check in found if check.name == "quotas"]
    return check.level, check.message


def allow(aws: FakeAws, free: int) -> None:
    limits = {"AccountLimit": {"UnreservedConcurrentExecutions": free}}
    aws.answers["lambda:GetAccountSettings"] = limits


@pytest.mark.parametrize(("free", "level"), [(785, "ok"), (784, "fail"), (10, "fail")])
def test_what_cannot_be_reserved_is_told_before_anything_is_made(
    free: int, level: str, aws: FakeAws
) -> None:
    allow(aws, free)
    resolved = resolve({"suffix": "dev", "bucket": "zips", "preset": "production"}, {})
    found, message = quotas(aws, plan(aws.session(), None, resolved, {}), creates=True)
    assert found == level
    if level == "fail":
        assert message.startswith(
            f"685 more executions at once are to be reserved, and Lambda has {free} in "
        )


def test_the_embedded_aws_is_not_asked_for_it(aws: FakeAws) -> None:
    allow(aws, 10)
    resolved = resolve({"suffix": "dev", "bucket": "zips", "preset": "production"}, {})
    aws.account = EMULATED_ACCOUNT
    here = Session(aws.session()._session, "http://127.0.0.1:4566")
    planned = plan(here, None, resolved, {})
    found = check_all(here, planned, creates=True, command="payment-infra deploy", skip=("bucket",))
    assert [check.level for check in found if check.name == "quotas"] == ["ok"]
    assert not aws.called("lambda:GetAccountSettings")


@pytest.mark.parametrize(("free", "level"), [(130, "ok"), (129, "fail")])
def test_an_update_needs_only_what_it_reserves_more(free: int, level: str, aws: FakeAws) -> None:
    allow(aws, free)
    aws.answers["lambda:GetFunctionConcurrency"] = {"ReservedConcurrentExecutions": 70}
    changed = updated(aws, state(ProcessingConcurrency="70"), processing_concurrency=100)
    assert quotas(aws, changed, creates=False)[0] == level
    [asked] = [given for name, given in aws.calls if name == "lambda:GetFunctionConcurrency"]
    assert asked == {"FunctionName": "payment-processing-dev"}


def test_an_update_that_reserves_no_more_asks_for_no_quota(aws: FakeAws) -> None:
    kept = updated(aws, state(ProcessingConcurrency="70"))
    assert quotas(aws, kept, creates=False) == ("ok", "")
    assert not [name for name, _ in aws.calls if name.startswith("lambda:")]
