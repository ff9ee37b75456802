"""What is looked at before a deployment changes anything; every check only reads."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.checks import Check
from payment_infra.cloud.deploying.bootstrap import own_bucket
from payment_infra.cloud.deploying.bucket import Bucket, Sleep
from payment_infra.cloud.deploying.existing import find_existing, find_key, physical_name
from payment_infra.cloud.deploying.gateway_key import check_secret
from payment_infra.cloud.sdk import keys, tables
from payment_infra.cloud.sdk.errors import MISSING, code_of, is_unavailable, translated
from payment_infra.cloud.stacks.change_sets import CAPABILITIES
from payment_infra.errors import AwsError
from payment_infra.names import (
    CONCURRENCIES,
    ENVIRONMENT_SUFFIX,
    KEY_NAME,
    TRANSACTIONS_TABLE,
    TRANSACTIONS_TABLE_OVERRIDE,
    own_table,
    physical,
)
from payment_infra.rendering import MAX_BODY_BYTES

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.release import Plan
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.change_sets import Existing

# A new account can have as few as 10 in all, by default it is 1,000 ("Lambda quotas"). The retries
# alone take up to 5 (`RETRIES_AT_ONCE`); what is left are the requests that are served at once.
MIN_CONCURRENCY = 50
# What Lambda keeps for functions that reserve nothing ("Configuring reserved concurrency").
UNRESERVABLE = 100
CHECKS = ("template", "bucket", "names", "table", "key", "quotas", "secret")


def check_all(
    session: Session,
    planned: Plan,
    *,
    creates: bool,
    command: str,
    imports: bool = False,
    restored: str = "",
    skip: Collection[str] = (),
    allow: Collection[str] = (),
    sleep: Sleep = time.sleep,
) -> list[Check]:
    """Make the checks, at the same time, and return them in their order; a message says all.

    Args:
        session: whose account.
        planned: what is to be deployed.
        creates: whether it is a first deployment, for which every name must be free.
        command: what is to be repeated with --import-existing-resources.
        imports: whether what exists is to be imported, the stack's own table at least.
        restored: the table that the stack works on in place of its own, and goes on with unless the
            plan names another.
        skip: names of the checks that are not made.
        allow: as for `check_secret`.
        sleep: makes the pauses while the bucket is looked for.
    """
    checks: Mapping[str, Callable[[], Check]] = {
        # First, with its text at hand: CloudFormation takes longest to read it, and meanwhile the
        # others make their clients.
        "template": partial(_check_template, session, planned.text),
        "bucket": lambda: _check_bucket(session, planned, sleep),
        "names": lambda: (
            _check_names(session, planned, command)
            if creates and not imports
            else Check("names", "ok")
        ),
        "table": lambda: _check_table(session, planned, imports=imports),
        "key": lambda: _check_key(session, planned, restored),
        "quotas": lambda: _check_quotas(session, planned, creates=creates),
        "secret": lambda: check_secret(session, planned.config, command, allow),
    }
    chosen = [check for name, check in checks.items() if name not in skip]
    with ThreadPoolExecutor() as pool:  # what takes time is waiting for AWS
        found = [pool.submit(check) for check in chosen]
        return [future.result() for future in found]


def _check_bucket(session: Session, planned: Plan, sleep: Sleep) -> Check:
    try:
        name = planned.bucket or own_bucket(session)
        if name is None:
            return Check("bucket", "ok", "the account's own bucket will be made")
        Bucket(session, name, sleep=sleep).check()
    except AwsError as error:
        return Check("bucket", "fail", str(error))
    return Check("bucket", "ok")


def _check_template(session: Session, body: str) -> Check:
    if len(body.encode()) > MAX_BODY_BYTES:
        return Check("template", "ok", "too large to be validated before it is in the bucket")
    try:
        with translated("the template"):
            answer = session.client("cloudformation").validate_template(TemplateBody=body)
    except AwsError as error:
        return _not_allowed("template", error) or Check("template", "fail", str(error))
    missing = set(answer.get("Capabilities", [])) - set(CAPABILITIES)
    if missing:
        return Check("template", "fail", f"the template needs {', '.join(sorted(missing))}")
    return Check("template", "ok")


def _check_names(session: Session, planned: Plan, command: str) -> Check:
    try:
        found, unknown = find_existing(session, planned)
    except AwsError as error:
        return Check("names", "fail", str(error))
    if found:
        return Check("names", "fail", _taken(found, command))
    warnings = [_not_made("names", error) for error in unknown]
    return warnings[0] if warnings else Check("names", "ok")


def _taken(found: list[Existing], command: str) -> str:
    names = ", ".join(resource.name for resource in found)
    imports = ""
    if any(resource.logical_id == TRANSACTIONS_TABLE for resource in found):
        # An import and an update are two change sets.
        words = shlex.join(word for word in shlex.split(command) if word != "--no-execute")
        imports = (
            f"`{words} --import-existing-resources` brings the environment back over them, with "
            "the payments that they hold; or "
        )
    return (
        "names that are taken, by what an earlier stack has kept or by something else: "
        f"{names}; {imports}delete them if they may go, or choose another --suffix (--skip-check "
        "names continues)"
    )


def _check_table(session: Session, planned: Plan, *, imports: bool) -> Check:
    """Look whether a table that the stack does not make itself can hold its payments."""
    properties = planned.template["Resources"][TRANSACTIONS_TABLE]["Properties"]
    override = planned.parameters.get(TRANSACTIONS_TABLE_OVERRIDE)
    name = override or (own_table(planned.config.suffix) if imports else "")
    if not name:
        return Check("table", "ok")
    try:
        problem = tables.unfit(session.client("dynamodb"), name, properties)
    except AwsError as error:
        return _not_allowed("table", error) or Check("table", "fail", str(error))
    if not problem:
        return Check("table", "ok")
    if override:
        advice = f"name another by --parameter {TRANSACTIONS_TABLE_OVERRIDE}=NAME"
    else:
        advice = (
            "leave out --import-existing-resources for an environment without payments, or name "
            f"the table that holds them by --parameter {TRANSACTIONS_TABLE_OVERRIDE}=NAME"
        )
    return Check("table", "fail", f"{problem}; {advice}")


def _check_key(session: Session, planned: Plan, restored: str) -> Check:
    """Look whether the stack's key, if it has been made, can be used, and whether a table that the
    stack does not make itself has one that the functions are granted."""
    config, named = planned.config, planned.parameters.get(TRANSACTIONS_TABLE_OVERRIDE)
    name = restored if named is None else named
    alias = physical(KEY_NAME, config.suffix)
    try:
        own = find_key(session, alias) if config.customer_key else None
        if own:
            own = keys.usable(session, own).arn
        of_table = _key_of(session, name) if name else None
    except AwsError as error:
        return _not_allowed("key", error) or Check("key", "fail", str(error))
    if of_table == "":
        if not config.customer_key:
            return Check("key", "ok")
        mend = keys.change_command(session, name, alias)
        after = "" if own else ", once this update has made that"
        return Check(
            "key",
            "warn",
            f"table {name} is encrypted with a key of DynamoDB's own, and no update gives a "
            f"restored table another; `{mend}` gives it {alias}{after}",
        )
    if of_table in {None, own}:
        return Check("key", "ok")
    mend = keys.change_command(session, name, alias if own else "")
    return Check(
        "key",
        "fail",
        f"table {name} is encrypted with {of_table}, which the functions could no longer use; "
        f"`{mend}` changes that, and takes minutes in which payments go on",
    )


def _key_of(session: Session, table: str) -> str | None:
    """Return the key of the account that encrypts a table, "" for one that is DynamoDB's own, and
    None for one whose policy lets every role of the account use it, or for no table."""
    with translated(f"table {table}"):
        try:
            described: Any = session.client("dynamodb").describe_table(TableName=table)["Table"]
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
    key = keys.of_table(described)
    return None if key and keys.usable(session, key).by_aws else key


def _check_quotas(session: Session, planned: Plan, *, creates: bool) -> Check:
    """Look whether Lambda can reserve what is asked for, and may run enough at once besides."""
    if session.embedded:
        # Its limit is what this machine has memory for, and it reserves nothing of it.
        return Check("quotas", "ok")
    try:
        with translated("Lambda's quotas"):
            more = _more_reserved(session, planned, creates=creates)
            if not creates and more <= 0:
                return Check("quotas", "ok")
            limits = session.client("lambda").get_account_settings()["AccountLimit"]
    except AwsError as error:
        return _not_allowed("quotas", error) or Check("quotas", "warn", str(error))
    free = limits.get("UnreservedConcurrentExecutions", limits.get("ConcurrentExecutions", 0))
    if more > 0 and free - more < UNRESERVABLE:
        return Check(
            "quotas",
            "fail",
            f"{more} more executions at once are to be reserved, and Lambda has {free} in"
            f" {session.region}, of which it keeps {UNRESERVABLE}: raise the quota (Service Quotas,"
            " Lambda, concurrent executions), or reserve less, such as --processing-concurrency 0",
        )
    if creates and free - more < MIN_CONCURRENCY:
        return Check(
            "quotas",
            "warn",
            f"Lambda may run only {free} executions at once in {session.region}, and payments are"
            f" refused beyond that; raise the quota (Service Quotas, Lambda) to {MIN_CONCURRENCY}"
            " at least",
        )
    return Check("quotas", "ok")


def _more_reserved(session: Session, planned: Plan, *, creates: bool) -> int:
    """Return how much more concurrency is reserved than is now; fails as the SDK."""
    more = 0
    for function, name in CONCURRENCIES.items():
        value = planned.parameters.get(name)
        # What keeps the stack's value reserves nothing more.
        if value is not None:
            more += int(value) - (0 if creates else _reserved(session, planned, function))
    return more


def _reserved(session: Session, planned: Plan, function: str) -> int:
    """Return the reserved concurrency of a function, 0 without any; fails as the SDK."""
    properties = planned.template["Resources"][function]["Properties"]
    suffix = {ENVIRONMENT_SUFFIX: planned.config.suffix}
    name = physical_name(properties["FunctionName"], suffix) or function
    try:
        answer = session.client("lambda").get_function_concurrency(FunctionName=name)
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return 0
    reserved: int = answer.get("ReservedConcurrentExecutions", 0)
    return reserved


def _not_allowed(name: str, error: AwsError) -> Check | None:
    """Return a warning if a check failed only because it is not allowed, or there is no such call.

    That says nothing of whether the deployment would go well.
    """
    return _not_made(name, error) if is_unavailable(error) else None


def _not_made(name: str, error: AwsError) -> Check:
    return Check(name, "warn", f"the check {name} could not be made: {error}")
