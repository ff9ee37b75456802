"""The events of one operation on a stack: none missed, none twice, in order, until it has ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from payment_infra.cloud.events import STACK_TYPE, StackEvent, Waiting
from payment_infra.cloud.sdk.errors import code_of, explain, translated
from payment_infra.cloud.sdk.polling import again, looks
from payment_infra.cloud.stacks.diagnosis import failure

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

    from payment_infra.errors import AwsError

SUCCEEDED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_COMPLETE"})
REVIEW = "REVIEW_IN_PROGRESS"
# What the stack's own event says at the start of an operation.
STARTS = frozenset(
    {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "IMPORT_IN_PROGRESS"}
)


class Following:
    """Looks at a stack until its operation has ended.

    A look that fails for a passing reason (throttling, network, a service's own error) is made
    again; it never makes a failure of a deployment that goes well. flags is what leads to the stack
    in a command line, for what is to be done about a failure.
    """

    def __init__(
        self,
        client: CloudFormationClient,
        name: str,
        stack_id: str,
        sleep: Callable[[float], None],
        flags: str,
    ) -> None:
        self.seen: list[StackEvent] = []
        self._client = client
        self._name = name
        self._stack_id = stack_id
        self._sleep = sleep
        self._flags = flags
        self._known: set[str] = set()

    def skip_past(self) -> None:
        """Take what has happened until now as no part of the operation."""
        with translated(f"stack {self._name}"):
            for page in self._pages():
                self._known.update(event["EventId"] for event in page)
                break

    def skip_to_last_operation(self) -> None:
        """Take what has happened before the last operation as no part of it."""
        started = False
        with translated(f"stack {self._name}"):
            for page in self._pages():
                for event in page:
                    if started:
                        self._known.add(event["EventId"])
                    elif _starts_operation(event):
                        started = True
                if self._known:
                    break

    def token_of_last_operation(self, starts: Collection[str] = STARTS) -> str:
        """Return the ClientRequestToken of the last operation, "" if it has none.

        `starts` is how that must have begun, or there is none.
        """
        with translated(f"stack {self._name}"):
            for page in self._pages():
                for event in page:
                    if _starts_operation(event):
                        token = str(event.get("ClientRequestToken", ""))
                        return token if event["ResourceStatus"] in starts else ""
        return ""

    def of_last_operation(self) -> list[StackEvent]:
        """Return the events of the last operation, oldest first; none after their 90 days.

        That is how long they are kept (CloudFormation, "View CloudFormation stack events").
        """
        self.skip_to_last_operation()
        with translated(f"stack {self._name}"):
            return self._fresh()

    def before_last_operation(
        self, logical_ids: Collection[str]
    ) -> dict[str, Mapping[str, Any] | None]:
        """Return what properties resources had before the last operation, if it has come to them.

        An event has those that the resource has got (CloudFormation API, StackEvent:
        ResourceProperties). None where no event tells any more: they are kept for 90 days.
        """
        with translated(f"stack {self._name}"):
            events = (event for page in self._pages() for event in page)
            came_to = set[str]()
            for event in events:
                if _starts_operation(event):
                    break
                came_to.add(event.get("LogicalResourceId", ""))
            else:
                came_to = {*logical_ids}  # that it has not is not known either
            found = dict.fromkeys(name for name in logical_ids if name in came_to)
            for event in events:
                name = event.get("LogicalResourceId", "")
                if name in came_to & found.keys() and event["ResourceStatus"] in SUCCEEDED:
                    found[name] = _properties(event)
                    came_to.remove(name)
                if not came_to & found.keys():
                    break
        return found

    def events(self, expected: Collection[str] = SUCCEEDED) -> Iterator[StackEvent | Waiting]:
        """Yield the operation's events, oldest first, and Waiting after a look without any.

        Args:
            expected: the stack's statuses that are a success of the operation.

        Raises:
            DeploymentFailed: it ended with another status.
            AwsError: the stack can no longer be looked at.
        """
        subject = (
            f"stack {self._name} can no longer be read, and its operation is still in progress"
        )
        status = ""
        for seen in looks(subject, self._look, self._sleep, missed=_reason):
            if isinstance(seen, str):
                yield again(seen)
                continue
            status, fresh = self._before_the_next(*seen)
            # For a moment after it has begun, the stack can still have its last status, also when
            # the operation's first events come right after that was seen.
            told = bool(self.seen) or self._is_told(status, fresh)
            self.seen += fresh
            yield from fresh
            if status == "DELETE_COMPLETE" or (told and not status.endswith("_IN_PROGRESS")):
                break
            if not fresh:
                yield Waiting()
        if status not in expected:
            raise failure(self._name, status, tuple(self.seen), {}, self._flags)

    def _before_the_next(
        self, status: str, events: list[StackEvent]
    ) -> tuple[str, list[StackEvent]]:
        """Leave out what belongs to an operation that somebody has begun after this one's end."""
        ended, before = "", len(self.seen)
        for number, event in enumerate([*self.seen, *events]):
            if event.logical_id != self._name or event.resource_type != STACK_TYPE:
                continue
            if ended and event.status in STARTS:
                return ended, events[: number - before]
            ended = "" if event.status.endswith("_IN_PROGRESS") else event.status
        return status, events

    def _is_told(self, status: str, events: Iterable[StackEvent]) -> bool:
        """Whether the stack's own events say that it has come to that status."""
        return any(event.logical_id == self._name and event.status == status for event in events)

    def _look(self) -> tuple[str, list[StackEvent]] | str:
        # The status first: events that come before it are then in what follows.
        return self._status(), self._fresh()

    def _status(self) -> str:
        try:
            stacks = self._client.describe_stacks(StackName=self._stack_id)["Stacks"]
        except ClientError as error:
            if is_gone(error):
                return "DELETE_COMPLETE"
            raise
        return stacks[0]["StackStatus"]

    def _fresh(self) -> list[StackEvent]:
        """Return the events that are not known, oldest first; they then are."""
        every = (event for page in self._pages() for event in page)
        fresh = list(takewhile(lambda event: event["EventId"] not in self._known, every))
        self._known.update(event["EventId"] for event in fresh)
        # That a stack is in review is what was before its creation.
        return [_event(event) for event in reversed(fresh) if event.get("ResourceStatus") != REVIEW]

    def _pages(self) -> Iterator[list[Any]]:
        """Yield the stack's events, newest first, page by page."""
        pages = self._client.get_paginator("describe_stack_events")
        for page in pages.paginate(StackName=self._stack_id):
            yield page["StackEvents"]


def _reason(error: AwsError) -> str:
    """Return why a look has failed, without what it was a look at."""
    cause = error.__cause__
    return explain(cause) if isinstance(cause, (ClientError, BotoCoreError)) else str(error)


def is_gone(error: ClientError) -> bool:
    """Whether a call was refused since there is no such stack."""
    # CloudFormation has no error code of its own for this.
    return code_of(error) == "ValidationError" and "does not exist" in str(error)


def _starts_operation(raw: Mapping[str, Any]) -> bool:
    stacks_own = raw.get("PhysicalResourceId") == raw["StackId"]
    return stacks_own and raw["ResourceStatus"] in STARTS


def _properties(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    try:
        properties = json.loads(raw.get("ResourceProperties", ""))
    except ValueError:
        return None
    return properties if isinstance(properties, dict) else None


def _event(raw: Mapping[str, Any]) -> StackEvent:
    return StackEvent(
        id=raw["EventId"],
        time=raw["Timestamp"],
        logical_id=raw.get("LogicalResourceId", ""),
        resource_type=raw.get("ResourceType", ""),
        status=raw.get("ResourceStatus", ""),
        reason=raw.get("ResourceStatusReason", ""),
        token=raw.get("ClientRequestToken", ""),
        physical_id=raw.get("PhysicalResourceId", ""),
    )
