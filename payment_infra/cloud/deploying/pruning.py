"""Deleting the versions of functions that nothing names any more, but for the last of them.

CloudFormation keeps a version whose resource goes, so that what has begun on it ends there. Each
takes room, and with SnapStart money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from payment_infra.cloud.environment.live import FUNCTIONS, named_versions
from payment_infra.cloud.events import Caution
from payment_infra.cloud.sdk.errors import code_of, translated
from payment_infra.errors import AwsError
from payment_infra.names import LIVE_ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Change, Tell

VERSION = "AWS::Lambda::Version"
# Besides what `live` names: to go back to by hand, and for what still runs there.
KEPT_VERSIONS = 1


def prune(environment: Environment, changes: Iterable[Change], tell: Tell) -> None:
    """Delete the old versions after an update that has published others; a failure is told.

    Args:
        environment: whose functions.
        changes: what the update has changed.
        tell: is told what cannot be deleted.
    """
    if not any(change.resource_type == VERSION for change in changes):
        return
    for function in filter(environment.has, FUNCTIONS):
        try:
            _prune(environment, function)
        except AwsError as error:
            tell(Caution(f"old versions are left, which the next deployment deletes: {error}"))
            return


def _prune(environment: Environment, function: str) -> None:
    client, name = environment.client("lambda"), environment.resource(function)
    published = environment.has(LIVE_ALIASES[function])
    named = named_versions(environment, function) if published else []
    with translated(f"versions of function {name}"):
        pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        versions = [version["Version"] for page in pages for version in page["Versions"]]
        # Where nothing is published any more, the next to be published could be one that is there.
        old = sorted(map(int, set(versions) - {"$LATEST", *named}))
        for version in old[:-KEPT_VERSIONS] if published else old:
            try:
                client.delete_function(FunctionName=name, Qualifier=str(version))
            except ClientError as error:
                # An alias of somebody else's names it (Lambda API, DeleteFunction).
                if code_of(error) != "ResourceConflictException":
                    raise
