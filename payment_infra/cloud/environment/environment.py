"""A deployed environment: its stack, and the resources that the operations work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from payment_infra import names
from payment_infra.cloud.environment.address import reachable
from payment_infra.cloud.environment.invoking import Functions, restrictions
from payment_infra.cloud.environment.operations_table import OperationsTable
from payment_infra.cloud.environment.ownership import find_stack
from payment_infra.cloud.environment.smoke import Api
from payment_infra.cloud.sdk import tables
from payment_infra.cloud.sdk.errors import translated
from payment_infra.errors import AwsError
from payment_infra.gateway_names import Gateway
from payment_infra.names import (
    LIVE,
    LIVE_ALIASES,
    PROCESSING_FUNCTION,
    TABLE_OUTPUT,
    TRANSACTIONS_TABLE,
)
from payment_infra.record import read_record

# First part of a path of the API to the logical id of the function behind it.
BEHIND = {
    "validate": names.VALIDATION_FUNCTION,
    "process": names.PROCESSING_FUNCTION,
    names.LOOKUP_PATH: names.LOOKUP_FUNCTION,
    names.CANCEL_PATH: names.CANCELLATION_FUNCTION,
    "health": names.HEALTH_FUNCTION,
}

if TYPE_CHECKING:
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import Stack, StackState


class Environment:
    """A stack that exists, read when it is needed, each thing once."""

    def __init__(self, session: Session, stack: Stack, state: StackState) -> None:
        self.session = session
        self.stack = stack
        self.state = state

    @classmethod
    def find(cls, session: Session, stack: Stack, suffix: str) -> Environment:
        """Find the environment.

        Raises:
            AwsError: there is no such stack, it is not this tool's, or another environment's.
        """
        state = find_stack(stack, suffix)
        if state is None:
            raise AwsError(_missing(session, stack, suffix))
        return cls(session, stack, state)

    @property
    def suffix(self) -> str:
        """What ends every physical name."""
        return self.state.parameters[names.ENVIRONMENT_SUFFIX]

    @property
    def table(self) -> str:
        """The name of the active table: the stack's own, or one that was restored."""
        return self._output(TABLE_OUTPUT)

    @property
    def own_table(self) -> str:
        """The name of the table that the stack itself has made."""
        return self.resource(TRANSACTIONS_TABLE)

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs, with the address at which the API answers."""
        endpoint_url = self.session.endpoint_url
        return reachable(self.state.outputs, endpoint_url, lambda: self._physical_ids)

    @cached_property
    def operations(self) -> OperationsTable:
        """The table of who works on which environment."""
        return OperationsTable(self.session, self.stack.sleep)

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        return self.session.client(service)

    def api(self) -> Api:
        """Return the API; where it restricts who may reach it, its functions are a way around."""
        session = self.session
        url = self._output(names.API_OUTPUT)
        return Api(
            url,
            session.region,
            session.credentials,
            self._around,
            session.http(url),
            looks_up=self.has(names.LOOKUP_FUNCTION),
            cancels=self.has(names.CANCELLATION_FUNCTION),
        )

    def functions(self, told: str = "") -> Functions:
        """Return the functions behind the API, to be invoked directly; told says why in a line.

        Raises:
            AwsError: the stack has not made them, or who asks cannot be told.
        """
        targets = {
            path: self.invoked(logical_id)
            for path, logical_id in BEHIND.items()
            if logical_id not in names.NEED_NOT_BE or self.has(logical_id)
        }
        return Functions(self.client("lambda"), targets, self.session.principal(), told)

    def invoked(self, logical_id: str) -> Mapping[str, str]:
        """Return how Lambda's calls name a function: as `live` has it, where it is published."""
        qualifier = {"Qualifier": LIVE} if self.has(LIVE_ALIASES[logical_id]) else {}
        return {"FunctionName": self.resource(logical_id), **qualifier}

    def _around(self, unreached: str) -> Functions | None:
        reasons = restrictions(read_record(self.stack.template()).values)
        if not reasons:
            return None
        return self.functions(
            f"{unreached}, and {', and '.join(reasons)}: its functions are invoked directly, which "
            "tries neither API Gateway nor who may call"
        )

    def gateway(self) -> str:
        """Return the class of the payment gateway, as the configuration names it.

        Money hangs on it, so what counts is what the function that charges has, not a template.

        Raises:
            AwsError: it cannot be read.
        """
        return gateway_of_function(self.function(PROCESSING_FUNCTION))

    def function(self, logical_id: str) -> Mapping[str, Any]:
        """Return the configuration of a function as it is invoked: the version that `live` names,
        where it is published.

        Raises:
            AwsError: it cannot be read.
        """
        invoked = self.invoked(logical_id)
        with translated(f"function {invoked['FunctionName']}"):
            found: Mapping[str, Any] = self.client("lambda").get_function_configuration(**invoked)
        return found

    def command(self, arguments: str) -> str:
        """Return a command line for this environment, for a person to repeat."""
        return self.stack.command(arguments)

    def is_going(self) -> bool:
        """Whether the stack is gone, or being deleted, or that has failed: it only can be deleted.

        Raises:
            AwsError: that cannot be read.
        """
        state = self.stack.state_for_sure()
        return state is None or state.status.startswith("DELETE_")

    def check_same(self) -> None:
        """Make sure that the stack is as it was found; one that was being deleted may go on so.

        The lock keeps other operations away, and not what knows none, as the AWS CLI.

        Raises:
            AwsError: it was changed, or is gone, or nobody can tell.
        """
        if self.state.status.startswith("DELETE_"):
            return
        now, found = self.stack.state_for_sure(), self.state
        if now is not None:
            now = replace(now, drift=found.drift, drift_checked_at=found.drift_checked_at)
        if now != found:
            raise AwsError(
                f"stack {self.stack.name} was changed meanwhile, by somebody without the lock; "
                "nothing was deleted, repeat the command"
            )

    def again(self) -> Environment:
        """Return the environment as it is now, after an update of its stack."""
        return Environment.find(self.session, self.stack, self.suffix)

    def resource(self, logical_id: str) -> str:
        """Return the physical id of a resource: a queue's is its URL, a topic's its ARN.

        Raises:
            AwsError: the stack has not made it.
        """
        if not (physical_id := self._physical_ids.get(logical_id)):
            raise AwsError(
                f"stack {self.stack.name} is {self.state.status} and has no {logical_id}; "
                f"`{self._completing}` completes it"
            )
        return physical_id

    def has(self, logical_id: str) -> bool:
        """Whether the stack has made a resource."""
        return bool(self._physical_ids.get(logical_id))

    def _output(self, name: str) -> str:
        if name not in self.outputs:
            raise AwsError(
                f"stack {self.stack.name} is {self.state.status} and has no output {name}; "
                f"`{self._completing}` completes it"
            )
        return self.outputs[name]

    @property
    def _completing(self) -> str:
        """The command that makes what is missing; after an import, the one that continues it."""
        imported = self.state.status.startswith("IMPORT_")
        return self.command("deploy --import-existing-resources" if imported else "deploy")

    @cached_property
    def _physical_ids(self) -> Mapping[str, str]:
        return self.stack.physical_ids()


def _missing(session: Session, stack: Stack, suffix: str) -> str:
    """Say that there is no stack, and what makes it; a kept table needs another command."""
    told = f"there is no stack {stack.name}"
    own = names.own_table(suffix)
    try:
        kept = tables.status(session.client("dynamodb"), own) not in tables.LOST
    except AwsError:
        kept = False  # the deployment tells
    if not kept:
        return f"{told}; `{stack.command('deploy')}` makes it"
    command = stack.command("deploy --import-existing-resources")
    return (
        f"{told}, and its table {own} is still there; `{command}` brings the environment back over "
        "what was kept"
    )


def gateway_of_function(function: Mapping[str, Any]) -> str:
    """Return the class of the payment gateway that a function is configured with.

    Args:
        function: the answer of GetFunctionConfiguration.

    Raises:
        AwsError: its variables cannot be read (Lambda API, EnvironmentError).
    """
    return Gateway.of(variables_of(function)).gateway


def variables_of(function: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the environment variables of a function.

    Args:
        function: the answer of GetFunctionConfiguration.

    Raises:
        AwsError: they cannot be read (Lambda API, EnvironmentError).
    """
    environment = function.get("Environment", {})
    if error := environment.get("Error"):
        raise AwsError(
            f"function {function.get('FunctionName')}: its variables, and so its table and the "
            f"payment gateway, cannot be read ({error.get('Message') or error.get('ErrorCode')})"
        )
    variables: Mapping[str, str] = environment.get("Variables", {})
    return variables
