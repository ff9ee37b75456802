"""What a status names although no alarm is raised: each with its remedy, and an exit code of 1."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import names
from payment_infra.artifacts import code_keys
from payment_infra.cloud.environment.journal import PREFIX
from payment_infra.moments import shown
from tests.aws import ACCOUNT, REGION, FakeAws, FakeStack, Refused
from tests.intake import EVERY, PROCESS, VALIDATE, FakeIntake
from tests.queues import FakeQueues
from tests.tables import START, FakeTables
from tests.unit.template import load
from tests.versions import FakeVersions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.functional.conftest import Cli
    from tests.stacks import Answer

NAME = "payment-infra-dev"
TABLE = "TransactionsTable"
STATUS = ("status", "--suffix", "dev")
RESOURCES = (
    *("FailedTransactionsQueue", "FailedTransactionsDLQ", TABLE, "PaymentAPI", "RetryEventSource"),
    *("ValidationFunction", "ProcessingFunction", "RetryFunction", "HealthMonitorFunction"),
    "HealthMonitorSchedule",
)
MODULES = {
    "ValidationFunction": "validation",
    "ProcessingFunction": "processing",
    "RetryFunction": "retry",
    "HealthMonitorFunction": "health_monitor",
}
RESUME = "`payment-infra resume --suffix dev` lets them in"
UNDO = "payment-infra restore --undo --suffix dev"
FROM_BACKUP = (
    "`payment-infra restore --from-backup latest --suffix dev` brings it back from a backup"
)
STOPPED: Answer = {**EVERY, "throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


@pytest.fixture
def tables() -> FakeTables:
    tables = FakeTables()
    tables.add(TABLE, recovery_since=START)
    return tables


@pytest.fixture
def aws(intake: FakeIntake, tables: FakeTables) -> FakeAws:
    stack = FakeStack(
        NAME,
        parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
        outputs={"TransactionsTableName": TABLE, "APIEndpoint": "https://abc.example.com/prod/"},
        template="{}",
        resources=dict.fromkeys(RESOURCES, "CREATE_COMPLETE"),
        physical_ids={"RetryEventSource": "14e0db71-5d35-4eb5-b481-8945cf9d10c2"},
    )
    aws = FakeAws(stacks={NAME: stack})
    aws.answers |= {
        **tables.answers(),
        **FakeQueues().answers(),
        **intake.answers(),
        "lambda:GetFunctionConfiguration": lambda params: {
            "FunctionName": params["FunctionName"],
            "Handler": f"{MODULES.get(params['FunctionName'], 'other')}.handler",
            "LastModified": "2026-11-21T07:00:00.000+0000",
        },
        "lambda:GetFunctionConcurrency": {},
        "events:DescribeRule": {"State": "ENABLED"},
        "cloudwatch:GetMetricData": {"MetricDataResults": []},
        "cloudwatch:DescribeAlarms": {"MetricAlarms": []},
    }
    return aws


def findings(cli: Cli, *, code: int = 1) -> list[tuple[str, str]]:
    """Return what a status finds, with the remedies; it is the same as JSON and as text."""
    result = cli(*STATUS, "--output", "json")
    assert result.exit_code == code, result.output
    status = json.loads(result.stdout)
    assert status["unknown"] == {}
    found = [(one["message"], one["remedy"]) for one in status["findings"]]
    shown = cli(*STATUS)
    assert shown.exit_code == code
    lines = shown.stdout.splitlines()
    for message, remedy in found:
        assert f"    {remedy}" in lines
        assert message in shown.stderr
    assert len(shown.stderr.splitlines()) == bool(found)
    return found


def test_an_environment_that_does_its_work_has_none(cli: Cli) -> None:
    assert findings(cli, code=0) == []
    status = json.loads(cli(*STATUS, "--output", "json").stdout)
    assert (status["payments"], status["gateway"]) == ("let in", "simulated")


@pytest.mark.parametrize(
    ("methods", "state", "stopped"),
    [
        ({"*/*": EVERY, VALIDATE: STOPPED, PROCESS: STOPPED}, "Enabled", "validate, process"),
        ({"*/*": EVERY, PROCESS: {**EVERY, "throttlingBurstLimit": 0}}, "Enabled", "process"),
        ({"*/*": STOPPED}, "Enabled", "validate, process"),
        ({"*/*": STOPPED, PROCESS: EVERY}, "Enabled", "validate"),
        ({"*/*": EVERY}, "Disabled", "retries"),
        ({"*/*": EVERY, VALIDATE: STOPPED}, "Disabling", "validate, retries"),
        ({"*/*": {**EVERY, "throttlingRateLimit": 0.5}}, "Enabled", ""),
        ({}, "Enabling", ""),
    ],
)
def test_payments_that_are_stopped(
    methods: dict[str, Answer], state: str, stopped: str, cli: Cli, intake: FakeIntake
) -> None:
    intake.methods, intake.state, intake.changing = methods, state, 9
    expected = [(f"payments are stopped: {stopped}", RESUME)] if stopped else []
    assert findings(cli, code=len(expected)) == expected


def test_a_remedy_leads_to_where_the_command_line_led(
    cli: Cli, intake: FakeIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake.methods, intake.state, intake.changing = {}, "Disabled", 9
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert [remedy for _, remedy in findings(cli)] == [RESUME]
    where = (
        "--endpoint-url",
        "https://a.example.com",
        "--profile",
        "my own",
        "--region",
        "us-east-1",
    )
    result = cli(*STATUS, *where, "--output", "json")
    [found] = json.loads(result.stdout)["findings"]
    assert found["remedy"] == (
        "`payment-infra resume --suffix dev --profile 'my own' --region us-east-1 --endpoint-url "
        "https://a.example.com` lets them in"
    )


WHERE = ("--profile", "my own", "--region", "us-east-1", "--endpoint-url", "https://a.example.com")
LEADS = "--profile 'my own' --region us-east-1 --endpoint-url https://a.example.com"


@pytest.mark.parametrize("command", ["outputs", "smoke"])
def test_a_hint_leads_to_the_stack_with_the_settings_that_were_given(
    command: str, cli: Cli, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean / "my settings.toml").write_text('suffix = "other"\n')
    named = ("--stack-name", "mine", "--config", "my settings.toml", "--preset", "production")
    told = (
        f"--suffix other --stack-name mine --config 'my settings.toml' --preset production {LEADS}"
    )
    assert f"`payment-infra deploy {told}`" in cli(command, *named, *WHERE).stderr
    monkeypatch.setenv("PAYMENT_INFRA_PRESET", "production")
    monkeypatch.setenv("PAYMENT_INFRA_CONFIG", "my settings.toml")
    assert "`payment-infra deploy --suffix other`" in cli(command).stderr


@pytest.mark.parametrize("option", [("--no-execute",), ("--change-set", "left")])
def test_an_import_is_not_advised_to_be_previewed_by_what_does_not_show_it(
    option: tuple[str, ...], cli: Cli, aws: FakeAws
) -> None:
    aws.stacks.clear()
    result = cli("deploy", "--suffix", "dev", "--import-existing-resources", *option)
    assert (result.exit_code, aws.calls) == (2, [])
    assert "leave them out: each is shown, and asked about, before" in result.stderr
    assert "payment-infra diff" not in result.stderr


def test_where_no_environment_is_a_hint_leads_to_the_region(cli: Cli, aws: FakeAws) -> None:
    aws.stacks.clear()
    told = f"; `payment-infra deploy --suffix SUFFIX {LEADS}` makes one\n"
    assert cli("list", *WHERE).stderr.endswith(told)


def test_a_doctors_hint_leads_to_where_it_has_looked(cli: Cli, aws: FakeAws) -> None:
    aws.errors["iam:SimulatePrincipalPolicy"] = Refused("AccessDenied", "no")
    found = json.loads(cli("doctor", *WHERE, "--output", "json").stdout)
    [remedy] = [one["remedy"] for one in found if one["name"] == "changes"]
    assert remedy.endswith(f"let `payment-infra deploy --suffix SUFFIX {LEADS}` find out")


@pytest.mark.parametrize("number", [0, 5])
def test_a_function_that_may_not_run(number: int, cli: Cli, aws: FakeAws) -> None:
    aws.answers["lambda:GetFunctionConcurrency"] = lambda params: (
        {"ReservedConcurrentExecutions": number}
        if params["FunctionName"] == "ProcessingFunction"
        else {}
    )
    remedy = (
        "`aws lambda delete-function-concurrency --function-name ProcessingFunction --region "
        "eu-central-1`"
    )
    message = "ProcessingFunction does not run: its reserved concurrency is 0"
    expected = [] if number else [(message, remedy)]
    assert findings(cli, code=len(expected)) == expected


def test_a_function_that_may_not_run_gets_back_what_its_stack_reserves(
    cli: Cli, aws: FakeAws
) -> None:
    aws.answers["lambda:GetFunctionConcurrency"] = {"ReservedConcurrentExecutions": 0}
    aws.stacks["payment-infra-dev"].parameters["RetryConcurrency"] = "7"
    told = dict(findings(cli, code=1))
    assert told["RetryFunction does not run: its reserved concurrency is 0"] == (
        "`aws lambda put-function-concurrency --function-name RetryFunction "
        "--reserved-concurrent-executions 7 --region eu-central-1`"
    )


def test_payments_are_not_let_in_by_functions_that_may_not_run(cli: Cli, aws: FakeAws) -> None:
    told = "ProcessingFunction does not run: its reserved concurrency is 0"
    aws.answers["lambda:GetFunctionConcurrency"] = lambda params: (
        {"ReservedConcurrentExecutions": 0}
        if params["FunctionName"] == "ProcessingFunction"
        else {}
    )
    result = cli(*STATUS, "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)["payments"]) == (1, told)
    aws.errors["lambda:GetFunctionConcurrency"] = Refused("AccessDeniedException")
    result = cli(*STATUS, "--output", "json")
    assert (result.exit_code, json.loads(result.stdout)["payments"]) == (1, "unknown")


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("UPDATE_FAILED", "`payment-infra rollback --suffix dev` brings it back to what it was"),
        ("UPDATE_ROLLBACK_FAILED", "`payment-infra rollback --suffix dev` continues its rollback"),
        ("DELETE_FAILED", "`payment-infra destroy --suffix dev` deletes it again"),
        ("DELETE_IN_PROGRESS", "`payment-infra watch --suffix dev` shows its progress"),
        ("ROLLBACK_IN_PROGRESS", "`payment-infra watch --suffix dev` shows its progress"),
        ("CREATE_FAILED", "`payment-infra deploy --suffix dev` deletes what is left"),
        ("ROLLBACK_COMPLETE", "`payment-infra deploy --suffix dev` deletes what is left"),
        ("ROLLBACK_FAILED", "`payment-infra deploy --suffix dev` deletes what is left"),
        ("IMPORT_ROLLBACK_FAILED", "see its events in the console"),
        ("NEVER_HEARD_OF", "see its events in the console"),
    ],
)
def test_a_stack_that_needs_somebody(status: str, remedy: str, cli: Cli, aws: FakeAws) -> None:
    aws.stacks[NAME].status = status
    [(message, told)] = findings(cli)
    assert message == f"the stack is {status}"
    assert told.startswith(remedy)


@pytest.mark.parametrize(
    "status", ["UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS"]
)
def test_a_stack_that_needs_nobody(status: str, cli: Cli, aws: FakeAws) -> None:
    aws.stacks[NAME].status = status
    assert findings(cli, code=0) == []


def test_a_schedule_that_is_off(cli: Cli, aws: FakeAws) -> None:
    aws.answers["events:DescribeRule"] = {"State": "DISABLED"}
    assert findings(cli) == [
        (
            "the schedule HealthMonitorSchedule is disabled: payments are not recovered",
            "`aws events enable-rule --name HealthMonitorSchedule --region eu-central-1`",
        )
    ]
    aws.errors["events:DescribeRule"] = Refused("ResourceNotFoundException")
    assert findings(cli) == [
        (
            "the schedule HealthMonitorSchedule is gone: payments are not recovered",
            "`payment-infra drift --suffix dev` shows what else is",
        )
    ]


def test_a_table_that_is_gone(cli: Cli, tables: FakeTables) -> None:
    del tables.tables[TABLE]
    assert findings(cli) == [(f"the table {TABLE} is gone: no payment is recorded", FROM_BACKUP)]
    status = json.loads(cli(*STATUS, "--output", "json").stdout)
    assert (status["table"]["name"], status["table"]["status"]) == (TABLE, "GONE")


@pytest.mark.parametrize(
    ("status", "more", "remedy"),
    [
        ("UPDATING", "", "wait until it is ACTIVE"),
        ("DELETING", ": no payment is recorded", FROM_BACKUP),
        ("ARCHIVED", ": no payment is recorded", FROM_BACKUP),
        (
            "INACCESSIBLE_ENCRYPTION_CREDENTIALS",
            "",
            "let DynamoDB use its key in AWS KMS again (key policy, state of the key)",
        ),
    ],
)
def test_a_table_that_is_not_active(
    status: str, more: str, remedy: str, cli: Cli, tables: FakeTables
) -> None:
    tables.tables[TABLE].become(status, 99)
    assert findings(cli) == [(f"the table {TABLE} is {status}{more}", remedy)]


def test_a_restored_table_of_the_time_before_the_key(
    cli: Cli, aws: FakeAws, tables: FakeTables
) -> None:
    copy, stack = f"{TABLE}-20261124T114500Z", aws.stacks[NAME]
    tags = {f"{PREFIX}source": TABLE, f"{PREFIX}phase": "done"}
    tables.add(copy, tags=tags, recovery_since=START)
    stack.outputs["TransactionsTableName"] = copy
    assert findings(cli, code=0) == []
    stack.resources["EncryptionKey"] = "CREATE_COMPLETE"
    assert findings(cli) == [
        (
            f"the table {copy} is encrypted with a key of DynamoDB's own, and not with "
            "alias/payment-infra-dev",
            f"`aws dynamodb update-table --table-name {copy} --sse-specification Enabled=true,"
            "SSEType=KMS,KMSMasterKeyId=alias/payment-infra-dev --region eu-central-1`",
        )
    ]
    tables.tables[copy].encrypted_by = aws.add_key("k-1")
    assert findings(cli, code=0) == []
    # The stack's own is for its updates, and for drift.
    stack.outputs["TransactionsTableName"] = TABLE
    assert findings(cli, code=0) == []


def test_a_stack_of_production_that_can_be_deleted(cli: Cli, aws: FakeAws) -> None:
    stack = aws.stacks[NAME]
    record = {"PaymentInfra": {"version": "0.1.0", "preset": "production"}}
    holder = {"Type": "AWS::SNS::Topic", "Metadata": record}
    stack.template = json.dumps({"Resources": {"AlarmTopic": holder}})
    stack.resources["AlarmTopic"] = "CREATE_COMPLETE"
    assert findings(cli) == [
        (
            "the stack can be deleted: its termination protection is off, in production",
            "`payment-infra deploy --termination-protection --suffix dev` sets it",
        )
    ]
    stack.protected = True
    assert findings(cli, code=0) == []
    stack.protected, stack.status = False, "DELETE_IN_PROGRESS"
    assert [message for message, _ in findings(cli)] == ["the stack is DELETE_IN_PROGRESS"]


@pytest.mark.parametrize(
    ("name", "phase", "message", "remedy"),
    [
        (
            "20261124T114500Z",
            "switching",
            "a restore to 2026-11-24T11:45:00Z is half done (switching)",
            "`payment-infra restore --to 2026-11-24T11:45:00Z --suffix dev` continues it, "
            f"`{UNDO}` ends it",
        ),
        (
            "20261124T114500Z",
            "undoing",
            "the restore to 2026-11-24T11:45:00Z is half undone",
            f"`{UNDO}` completes that",
        ),
        ("20261124T114500Z", "done", "", ""),
        ("20261124T114500Z", "abandoned", "", ""),
        ("20261124T114500Z-drill", "copying", "", ""),
    ],
)
def test_a_restore_half_done(
    name: str, phase: str, message: str, remedy: str, cli: Cli, tables: FakeTables
) -> None:
    tags = {f"{PREFIX}source": TABLE, f"{PREFIX}phase": phase}
    tables.add(f"{TABLE}-{name}", tags=tags)
    expected = [(message, remedy)] if message else []
    assert findings(cli, code=len(expected)) == expected


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("apigateway:GetStage", "payments"),
        ("lambda:GetFunctionConcurrency", "concurrency"),
        ("events:DescribeRule", "schedule"),
        ("dynamodb:ListTables", "restores"),
        ("dynamodb:DescribeTable", "table"),
    ],
)
def test_what_cannot_be_read_is_no_success(
    operation: str, part: str, cli: Cli, aws: FakeAws
) -> None:
    aws.errors[operation] = Refused("AccessDeniedException", "not yours")
    result = cli(*STATUS, "--output", "json")
    assert (result.exit_code, list(json.loads(result.stdout)["unknown"])) == (1, [part])
    [line] = result.stderr.splitlines()
    assert line.startswith(f"Error: {part} cannot be read: ")


def test_what_only_informs_may_be_unknown(cli: Cli, aws: FakeAws) -> None:
    aws.errors["cloudwatch:GetMetricData"] = Refused("AccessDenied", "not yours")
    assert cli(*STATUS).exit_code == 0


def test_all_of_it_is_one_line(cli: Cli, aws: FakeAws, intake: FakeIntake) -> None:
    intake.state = "Disabled"
    aws.answers["events:DescribeRule"] = {"State": "DISABLED"}
    alarm: Any = {"AlarmName": "dead-letters-dev", "StateValue": "ALARM"}
    aws.answers["cloudwatch:DescribeAlarms"] = {"MetricAlarms": [alarm]}
    stack = aws.stacks[NAME]
    stack.resources["Alarm"], stack.types["Alarm"] = "CREATE_COMPLETE", "AWS::CloudWatch::Alarm"
    [line] = cli(*STATUS).stderr.splitlines()
    assert line == (
        "Error: payments are stopped: retries; the schedule HealthMonitorSchedule is disabled: "
        "payments are not recovered; in alarm: dead-letters-dev"
    )


def test_code_has_the_digest_that_a_difference_would_have(cli: Cli, aws: FakeAws) -> None:
    aws.stacks[NAME].template = json.dumps(load())
    functions = json.loads(cli(*STATUS, "--output", "json").stdout)["functions"]
    keys = code_keys()
    assert {function["name"]: function["code"] for function in functions} == {
        name: keys[module].split("/")[2][:12] for name, module in MODULES.items()
    }
    assert f"  {functions[0]['code']}  " in cli(*STATUS).stdout


def test_the_gateway_is_the_one_of_the_function_that_charges(cli: Cli, aws: FakeAws) -> None:
    def configuration(params: Answer) -> Answer:
        name = params["FunctionName"]
        found: Answer = {"FunctionName": name, "LastModified": "y"}
        variables = {"GATEWAY": "acme:Acme"} if name == "ProcessingFunction" else {}
        return {**found, "Environment": {"Variables": variables}}

    aws.answers["lambda:GetFunctionConfiguration"] = configuration
    assert "gateway    acme.py:Acme" in cli(*STATUS).stdout.splitlines()


DAY = timedelta(days=1)
OVERDUE = 3 * DAY
TABLE_ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}"


def back_up(
    aws: FakeAws, *, selected: timedelta, points: Answer | None = None, jobs: Answer | None = None
) -> datetime:
    """Have a plan that has selected the table for so long, with the ages of recovery points by
    their status, and those of jobs by their state; return the moment that they count from."""
    now = datetime.now(UTC)
    stack = aws.stacks[NAME]
    stack.resources["BackupPlan"], stack.physical_ids["BackupPlan"] = "CREATE_COMPLETE", "plan-1"
    aws.answers |= {
        "backup:ListBackupSelections": {"BackupSelectionsList": [{"SelectionId": "one"}]},
        "backup:GetBackupSelection": {
            "CreationDate": now - selected,
            "BackupSelection": {
                "SelectionName": "x",
                "IamRoleArn": "y",
                "Resources": [TABLE_ARN],
            },
        },
        "backup:ListRecoveryPointsByResource": {
            "RecoveryPoints": [
                {"Status": status, "CreationDate": now - age}
                for status, age in (points or {}).items()
            ]
        },
        "backup:ListBackupJobs": {
            "BackupJobs": [
                {
                    "BackupJobId": f"job-{state}",
                    "State": state,
                    "CreationDate": now - age,
                    "StatusMessage": f"not {state}\n at all.",
                }
                for state, age in (jobs or {}).items()
            ]
        },
    }
    return now


@pytest.mark.parametrize(
    ("selected", "points"),
    [
        (30 * DAY, {"COMPLETED": DAY, "EXPIRED": 9 * DAY}),
        (30 * DAY, {"AVAILABLE": DAY, "COMPLETED": OVERDUE}),
        (DAY, {}),  # nothing is due yet, as after a restore
    ],
)
def test_a_table_that_is_backed_up(
    selected: timedelta, points: Answer, cli: Cli, aws: FakeAws
) -> None:
    back_up(aws, selected=selected, points=points, jobs={"FAILED": DAY})
    assert findings(cli, code=0) == []
    for read in aws.called("backup:ListRecoveryPointsByResource"):
        assert read == {"ResourceArn": TABLE_ARN}


def test_a_table_whose_newest_backup_is_old_and_why_the_last_job_failed(
    cli: Cli, aws: FakeAws
) -> None:
    points = {"COMPLETED": OVERDUE, "EXPIRED": DAY, "PARTIAL": DAY}
    jobs = {"ABORTED": 2 * DAY, "FAILED": DAY, "EXPIRED": OVERDUE, "RUNNING": DAY / 2}
    now = back_up(aws, selected=30 * DAY, points=points, jobs=jobs)
    [(message, remedy)] = findings(cli)
    assert message == (
        f"the newest backup of the table {TABLE} is of {shown(now - OVERDUE)}; the last job that "
        "failed is FAILED: not FAILED at all"
    )
    assert remedy == (
        "`aws backup describe-backup-job --backup-job-id job-FAILED --region eu-central-1` shows it"
    )
    assert aws.called("backup:ListBackupJobs")[0] == {"ByResourceArn": TABLE_ARN}


def test_a_table_that_was_never_backed_up(cli: Cli, aws: FakeAws) -> None:
    now = back_up(aws, selected=OVERDUE)
    aws.errors["backup:ListRecoveryPointsByResource"] = Refused("ResourceNotFoundException")
    [(message, remedy)] = findings(cli)
    assert message == (
        f"AWS Backup has no backup of the table {TABLE}, selected at {shown(now - OVERDUE)}; no "
        "job has failed"
    )
    assert remedy == (
        f"`aws backup list-backup-jobs --by-resource-arn {TABLE_ARN} --region eu-central-1` "
        "lists all"
    )


def test_a_table_that_the_backups_leave_out(cli: Cli, aws: FakeAws) -> None:
    back_up(aws, selected=30 * DAY)
    selection: Any = aws.answers["backup:GetBackupSelection"]
    selection["BackupSelection"]["Resources"] = [f"{TABLE_ARN}-20261124T114500Z"]
    assert findings(cli) == [
        (
            f"AWS Backup does not back up the table {TABLE}",
            "`payment-infra drift --suffix dev` shows what differs from the template",
        )
    ]
    assert aws.called("backup:ListRecoveryPointsByResource") == []


def test_a_function_whose_live_version_works_on_another_table(cli: Cli, aws: FakeAws) -> None:
    versions = FakeVersions(lambda: TABLE)
    versions.give(aws.stacks[NAME])
    details = {"LastModified": "2026-11-21T07:00:00.000+0000"}
    configuration = versions.answers()["lambda:GetFunctionConfiguration"]
    aws.answers |= {
        **versions.answers(),
        "lambda:GetFunctionConfiguration": lambda params: {**configuration(params), **details},
    }
    assert findings(cli, code=0) == []
    versions.named["ValidationFunction"] = "1"
    [(message, remedy)] = findings(cli)
    assert message == (
        "live of ValidationFunction names version 1, which works on old, and not on "
        "TransactionsTable"
    )
    assert "`aws lambda publish-version --function-name ValidationFunction " in remedy
    assert "`aws lambda update-alias --function-name ValidationFunction --name live " in remedy
