"""The schedule of the health monitor, and where a run goes that failed."""

from __future__ import annotations

from typing import Any

from payment_infra.config import PRESETS
from tests.unit.template import Evaluated, Json, load

DEVELOPMENT = load()
PRODUCTION = load(**PRESETS["production"])
# A run that failed is kept in any configuration that asks for it.
KEPT = load(failed_runs=True)
EVENT_SECONDS = 300


def statements(evaluated: Evaluated, policy: str) -> dict[str, Json]:
    """Return the statements of a policy that have an id."""
    document = evaluated.resources[policy]["PolicyDocument"]
    return {one["Sid"]: one for one in document["Statement"] if "Sid" in one}


def test_a_run_that_failed_three_times_ends_in_the_queue_of_failed_runs_and_is_told() -> None:
    evaluated = Evaluated(PRODUCTION)
    function = evaluated.resources["HealthMonitorFunction"]
    assert function["DeadLetterConfig"] == {"TargetArn": "<FailedRunsQueue.Arn>"}
    assert evaluated.resources["FailedRuns"] == {
        "FunctionName": "<HealthMonitorFunction>",
        "Qualifier": "live",
        "MaximumEventAgeInSeconds": EVENT_SECONDS,
        "MaximumRetryAttempts": 2,
        "DestinationConfig": {"OnFailure": {"Destination": "<AlarmTopic>"}},
    }
    # There is nothing to be qualified before the alias is.
    assert PRODUCTION["Resources"]["FailedRuns"]["DependsOn"] == "HealthMonitorAlias"


def test_without_versions_the_function_itself_is_what_is_told_of() -> None:
    failed = KEPT["Resources"]["FailedRuns"]
    assert failed["Properties"]["Qualifier"] == "$LATEST"
    assert "DependsOn" not in failed


def test_lambda_alone_may_put_something_into_the_queue() -> None:
    evaluated = Evaluated(PRODUCTION)
    granted: dict[str, list[str]] = {}
    for name in ("Validation", "Processing", "Retry", "HealthMonitor"):
        for sid, one in statements(evaluated, f"{name}Policy").items():
            if "<FailedRunsQueue.Arn>" in one["Resource"]:
                granted.setdefault(name, []).append(sid)
                assert one["Action"] == ["sqs:SendMessage"]
    assert granted == {"HealthMonitor": ["KeepFailedRuns"]}


def test_the_queue_of_failed_runs_is_encrypted_as_the_others_are() -> None:
    queue: Any = Evaluated(PRODUCTION).resources["FailedRunsQueue"]
    assert queue["QueueName"] == "failed-scheduled-runs-dev"
    assert queue["KmsMasterKeyId"] == "<EncryptionKey.Arn>"
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
    assert Evaluated(KEPT).resources["FailedRunsQueue"]["SqsManagedSseEnabled"] is True


def test_the_queue_of_failed_runs_takes_no_request_without_tls() -> None:
    policy = Evaluated(PRODUCTION).resources["QueuesPolicy"]
    assert "<FailedRunsQueue>" in policy["Queues"]
    [refused] = policy["PolicyDocument"]["Statement"]
    assert (refused["Effect"], refused["Principal"], refused["Resource"]) == ("Deny", "*", ["*"])


def test_somebody_is_alarmed_by_each_run_that_failed() -> None:
    alarm = Evaluated(PRODUCTION).resources["FailedRunAlarm"]
    assert alarm["AlarmName"] == "failed-runs-dev"
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/SQS", "NumberOfMessagesSent")
    assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": "<FailedRunsQueue.QueueName>"}]
    assert (alarm["Statistic"], alarm["Threshold"], alarm["EvaluationPeriods"]) == ("Sum", 1, 1)
    assert alarm["TreatMissingData"] == "notBreaching"


def test_development_has_nothing_of_it() -> None:
    more = set(KEPT["Resources"]) - set(DEVELOPMENT["Resources"])
    assert more == {"FailedRunsQueue", "FailedRuns", "FailedRunAlarm"}
    assert "DeadLetterConfig" not in DEVELOPMENT["Resources"]["HealthMonitorFunction"]["Properties"]
