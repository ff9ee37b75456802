"""How an environment is, on one screen; what cannot be read is left out, and says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from payment_infra.checks import Check
from payment_infra.cloud.environment import findings, locking
from payment_infra.cloud.environment.backed_up import find_not_backed_up
from payment_infra.cloud.environment.environment import gateway_of_function
from payment_infra.cloud.environment.findings import functions_of
from payment_infra.cloud.environment.live import find_misdirected
from payment_infra.cloud.operating.alarms import Alarm, find_alarms
from payment_infra.cloud.sdk import keys, tables
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.metric_data import Metric, read
from payment_infra.cloud.sdk.queues import Depth, name_of, read_depth
from payment_infra.errors import AwsError
from payment_infra.gateway_names import gateway_name
from payment_infra.names import (
    ARTIFACT_KEY,
    DEAD_LETTER_QUEUE,
    FAILED_QUEUE,
    PROCESSING_FUNCTION,
    TABLE_OUTPUT,
)
from payment_infra.record import RECORD_HOLDER, read_record

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.environment.locking import Held

Found = TypeVar("Found")
# A queue's URL and attributes.

QUEUES = (FAILED_QUEUE, DEAD_LETTER_QUEUE)
ALARMS = "alarms"
# What tells whether the environment does its work; without one of them, that is unknown.
DECISIVE = (ALARMS, "payments", "concurrency", "schedule", "table", "restores")
HOUR = timedelta(hours=1)
HOUR_SECONDS = 3600
MINUTES_5 = 300


@dataclass(frozen=True)
class FunctionStatus:
    """A function: the digest of its code, when it was changed, and its last hour.

    code is, as `diff` tells it, what the stack was deployed with; "" if that is not known.

    p95_milliseconds is that of the worse of the clock hours that the last one overlaps; None
    without a call.
    """

    name: str
    code: str
    changed_at: str
    errors: int | None
    p95_milliseconds: float | None


@dataclass(frozen=True)
class TableStatus:
    """The active table. items and size are DynamoDB's own, some six hours old; the window is that
    of its point-in-time recovery, None while that is off. status is GONE where there is no such
    table; protected is whether DynamoDB refuses to delete it; key is the ARN of the key that
    encrypts it, "" for one that is DynamoDB's own."""

    name: str
    status: str
    items: int
    size_bytes: int
    restorable_from: datetime | None
    restorable_to: datetime | None
    protected: bool = False
    key: str = ""


@dataclass(frozen=True)
class QueueStatus(Depth):
    """A queue's numbers, and the age of its oldest message, None if unknown."""

    oldest_seconds: int | None


@dataclass(frozen=True)
class Status:
    """What is known of an environment; unknown holds, by part, why something is missing.

    gateway is what the configuration calls the payment gateway, "" where that is unknown; findings
    are what keeps the environment from its work, each with its remedy; lock is who works on it with
    this tool, None if nobody does.
    """

    stack: str
    status: str
    changed_at: datetime
    version: str
    url: str
    table_name: str
    payments: str
    gateway: str
    findings: tuple[Check, ...]
    functions: tuple[FunctionStatus, ...]
    table: TableStatus | None
    queues: tuple[QueueStatus, ...]
    alarms: tuple[Alarm, ...]
    alarms_in_all: int
    drift: str
    drift_checked_at: datetime | None
    unknown: Mapping[str, str]
    lock: Held | None = None

    @property
    def alarms_known(self) -> bool:
        """Whether the alarms could be read: without them, that all is well is unknown."""
        return ALARMS not in self.unknown

    @property
    def in_alarm(self) -> list[str]:
        """The names of the alarms that are raised."""
        return [alarm.name for alarm in self.alarms if alarm.state == "ALARM"]

    @property
    def troubles(self) -> list[str]:
        """What says that all is not well, or keeps that from being known; none if all is."""
        alarms = [f"in alarm: {', '.join(self.in_alarm)}"] if self.in_alarm else []
        unread: dict[str, list[str]] = {}
        for part in DECISIVE:
            if part in self.unknown:
                unread.setdefault(self.unknown[part], []).append(part)
        untold = [f"{', '.join(parts)} cannot be read: {why}" for why, parts in unread.items()]
        return [*untold, *(finding.message for finding in self.findings), *alarms]


class _Parts:
    """Reads parts at the same time; one that fails has its default, and a reason."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.unknown: dict[str, str] = {}
        self._pool = pool

    def read(self, name: str, look: Callable[[], Found], default: Found) -> Callable[[], Found]:
        future = self._pool.submit(look)

        def result() -> Found:
            try:
                return future.result()
            except AwsError as error:
                self.unknown[name] = str(error)
                return default

        return result


def read_status(environment: Environment, now: datetime) -> Status:
    """Read how the environment is; nothing is received, changed or counted by that."""
    state = environment.state
    with ThreadPoolExecutor() as pool:
        parts = _Parts(pool)
        numbers = parts.read("metrics", lambda: _numbers(environment, now), dict[str, float]())
        version = parts.read("version", lambda: _version(environment), "")
        find = partial(_find, parts, environment)
        stops = find("payments", findings.find_stops)
        idle = find("concurrency", findings.find_idle_functions)
        schedule = find("schedule", findings.find_idle_schedule)
        misdirected = find("live", find_misdirected)
        restores = find("restores", findings.find_restores)
        policy = find("policy", findings.find_missing_policy)
        deletable = find("termination", findings.find_unprotected_stack)
        backed_up = find("backups", partial(find_not_backed_up, now=now))
        lock = parts.read(
            "lock", lambda: locking.find(environment.session, environment.stack), None
        )
        configurations = parts.read(
            "functions", lambda: _configurations(environment), dict[str, Any]()
        )
        digests = parts.read("code", lambda: _digests(environment), dict[str, str]())
        table = parts.read("table", lambda: _table(environment), None)
        depths = parts.read("queues", lambda: _depths(environment), dict[str, Depth]())
        alarms = parts.read(ALARMS, lambda: find_alarms(environment), list[Alarm]())
        measured = numbers()
        active, stopped, resting = table(), stops(), idle()
        found = [*stopped, *resting, *misdirected(), *schedule(), *restores()]
        found += [*policy(), *deletable(), *backed_up()]
        if active:
            found[:0] = findings.find_table(environment, active.name, active.status)
            if active.status != tables.GONE:
                found += findings.find_unprotected_table(
                    environment, active.name, protected=active.protected
                )
                keyless = partial(findings.find_table_without_key, name=active.name, key=active.key)
                found += find("key", keyless)()
        found[:0] = findings.find_stack_state(environment)
        known = not {"payments", "concurrency"} & parts.unknown.keys()
        return Status(
            stack=environment.stack.name,
            status=state.status,
            changed_at=state.changed_at,
            version=version(),
            url=_url(environment),
            table_name=state.outputs.get(TABLE_OUTPUT, ""),
            payments=_payments(stopped, resting, known=known),
            gateway=_gateway(configurations(), parts),
            findings=tuple(found),
            functions=tuple(
                FunctionStatus(
                    name=function["FunctionName"],
                    code=digests().get(function.get("Handler", "").partition(".")[0], ""),
                    changed_at=function["LastModified"],
                    errors=_whole(measured.get(f"{name} errors")),
                    p95_milliseconds=measured.get(f"{name} p95"),
                )
                for name, function in configurations().items()
            ),
            table=active,
            queues=tuple(
                QueueStatus(**vars(depth), oldest_seconds=_whole(measured.get(f"{name} age")))
                for name, depth in depths().items()
            ),
            alarms=tuple(alarm for alarm in alarms() if alarm.state != "OK"),
            alarms_in_all=len(alarms()),
            drift=state.drift,
            drift_checked_at=state.drift_checked_at,
            unknown=parts.unknown,
            lock=lock(),
        )


def _numbers(environment: Environment, now: datetime) -> dict[str, float]:
    """Return what CloudWatch knows of the last hour; without data, a number is missing."""
    wanted: dict[str, tuple[Metric, Callable[[list[float]], float]]] = {}
    for name in functions_of(environment):
        of = {"FunctionName": environment.resource(name)}
        wanted[f"{name} errors"] = (Metric("AWS/Lambda", "Errors", of, "Sum", MINUTES_5), sum)
        wanted[f"{name} p95"] = (Metric("AWS/Lambda", "Duration", of, "p95", HOUR_SECONDS), max)
    for name in QUEUES:
        of = {"QueueName": name_of(environment.resource(name))}
        wanted[f"{name} age"] = (
            Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", of, "Maximum", MINUTES_5),
            lambda values: values[-1],
        )
    metrics = [metric for metric, _ in wanted.values()]
    found = read(environment.client("cloudwatch"), metrics, now - HOUR, now)
    return {
        name: summary([point.value for point in points])
        for (name, (_, summary)), points in zip(wanted.items(), found, strict=True)
        if points
    }


def _url(environment: Environment) -> str:
    try:
        return environment.api().url
    except AwsError:  # it was never made whole
        return ""


def _version(environment: Environment) -> str:
    """Return what the record says, and for a stack from before the record what its template says.

    A template is read last: it may be YAML, which takes longer to load than all else here.
    """
    stack = environment.stack
    holder = {RECORD_HOLDER: {"Metadata": stack.metadata(RECORD_HOLDER)}}
    return read_record({"Resources": holder}).version or read_record(stack.template()).version


def _find(
    parts: _Parts,
    environment: Environment,
    name: str,
    find: Callable[[Environment], list[Check]],
) -> Callable[[], list[Check]]:
    return parts.read(name, lambda: find(environment), list[Check]())


def _payments(stops: Sequence[Check], idle: Sequence[Check], *, known: bool) -> str:
    """Say whether payments are let in, and which functions do not run for them."""
    told = [
        *(check.message.removeprefix("payments are ") for check in stops),
        *(check.message for check in idle),
    ]
    return "; ".join(told) or ("let in" if known else "unknown")


def _gateway(configurations: Mapping[str, Any], parts: _Parts) -> str:
    """Return the payment gateway of the function that charges, "" if it is unknown."""
    try:
        charging = configurations.get(PROCESSING_FUNCTION)
        return gateway_name(gateway_of_function(charging)) if charging else ""
    except AwsError as error:
        parts.unknown["gateway"] = str(error)
        return ""


def _configurations(environment: Environment) -> dict[str, Any]:
    return {name: environment.function(name) for name in functions_of(environment)}


def _digests(environment: Environment) -> dict[str, str]:
    """Return by entry module the digest of the code that the stack was deployed with."""
    return {
        found["module"]: found["digest"]
        for found in re.finditer(ARTIFACT_KEY, environment.stack.template_text())
    }


def _table(environment: Environment) -> TableStatus:
    client, name = environment.client("dynamodb"), environment.table
    if tables.status(client, name) == tables.GONE:
        return TableStatus(name, tables.GONE, 0, 0, None, None)
    with translated(f"table {name}"):
        table = client.describe_table(TableName=name)["Table"]
        backups = client.describe_continuous_backups(TableName=name)
    recovery = backups["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    return TableStatus(
        name=name,
        status=table["TableStatus"],
        items=table["ItemCount"],
        size_bytes=table["TableSizeBytes"],
        restorable_from=recovery.get("EarliestRestorableDateTime"),
        restorable_to=recovery.get("LatestRestorableDateTime"),
        protected=table.get("DeletionProtectionEnabled", False),
        key=keys.of_table(table),
    )


def _depths(environment: Environment) -> dict[str, Depth]:
    client = environment.client("sqs")
    return {name: read_depth(client, environment.resource(name)) for name in QUEUES}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
