"""What keeps an environment from its work without an alarm of its own, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from payment_infra.checks import Check
from payment_infra.cloud.environment import stack_policy
from payment_infra.cloud.environment.intake import stopped
from payment_infra.cloud.environment.journal import Phase, find_journals
from payment_infra.cloud.sdk import keys
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.cloud.sdk.tables import GONE, LOST
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.config import PRESETS
from payment_infra.moments import shown
from payment_infra.names import (
    CANCELLATION_FUNCTION,
    CONCURRENCIES,
    DELETION_PROTECTION,
    ENCRYPTION_KEY,
    GATEWAY_EVENTS_FUNCTION,
    HEALTH_FUNCTION,
    HEALTH_SCHEDULE,
    KEY_NAME,
    LOOKUP_FUNCTION,
    NEED_NOT_BE,
    PROCESSING_FUNCTION,
    RETRY_EVENT_SOURCE,
    RETRY_FUNCTION,
    STAGE,
    VALIDATION_FUNCTION,
    physical,
)
from payment_infra.record import RECORD_HOLDER, Record, read_record

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

FUNCTIONS = (
    *(VALIDATION_FUNCTION, PROCESSING_FUNCTION, LOOKUP_FUNCTION),
    *(CANCELLATION_FUNCTION, RETRY_FUNCTION, HEALTH_FUNCTION, GATEWAY_EVENTS_FUNCTION),
)
# What stops payments is a setting of: an update of one of them may end it in part, as nothing
# says what CloudFormation does to a setting that its template does not have.
STOPPED_BY = frozenset({STAGE, RETRY_EVENT_SOURCE})
ACTIVE = "ACTIVE"
# DynamoDB API, TableDescription, TableStatus.
NO_KEY = "INACCESSIBLE_ENCRYPTION_CREDENTIALS"
KEY_REMEDY = "let DynamoDB use its key in AWS KMS again (key policy, state of the key)"


def find_stops(environment: Environment) -> list[Check]:
    """Find out whether payments are stopped, as a restore does it, or somebody by hand."""
    if not (names := stopped(environment)):
        return []
    resume = environment.command("resume")
    message = f"payments are stopped: {', '.join(names)}"
    return [Check("payments", "fail", message, f"`{resume}` lets them in")]


# What a stack needs that is not at rest as it should be: the command, and what that does.
REMEDIES: Mapping[Step, tuple[str, str]] = {
    Step.REMOVE: ("deploy", "deletes what is left of its creation, and creates it again"),
    Step.DELETE_AGAIN: ("destroy", "deletes it again"),
    Step.ROLL_BACK: ("rollback", "brings it back to what it was before"),
    Step.CONTINUE_ROLLBACK: ("rollback", "continues its rollback"),
    Step.WAIT: ("watch", "shows its progress"),
}
ENDING = frozenset({"DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"})


def find_stack_state(environment: Environment) -> list[Check]:
    """Judge the state of the stack: it is at rest as it should be, or is being brought to that."""
    status = environment.state.status
    step = step_of(environment.state)
    if step in {Step.CREATE, Step.UPDATE} or (step is Step.WAIT and status not in ENDING):
        return []
    message = f"the stack is {status}"
    if step is Step.GIVE_UP:
        remedy = "see its events in the console, and bring it to rest with CloudFormation itself"
        return [Check("stack", "fail", message, remedy)]
    command, does = REMEDIES[step]
    return [Check("stack", "fail", message, f"`{environment.command(command)}` {does}")]


def functions_of(environment: Environment) -> tuple[str, ...]:
    """Return the logical ids of the functions that a stack has."""
    return tuple(name for name in FUNCTIONS if name not in NEED_NOT_BE or environment.has(name))


def find_idle_functions(
    environment: Environment, functions: Iterable[str] | None = None
) -> list[Check]:
    """Find which of these functions, of all for None, a reserved concurrency of zero keeps from
    running."""
    client, found = environment.client("lambda"), []
    with translated("reserved concurrency of the functions"):
        for function in functions_of(environment) if functions is None else functions:
            name = environment.resource(function)
            answer = client.get_function_concurrency(FunctionName=name)
            if answer.get("ReservedConcurrentExecutions") == 0:
                message = f"{name} does not run: its reserved concurrency is 0"
                found.append(
                    Check("functions", "fail", message, f"`{_lift(environment, function)}`")
                )
    return found


def _lift(environment: Environment, function: str) -> str:
    """Return the command that gives a function the reserved concurrency that its stack says."""
    reserved = environment.state.parameters.get(CONCURRENCIES[function], "0")
    which = f"--function-name {environment.resource(function)}"
    if reserved == "0":
        return environment.session.aws(f"lambda delete-function-concurrency {which}")
    put = f"put-function-concurrency {which} --reserved-concurrent-executions {reserved}"
    return environment.session.aws(f"lambda {put}")


def find_idle_schedule(environment: Environment) -> list[Check]:
    """Find out whether the schedule of the health monitor, which recovers payments, is off."""
    name = environment.resource(HEALTH_SCHEDULE)
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
        enable = environment.session.aws(f"events enable-rule --name {name}")
        return [Check("schedule", "fail", message, f"`{enable}`")]
    return []


def find_restores(environment: Environment) -> list[Check]:
    """Find the restores, and their undoing, that are half done; a drill does not count."""
    undo, found = environment.command("restore --undo"), []
    for journal in find_journals(environment, environment.own_table):
        to = shown(journal.to)
        by = f", by {journal.by}" if journal.by else ""
        if journal.phase is Phase.UNDOING:
            message = f"the restore to {to} is half undone{by}"
            found.append(Check("restore", "fail", message, f"`{undo}` completes that"))
        elif journal.open and not journal.drill:
            words = f"--from-backup {journal.backup}" if journal.backup else f"--to {to}"
            go_on = environment.command(f"restore {words}")
            message = f"a restore to {to} is half done ({journal.phase}){by}"
            remedy = f"`{go_on}` continues it, `{undo}` ends it"
            found.append(Check("restore", "fail", message, remedy))
    return found


def find_missing_policy(environment: Environment) -> list[Check]:
    """Find out whether updates may replace or delete what holds data, and are not to."""
    if not _record(environment).values.get("replacement_protection"):
        return []
    if not stack_policy.is_missing(environment.stack.policy()):
        return []
    message = "the stack policy is missing or lifted: an update may replace what holds data"
    return [Check("policy", "warn", message, f"`{environment.command('deploy')}` sets it")]


def find_unprotected_stack(environment: Environment) -> list[Check]:
    """Find out whether the stack can be deleted, though its preset has termination protection.

    Nothing records that setting, which no template holds: the AWS CLI creates a stack without it.
    """
    # What is being deleted, or has to be mended first, is told as that.
    if environment.state.termination_protection or find_stack_state(environment):
        return []
    preset = _record(environment).preset
    if not PRESETS.get(preset, {}).get("termination_protection"):
        return []
    message = f"the stack can be deleted: its termination protection is off, in {preset}"
    protect = environment.command("deploy --termination-protection")
    return [Check("stack", "warn", message, f"`{protect}` sets it")]


def _record(environment: Environment) -> Record:
    holder = {RECORD_HOLDER: {"Metadata": environment.stack.metadata(RECORD_HOLDER)}}
    return read_record({"Resources": holder})


def find_table_without_key(environment: Environment, name: str, key: str) -> list[Check]:
    """Find out whether the active table was restored before the stack had its key, which an update
    gives to the stack's own table alone.

    Args:
        environment: whose stack has a key or none.
        name: the table's.
        key: the ARN of the key that encrypts it, "" for one that is DynamoDB's own.
    """
    if key or name == environment.own_table or not environment.has(ENCRYPTION_KEY):
        return []
    alias = physical(KEY_NAME, environment.suffix)
    mend = keys.change_command(environment.session, name, alias)
    message = f"the table {name} is encrypted with a key of DynamoDB's own, and not with {alias}"
    return [Check("table", "warn", message, f"`{mend}`")]


def find_unprotected_table(environment: Environment, name: str, *, protected: bool) -> list[Check]:
    """Find out whether the active table can be deleted, and is not to be.

    Args:
        environment: whose stack has a parameter for that where its table is to be protected.
        name: the table's.
        protected: whether DynamoDB refuses to delete it.
    """
    wanted = environment.state.parameters.get(DELETION_PROTECTION)
    if protected or wanted is None:
        return []
    message = f"the table {name} can be deleted: its deletion protection is off"
    if wanted == "false":
        return [Check("table", "warn", message, f"`{environment.command('deploy')}` protects it")]
    protect = environment.session.aws(
        f"dynamodb update-table --deletion-protection-enabled --table-name {name}"
    )
    return [Check("table", "warn", message, f"`{protect}`")]


def lost_table(name: str, status: str) -> str:
    """Say that the table of payments is lost, "" if its status does not (see `tables.status`)."""
    if status not in LOST:
        return ""
    return f"the table {name} is {status if status != GONE else 'gone'}: no payment is recorded"


def find_table(environment: Environment, name: str, status: str) -> list[Check]:
    """Judge the active table by its status (see `tables.status`)."""
    if message := lost_table(name, status):
        restore = environment.command("restore --from-backup latest")
        return [Check("table", "fail", message, f"`{restore}` brings it back from a backup")]
    if status == ACTIVE:
        return []
    remedy = KEY_REMEDY if status == NO_KEY else "wait until it is ACTIVE"
    return [Check("table", "fail", f"the table {name} is {status}", remedy)]
