"""Looking for lines in the logs of an environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.logs import LogLine, LogTail, follow, follow_live, history
from payment_infra.errors import AwsError
from payment_infra.names import GATEWAY_EVENTS_LOG_GROUP, NEED_NOT_BE

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment


class Search:
    """The lines of some log groups from a moment on; names is log group to name."""

    def __init__(
        self,
        environment: Environment,
        groups: Mapping[str, str],
        start: datetime,
        transaction: str | None = None,
    ) -> None:
        asked = set(groups.values())
        if asked == {GATEWAY_EVENTS_LOG_GROUP} and not environment.has(GATEWAY_EVENTS_LOG_GROUP):
            raise AwsError(
                f"stack {environment.stack.name} takes nothing that its gateway tells by itself; "
                f"`{environment.command('deploy')} --gateway-events` changes that"
            )
        self.names = {
            environment.resource(group): name
            for name, group in groups.items()
            # Of all, those that the stack has.
            if len(groups) == 1 or group not in NEED_NOT_BE or environment.has(group)
        }
        self._environment = environment
        self._client = environment.client("logs")
        self._start = _milliseconds(start)
        self._pattern = filter_pattern(transaction)

    def history(self, until: datetime) -> Iterator[LogLine]:
        """Yield the lines until a moment, in the order of their time."""
        with translated("log groups"):
            yield from history(
                self._client, list(self.names), self._start, _milliseconds(until) + 1, self._pattern
            )

    def follow(self, sleep: Callable[[float], None]) -> Iterator[list[LogLine]]:
        """Yield the lines until now, then what comes, by live tail where the endpoint has it."""
        tail = LogTail(self._client, list(self.names), self._start, self._pattern)
        if self._environment.session.endpoint_url is not None:
            return follow(tail, sleep)
        return follow_live(self._client, self._arns(), tail, self._pattern, sleep)

    def _arns(self) -> dict[str, str]:
        session = self._environment.session
        partition = self._client.meta.partition
        return {
            f"arn:{partition}:logs:{session.region}:{session.account()}:log-group:{name}": name
            for name in self.names
        }


def filter_pattern(transaction: str | None) -> str:
    """Return the filter pattern of the lines about a payment ("Filter pattern syntax")."""
    if transaction is None:
        return ""
    quoted = transaction.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{ $.transaction_id = "{quoted}" }}'


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
