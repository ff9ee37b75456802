"""Whether AWS can be reached, who calls it, and what they may do; every call only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from payment_infra.checks import Check, not_checked
from payment_infra.cloud.deploying.bootstrap import own_bucket
from payment_infra.cloud.deploying.bucket import Bucket
from payment_infra.cloud.deploying.gateway_key import check_secret, has_key
from payment_infra.cloud.sdk.errors import (
    DENIED,
    MISSING,
    UNSUPPORTED,
    code_of,
    explain,
    is_passing,
    translated,
)
from payment_infra.cloud.sdk.network import FAILURES
from payment_infra.doctor.simulation import CHANGES, Scene, check_changes
from payment_infra.errors import AwsError, PaymentInfraError, UsageError
from payment_infra.names import (
    ALARMS,
    CALLER_POLICY,
    FAILED_TRANSACTIONS,
    LOG_GROUPS,
    OPERATIONS_TABLE,
    PROCESSING,
    PROCESSING_ERRORS,
    STACK_NAME_PREFIX,
    naming_flags,
    own_table,
    physical,
)

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.config import StackConfig

Now = Callable[[], datetime]

# A signature is good for five minutes (IAM, "AWS Signature Version 4 for API requests").
MAX_SKEW = timedelta(minutes=5)
GET_CREDENTIALS = "set --profile or AWS_PROFILE, or run `aws configure`"
SET_CLOCK = "set it by NTP, as with `timedatectl set-ntp true`"
CHECK_NETWORK = "check the network, --region and --endpoint-url"
TINY_TEMPLATE = '{"Resources":{"Handle":{"Type":"AWS::CloudFormation::WaitConditionHandle"}}}'
# The environment that is asked about if none is chosen: whether it exists does not matter.
ANY_SUFFIX = "dev-001"


@dataclass(frozen=True)
class Probe:
    """A call that reads, and the commands that make it; without a vital one no command works."""

    service: str
    operation: str
    needed_by: str
    call: Callable[[Any, Scene], object]
    action: str = ""
    vital: bool = False

    @property
    def iam_action(self) -> str:
        """What a policy has to allow."""
        return f"{self.service}:{self.action or self.operation}"


# Calls of this tool's own, about resources that may be missing.
PROBES = (
    Probe(
        "cloudformation",
        "DescribeStacks",
        "every command",
        lambda client, _: client.describe_stacks(),
        vital=True,
    ),
    Probe(
        "cloudformation",
        "ValidateTemplate",
        "`deploy`",
        lambda client, _: client.validate_template(TemplateBody=TINY_TEMPLATE),
    ),
    Probe(
        "lambda",
        "GetAccountSettings",
        "`deploy`",
        lambda client, _: client.get_account_settings(),
    ),
    Probe(
        "lambda",
        "GetFunctionConfiguration",
        "`status`",
        lambda client, scene: client.get_function_configuration(
            FunctionName=physical(PROCESSING, scene.suffix)
        ),
    ),
    Probe(
        "dynamodb",
        "DescribeTable",
        "`deploy` and `status`",
        lambda client, scene: client.describe_table(TableName=own_table(scene.suffix)),
    ),
    Probe(
        "dynamodb",
        "GetItem",
        "`deploy` and all that changes an environment",
        lambda client, _: client.get_item(
            TableName=OPERATIONS_TABLE, Key={"stack": {"S": ANY_SUFFIX}, "item": {"S": "lock"}}
        ),
    ),
    Probe(
        "sqs",
        "GetQueueUrl",
        "`deploy`",
        lambda client, scene: client.get_queue_url(
            QueueName=physical(FAILED_TRANSACTIONS, scene.suffix)
        ),
    ),
    Probe(
        "logs",
        "DescribeLogGroups",
        "`deploy`",
        lambda client, scene: client.describe_log_groups(
            logGroupNamePrefix=LOG_GROUPS + physical(PROCESSING, scene.suffix)
        ),
    ),
    Probe(
        "logs",
        "FilterLogEvents",
        "`logs`",
        lambda client, scene: client.filter_log_events(
            logGroupName=LOG_GROUPS + physical(PROCESSING, scene.suffix), limit=1
        ),
    ),
    Probe(
        "cloudwatch",
        "DescribeAlarms",
        "`status` and `metrics`",
        lambda client, scene: client.describe_alarms(
            AlarmNames=[physical(PROCESSING_ERRORS, scene.suffix)]
        ),
    ),
    Probe(
        "sns",
        "ListSubscriptionsByTopic",
        "`subscribe`",
        lambda client, scene: client.list_subscriptions_by_topic(
            TopicArn=scene.arn("sns", physical(ALARMS, scene.suffix))
        ),
    ),
    Probe(
        "iam",
        "ListEntitiesForPolicy",
        "`destroy`, which also needs iam:DetachRolePolicy, DetachUserPolicy and DetachGroupPolicy, "
        "and AttachRolePolicy, AttachUserPolicy and AttachGroupPolicy to undo that if it fails",
        lambda client, scene: client.list_entities_for_policy(
            PolicyArn=scene.arn("iam", f"policy/{scene.stack}-{CALLER_POLICY}")
        ),
    ),
    Probe(
        "apigateway",
        "GetAccount",
        "`deploy`",
        lambda client, _: client.get_account(),
        action="GET",
    ),
)
SERVICES = tuple(dict.fromkeys(probe.service for probe in PROBES))
# What cannot be checked while the caller is unknown.
LATER = ("bucket", *SERVICES, CHANGES)


def check_access(
    session: Session, config: StackConfig, now: Now, stack: str = ""
) -> Iterator[Check]:
    """Yield what each check of AWS found, in order; what hangs on another is left out with it.

    Args:
        session: whose access.
        config: the environment that is asked about; without a suffix it is any.
        now: the present moment.
        stack: the environment's stack, if it has another name than the usual one.
    """
    yield Check("region", "ok", session.region)
    try:
        session.credentials()
    except AwsError as error:
        yield Check.told("credentials", "fail", str(error), GET_CREDENTIALS)
        yield not_checked("endpoint", "clock", *LATER)
        return
    before = now()
    try:
        identity = session.identity()
    except (AwsError, UsageError) as error:  # the latter of a proxy's address
        yield from _unidentified(session, error, before, now())
        return
    yield _endpoint(session)
    yield from _clock(identity, before, now())
    account, caller = str(identity["Account"]), str(identity["Arn"])
    yield Check("credentials", "ok", f"account {account}, {caller}")
    suffix = config.suffix or ANY_SUFFIX
    stack = stack or f"{STACK_NAME_PREFIX}-{suffix}"
    scene = Scene(caller, account, session.region, suffix, stack)
    deploy = session.command(
        f"payment-infra deploy {naming_flags(suffix, stack)}"
        if config.suffix
        else "payment-infra deploy --suffix SUFFIX"
    )
    with ThreadPoolExecutor(len(LATER) + 1) as pool:  # what takes time is waiting for AWS
        found = [
            pool.submit(_check_bucket, session, config.bucket),
            *(pool.submit(_check_service, session, scene, service) for service in SERVICES),
            pool.submit(check_changes, session, scene, config, deploy),
            *([pool.submit(_check_secret, session, config, deploy)] if has_key(config) else []),
        ]
        for future in found:
            yield future.result()


def _unidentified(
    session: Session, error: PaymentInfraError, before: datetime, after: datetime
) -> Iterator[Check]:
    """Yield what an answer that is not the caller's identity says, or that there was none."""
    cause, line = error.__cause__, str(error)
    unreached = is_passing(cause) or isinstance(cause, FAILURES)
    if unreached or not isinstance(cause, (ClientError, BotoCoreError)):
        yield Check.told("endpoint", "fail", line, CHECK_NETWORK)
        yield not_checked("clock", "credentials", *LATER)
        return
    if isinstance(cause, BotoCoreError):  # it is about the credentials, and nothing was sent
        yield Check.told("credentials", "fail", line, GET_CREDENTIALS)
        yield not_checked("endpoint", "clock", *LATER)
        return
    yield _endpoint(session)
    clock = list(_clock(cause.response, before, after))
    yield from clock
    refused = Check.told("credentials", "fail", line, GET_CREDENTIALS)
    if any(check.level == "fail" for check in clock):
        refused = replace(refused, remedy="set the clock first")
    yield refused
    yield not_checked(*LATER)


def _endpoint(session: Session) -> Check:
    if session.apart:
        return Check.told("endpoint", "fail", session.apart, CHECK_NETWORK)
    return Check("endpoint", "ok", str(session.client("sts").meta.endpoint_url))


def _clock(answer: Any, before: datetime, after: datetime) -> Iterator[Check]:
    """Compare the clock with the date of an answer, if that has one."""
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        theirs = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return
    if theirs.tzinfo is None:  # RFC 5322's -0000: a time of nowhere
        return
    ours = before + (after - before) / 2
    skew = abs(ours - theirs)
    if skew <= MAX_SKEW:
        yield Check("clock", "ok", f"{skew.total_seconds():.0f} s from AWS's")
        return
    side = "ahead of" if ours > theirs else "behind"
    minutes = skew.total_seconds() / 60
    limit = MAX_SKEW.total_seconds() / 60
    yield Check(
        "clock",
        "fail",
        f"{minutes:.0f} minutes {side} AWS's, which takes no signature beyond {limit:.0f}",
        SET_CLOCK,
    )


def _check_bucket(session: Session, given: str) -> Check:
    try:
        name = given or own_bucket(session)
    except AwsError as error:
        return _failed("bucket", error)
    if name is None:
        return Check("bucket", "ok", "not there yet; the next deployment makes it")
    try:
        Bucket(session, name, max_looks=1).check()
    except AwsError as error:
        return Check.told("bucket", "fail", str(error), CHECK_NETWORK)
    return Check("bucket", "ok", name)


def _check_secret(session: Session, config: StackConfig, deploy: str) -> Check:
    """Look at the gateway's secret as a deployment does; which key belongs here, only that asks."""
    found = check_secret(session, config, deploy, mode_level="warn")
    if found.level == "ok":
        return Check(found.name, "ok", "it has all fields, and its key is one of its account")
    return Check.told(found.name, found.level, found.message, "let a deployment find out")


def _check_service(session: Session, scene: Scene, service: str) -> Check:
    """Make the probes of a service; return the worst of what they found."""
    probes = [probe for probe in PROBES if probe.service == service]
    found = [_probe(session, scene, probe) for probe in probes]
    for level in ("fail", "warn"):
        if bad := [check for check in found if check.level == level]:
            return bad[0]
    return Check(service, "ok", ", ".join(probe.operation for probe in probes))


def _probe(session: Session, scene: Scene, probe: Probe) -> Check:
    try:
        with translated(probe.service):
            probe.call(session.client(probe.service), scene)
    except AwsError as error:
        cause = error.__cause__
        code = code_of(cause) if isinstance(cause, ClientError) else ""
        if code in MISSING:
            return Check(probe.service, "ok", probe.operation)
        if isinstance(cause, ClientError) and code in DENIED:
            return Check(
                probe.service,
                "fail" if probe.vital else "warn",
                explain(cause),
                f"allow {probe.iam_action}; needed by {probe.needed_by}",
            )
        return _failed(probe.service, error)
    return Check(probe.service, "ok", probe.operation)


def _failed(name: str, error: AwsError) -> Check:
    """Return a failure, or a warning if the error says nothing of what was to be found out."""
    cause = error.__cause__
    if isinstance(cause, ClientError) and (
        code_of(cause) in DENIED | UNSUPPORTED or is_passing(cause)
    ):
        return Check.told(name, "warn", f"could not be tested: {error}", "let a command find out")
    return Check.told(name, "fail", str(error), CHECK_NETWORK)
