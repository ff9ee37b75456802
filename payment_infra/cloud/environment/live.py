"""What the alias `live` of each function names, and the table that this works on.

A published version keeps the environment that the function had. Where `live` names a version from
before payments moved to another table, payments would go on being written to the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from payment_infra.checks import Check
from payment_infra.cloud.environment.environment import variables_of
from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError
from payment_infra.names import (
    CANCELLATION_FUNCTION,
    GATEWAY_EVENTS_FUNCTION,
    HEALTH_FUNCTION,
    LIVE,
    LIVE_ALIASES,
    LOOKUP_FUNCTION,
    PROCESSING_FUNCTION,
    RETRY_FUNCTION,
    VALIDATION_FUNCTION,
)

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment

FUNCTIONS = (
    *(VALIDATION_FUNCTION, PROCESSING_FUNCTION, LOOKUP_FUNCTION),
    *(CANCELLATION_FUNCTION, RETRY_FUNCTION, HEALTH_FUNCTION, GATEWAY_EVENTS_FUNCTION),
)


def named_versions(environment: Environment, function: str) -> list[str]:
    """Return the versions that `live` sends requests to: two while traffic shifts.

    Raises:
        AwsError: that cannot be read.
    """
    name = environment.resource(function)
    with translated(f"alias {LIVE} of function {name}"):
        alias = environment.client("lambda").get_alias(FunctionName=name, Name=LIVE)
    others: Mapping[str, float] = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return [alias["FunctionVersion"], *others]


def find_misdirected(environment: Environment) -> list[Check]:
    """Find the functions of which `live` names a version that does not work on the active table.

    Raises:
        AwsError: that cannot be read.
    """
    found, client = [], environment.client("lambda")
    for function in FUNCTIONS:
        if not environment.has(LIVE_ALIASES[function]):
            continue
        name = environment.resource(function)
        for version in named_versions(environment, function):
            with translated(f"version {version} of function {name}"):
                configuration = client.get_function_configuration(
                    FunctionName=name, Qualifier=version
                )
            table = variables_of(configuration).get("TRANSACTIONS_TABLE", "")
            if table != environment.table:
                message = (
                    f"{LIVE} of {name} names version {version}, which works on {table}, and not on "
                    f"{environment.table}"
                )
                found.append(Check("live", "fail", message, _remedy(environment, function)))
    return found


def check_live(environment: Environment) -> None:
    """Make sure that what `live` names works on the active table.

    Raises:
        AwsError: it does not, or nobody can tell; says what brings it there.
    """
    if found := find_misdirected(environment):
        raise AwsError(f"{found[0].message}; {found[0].remedy}")


def _remedy(environment: Environment, function: str) -> str:
    """Return the commands that publish the function as it is, which an update has brought to the
    active table, and let `live` name that."""
    name, aws = environment.resource(function), environment.session.aws
    publish = aws(f"lambda publish-version --function-name {name} --query Version --output text")
    move = aws(
        f"lambda update-alias --function-name {name} --name {LIVE}"
        " --routing-config AdditionalVersionWeights={} --function-version VERSION"
    )
    return f"`{publish}` says the version as deployed, `{move}` moves it there"
