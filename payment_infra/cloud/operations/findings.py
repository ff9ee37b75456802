"""What keeps an environment from its work without an alarm of its own, each with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from payment_infra.checks import Check
from payment_infra.cloud.errors import code_of, translated
from payment_infra.cloud.restore.journal import Phase, find_journals
from payment_infra.cloud.restore.writes import stopped

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from payment_infra.cloud.operations.environment import Environment

FUNCTIONS = (
    *("ValidationFunction", "ProcessingFunction", "RetryFunction"),
    "HealthMonitorFunction",
)
SCHEDULE = "HealthMonitorSchedule"
# What a table that is not there has in place of a status of DynamoDB's.
GONE = "GONE"
ACTIVE = "ACTIVE"
# What to do about a table in a state that does not end well by itself (DynamoDB API,
# TableDescription, TableStatus); all others do.
KEY_REMEDY = "let DynamoDB use its key in AWS KMS again (key policy, state of the key)"
BACKUP_REMEDY = "`{}` brings it back from a backup"


def find_stops(environment: Environment) -> list[Check]:
    """Find out whether payments are stopped, as a restore does it, or somebody by hand."""
    if not (names := stopped(environment)):
        return []
    resume = environment.command("resume")
    message = f"payments are stopped: {', '.join(names)}"
    return [Check("payments", "fail", message, f"`{resume}` lets them in")]


def find_idle_functions(environment: Environment) -> list[Check]:
    """Find the functions that a reserved concurrency of zero keeps from running."""
    client, found = environment.client("lambda"), []
    with translated("reserved concurrency of the functions"):
        for name in map(environment.resource, FUNCTIONS):
            answer = client.get_function_concurrency(FunctionName=name)
            if answer.get("ReservedConcurrentExecutions") == 0:
                message = f"{name} does not run: its reserved concurrency is 0"
                remedy = f"`aws lambda delete-function-concurrency --function-name {name}`"
                found.append(Check("functions", "fail", message, remedy))
    return found


def find_idle_schedule(environment: Environment) -> list[Check]:
    """Find out whether the schedule of the health monitor, which recovers payments, is off."""
    name = environment.resource(SCHEDULE)
    with translated(f"schedule {name}"):
        try:
            state = environment.client("events").describe_rule(Name=name)["State"]
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            state = GONE
    if state == GONE:
        drift = environment.command("drift")
        message = f"the schedule {name} is gone: payments are not recovered"
        return [Check("schedule", "fail", message, f"`{drift}` shows what else is")]
    if state == "DISABLED":
        message = f"the schedule {name} is disabled: payments are not recovered"
        return [Check("schedule", "fail", message, f"`aws events enable-rule --name {name}`")]
    return []


def find_restores(environment: Environment) -> list[Check]:
    """Find the restores, and their undoing, that are half done; a drill stands in nobody's way."""
    client = environment.client("dynamodb")
    undo, found = environment.command("restore --undo"), []
    for journal in find_journals(client, environment.own_table, environment.table):
        to = f"{journal.to:%Y-%m-%dT%H:%M:%SZ}"
        if journal.phase is Phase.UNDOING:
            message = f"the restore to {to} is half undone"
            found.append(Check("restore", "fail", message, f"`{undo}` completes that"))
        elif journal.open and not journal.drill:
            go_on = environment.command(f"restore --to {to}")
            message = f"a restore to {to} is half done ({journal.phase})"
            remedy = f"`{go_on}` goes on with it, `{undo}` ends it"
            found.append(Check("restore", "fail", message, remedy))
    return found


def table_status(client: DynamoDBClient, name: str) -> str:
    """Return DynamoDB's status of a table, or GONE."""
    with translated(f"table {name}"):
        try:
            return client.describe_table(TableName=name)["Table"]["TableStatus"]
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            return GONE


def find_table(environment: Environment, name: str, status: str) -> list[Check]:
    """Judge the active table by its status; see `table_status`."""
    restore = environment.command("restore --from-backup latest")
    match status:
        case "ACTIVE":
            return []
        case "GONE":
            message = f"the table {name} is gone, and no payment can be recorded"
            remedy = BACKUP_REMEDY.format(restore)
        case "DELETING" | "ARCHIVING" | "ARCHIVED":
            message = f"the table {name} is {status}"
            remedy = BACKUP_REMEDY.format(restore)
        case "INACCESSIBLE_ENCRYPTION_CREDENTIALS":
            message, remedy = f"the table {name} is {status}", KEY_REMEDY
        case _:
            message, remedy = f"the table {name} is {status}", "wait until it is ACTIVE"
    return [Check("table", "fail", message, remedy)]
