"""What exists already under the names of a template: kept by an earlier stack, or another's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.sdk.errors import MISSING, code_of, is_unavailable, translated
from payment_infra.cloud.stacks.change_sets import Existing
from payment_infra.errors import AwsError

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.release import Plan
    from payment_infra.cloud.sdk.session import Session

KEY, ALIAS = "AWS::KMS::Key", "AWS::KMS::Alias"


def find_existing(session: Session, planned: Plan) -> tuple[list[Existing], list[AwsError]]:
    """Return what exists of the resources of a plan that a stack may keep.

    One call for each, several at the same time. The second list says why others could not be
    looked up.

    Raises:
        AwsError: a look-up failed for another reason than a missing permission.
    """
    named = list(_named(planned))
    with ThreadPoolExecutor() as pool:  # what takes time is waiting for AWS
        answers = list(pool.map(lambda resource: _look_up(session, *resource), named))
    return (
        [answer for answer in answers if isinstance(answer, Existing)],
        [answer for answer in answers if isinstance(answer, AwsError)],
    )


def _look_up(session: Session, logical_id: str, kind: str, name: str) -> Existing | AwsError | None:
    """Return what exists of a resource, None for nothing, or why it cannot be looked up."""
    try:
        identifier = FINDERS[kind](session, name)
    except AwsError as error:
        if not is_unavailable(error):
            raise
        return error
    return (
        Existing(logical_id, kind, identifier.get("KeyId", name), identifier)
        if identifier
        else None
    )


def _named(planned: Plan) -> Iterator[tuple[str, str, str]]:
    """Yield the logical id and type of what a stack may keep, and the name to look for it by: that
    of its alias for a key."""
    for logical_id, resource in planned.template["Resources"].items():
        kind, properties = resource["Type"], resource.get("Properties", {})
        name = physical_name(properties.get(NAMED_BY.get(kind, "")), planned.parameters)
        if not name:
            continue
        if kind == ALIAS:
            yield properties["TargetKeyId"]["Ref"], KEY, name
        yield logical_id, kind, name


def physical_name(value: Any, parameters: Mapping[str, str | None]) -> str | None:
    """Return a physical name, as far as it depends on nothing but parameters."""
    if isinstance(value, Mapping) and isinstance(value.get("Fn::Sub"), str):
        value = re.sub(r"\$\{(\w+)\}", lambda it: parameters.get(it[1]) or it[0], value["Fn::Sub"])
    return value if isinstance(value, str) and "${" not in value else None


def _find_table(session: Session, name: str) -> dict[str, str]:
    client = session.client("dynamodb")
    return {"TableName": name} if _read(name, lambda: client.describe_table(TableName=name)) else {}


def _find_queue(session: Session, name: str) -> dict[str, str]:
    client = session.client("sqs")
    found = _read(name, lambda: client.get_queue_url(QueueName=name))
    return {"QueueUrl": found["QueueUrl"]} if found else {}


def _find_log_group(session: Session, name: str) -> dict[str, str]:
    with translated(name):
        pages = session.client("logs").get_paginator("describe_log_groups")
        exists = any(
            group["logGroupName"] == name
            for page in pages.paginate(logGroupNamePrefix=name)
            for group in page["logGroups"]
        )
    return {"LogGroupName": name} if exists else {}


def _read(name: str, call: Callable[[], Any]) -> Any:
    """Return what a call answers, None if there is nothing of that name."""
    with translated(name):
        try:
            return call()
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise


def find_key(session: Session, alias: str) -> str:
    """Return the id of the key with this alias, "" if there is none."""
    client = session.client("kms")
    found = _read(alias, lambda: client.describe_key(KeyId=alias))
    return str(found["KeyMetadata"]["KeyId"]) if found else ""


def _find_key(session: Session, alias: str) -> dict[str, str]:
    key_id = find_key(session, alias)
    return {"KeyId": key_id} if key_id else {}


def _find_alias(session: Session, alias: str) -> dict[str, str]:
    return {"AliasName": alias} if find_key(session, alias) else {}


# What a stack may keep, with the property that names it, and how it is looked for.
NAMED_BY = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Logs::LogGroup": "LogGroupName",
    ALIAS: "AliasName",
}
FINDERS: Mapping[str, Callable[[Session, str], dict[str, str]]] = {
    "AWS::DynamoDB::Table": _find_table,
    "AWS::SQS::Queue": _find_queue,
    "AWS::Logs::LogGroup": _find_log_group,
    ALIAS: _find_alias,
    KEY: _find_key,
}
