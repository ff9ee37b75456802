"""Who has the callers' managed policy: IAM deletes none that somebody has (API, DeletePolicy)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from payment_infra.cloud.events import Caution
from payment_infra.cloud.sdk.errors import code_of, is_passing, translated
from payment_infra.cloud.sdk.polling import persistently
from payment_infra.errors import AwsError, by_ctrl_c

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell

# The logical id of the policy.
GONE = "NoSuchEntity"
# By the kind of principal: in the answer, the key of the names in it, and the end of the names of
# the calls that attach and detach.
KINDS = {
    "role": ("PolicyRoles", "RoleName", "role_policy"),
    "user": ("PolicyUsers", "UserName", "user_policy"),
    "group": ("PolicyGroups", "GroupName", "group_policy"),
}


@dataclass(frozen=True)
class Principal:
    """Who can have a policy; kind is role, user or group."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Return it as `role Checkout`."""
        return f"{self.kind} {self.name}"

    def attach_command(self, policy: str) -> str:
        """Return the words of the AWS CLI that give it a policy, by the policy's ARN."""
        name = shlex.quote(self.name)
        return f"iam attach-{self.kind}-policy --{self.kind}-name {name} --policy-arn {policy}"


@dataclass(frozen=True)
class Callers:
    """Who has the policy with this ARN ("" for none); unknown says why that cannot be read."""

    policy: str = ""
    principals: tuple[Principal, ...] = ()
    unknown: str = ""


def find_callers(client: Any, policy: str) -> Callers:
    """Return who has a managed policy.

    Args:
        client: IAM's.
        policy: its ARN, "" for none.
    """
    if not policy:
        return Callers()
    try:
        return Callers(policy, _principals(client, policy))
    except AwsError as error:
        return Callers(policy, unknown=str(error))


class Detaching:
    """Detaches the policy from its callers; as a context, attaches it again if the stack stays."""

    def __init__(
        self, environment: Environment, shown: Callers, tell: Tell, sleep: Callable[[float], None]
    ) -> None:
        """Change nothing yet.

        Args:
            environment: whose policy.
            shown: who was shown to have it.
            tell: is told what becomes of those who have lost it.
            sleep: waits.
        """
        self._environment = environment
        self._client = environment.client("iam")
        self._shown = shown
        self._tell = tell
        self._sleep = sleep
        self._lost: list[Principal] = []

    def detach(self) -> None:
        """Detach the policy from those who were shown to have it.

        Raises:
            AwsError: others have it by now, and nothing was changed; or IAM refuses.
        """
        shown = self._shown
        if not shown.principals:
            return
        found = _principals(self._client, shown.policy)
        if others := [str(principal) for principal in found if principal not in shown.principals]:
            raise AwsError(
                f"policy {shown.policy} was attached to {', '.join(others)} after the question; "
                "nothing was deleted; repeat the command"
            )
        for principal in found:
            # Also what fails on its way may have taken effect.
            self._lost.append(principal)
            try:
                _change(self._client, "detach", shown.policy, principal)
            except AwsError as error:
                if not is_passing(error):
                    self._lost.remove(principal)
                if not _is_gone(error):
                    raise

    def __enter__(self) -> Detaching:
        """Begin what `detach` is a part of."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Attach the policy again to those who have lost it, unless the stack is being deleted."""
        if error is None or not self._lost:
            return
        left = list(self._lost)
        try:
            if by_ctrl_c(error):
                self._tell(
                    Caution(
                        f"the callers' policy is being attached again to {_listed(left)}, if the "
                        "stack stays; another Ctrl-C leaves it detached"
                    )
                )
            if persistently(self._environment.is_going, self._sleep, self._tell):
                return
            for principal in self._lost:
                self._attach(principal)
                left.remove(principal)
        except (AwsError, KeyboardInterrupt) as failed:
            commands = self._environment.session.aws(
                *(principal.attach_command(self._shown.policy) for principal in left)
            )
            told = str(failed) or "interrupted"
            self._tell(
                Caution(
                    f"{_listed(left)} lost the callers' policy ({told}); `{commands}` attaches it "
                    "again"
                )
            )
            if isinstance(failed, KeyboardInterrupt):
                raise
        else:
            self._tell(Caution(f"the callers' policy is attached again to {_listed(self._lost)}"))

    def _attach(self, principal: Principal) -> None:
        def attach() -> None:
            _change(self._client, "attach", self._shown.policy, principal)

        try:
            persistently(attach, self._sleep, self._tell)
        except AwsError as error:
            if not _is_gone(error):
                raise


def _change(client: Any, verb: str, policy: str, principal: Principal) -> None:
    _, name, call = KINDS[principal.kind]
    with translated(str(principal)):
        getattr(client, f"{verb}_{call}")(PolicyArn=policy, **{name: principal.name})


def _is_gone(error: AwsError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) == GONE


def _listed(principals: Sequence[Principal]) -> str:
    return ", ".join(map(str, principals))


def _principals(client: Any, policy: str) -> tuple[Principal, ...]:
    pages = client.get_paginator("list_entities_for_policy").paginate(
        PolicyArn=policy, PolicyUsageFilter="PermissionsPolicy"
    )
    with translated(f"policy {policy}"):
        try:
            answers = list(pages)
        except ClientError as error:
            if code_of(error) == GONE:
                return ()
            raise
    return tuple(
        Principal(kind, member[name])
        for kind, (members, name, _) in KINDS.items()
        for answer in answers
        for member in answer.get(members, [])
    )
