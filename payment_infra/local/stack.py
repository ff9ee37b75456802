"""The stack on the emulator: deployed by the code that deploys to AWS."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from botocore.config import Config

from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import GATEWAY, DeployOptions
from payment_infra.cloud.environment.address import reachable
from payment_infra.cloud.environment.locking import find, free
from payment_infra.cloud.environment.smoke import Api
from payment_infra.cloud.sdk.boto import Boto
from payment_infra.cloud.sdk.errors import is_missing, translated
from payment_infra.cloud.sdk.logs import LogTail
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import KEPT
from payment_infra.errors import AwsError, Interrupted
from payment_infra.local.isolation import clean_session
from payment_infra.local.refused import DEFAULT_SUFFIX, OWN, without_refused
from payment_infra.names import API_OUTPUT, STACK_NAME_PREFIX, TABLE_OUTPUT

if TYPE_CHECKING:
    from payment_infra.cloud.events import Event
    from payment_infra.cloud.sdk.logs import LogLine
    from payment_infra.local.emulator import Emulator
    from payment_infra.sources import Resolved

GATEWAY_SECRET = "payment-infra-gateway"
# `check_sandbox` has looked at it.
CHECKED = frozenset({"secret"})
LOG_POLL_SECONDS = 0.5
# A minute for who deletes the stack to come to an end.
DELETION_LOOKS = 120
# No proxy stands between this machine and itself, and nothing throttles: what does not answer soon
# is no more.
CONFIG = Config(
    connect_timeout=2,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 3},
    proxies={},
)


@dataclass(frozen=True)
class LocalStack:
    """The deployed stack: its outputs, its API, and the log groups of its functions.

    left_out is setting to reason of what this AWS refuses or does not have.
    """

    stack: Stack
    outputs: Mapping[str, str]
    api: Api
    resources: int
    log_groups: tuple[str, ...]
    left_out: Mapping[str, str]


def open_session(emulator: Emulator) -> Session:
    """Open a session with the emulator that takes nothing from the user's AWS configuration."""
    return Session(Boto(clean_session(), emulator.region), emulator.url, CONFIG)


def deploy(session: Session, resolved: Resolved, secret: str = "") -> LocalStack:
    """Deploy the stack, with the API open, since nobody here can sign.

    Args:
        session: of the emulator.
        resolved: what is deployed.
        secret: the text of the gateway's secret, which the emulator is given; "" for none.
    """
    config, left_out = without_refused(resolved.config)
    config = replace(config, suffix=config.suffix or DEFAULT_SUFFIX)
    if secret:
        left_out.pop("gateway_secret", None)
        config = replace(config, gateway_secret=_keep(session, secret))
    name = resolved.place.stack_name or f"{STACK_NAME_PREFIX}-{config.suffix}"
    stack = Stack(session.client("cloudformation"), name)
    # An earlier run that was killed may have left it held, and took its AWS with it.
    free(session, stack)
    # No money, access or protection hangs on what is here: nothing has to be asked for again.
    sources = {**resolved.sources, **dict.fromkeys({*KEPT, *OWN, "suffix"}, "local")}
    resolved = replace(resolved, config=config, sources=sources)
    try:
        options = DeployOptions(yes=True, allow=frozenset({GATEWAY}), skip_checks=CHECKED)
        Deployment(session, stack, resolved, options, _Quiet()).run()
    except Interrupted:  # it goes on without us nowhere: its AWS ends, too
        raise KeyboardInterrupt from None
    ids = stack.physical_ids()
    outputs = reachable(stack.outputs(), session.endpoint_url, lambda: ids)
    _switch_on_recovery(session, outputs[TABLE_OUTPUT])
    resources = ids.values()
    return LocalStack(
        stack=stack,
        outputs=outputs,
        api=Api(outputs[API_OUTPUT], session.region, session.credentials),
        resources=len(resources),
        log_groups=tuple(resource for resource in resources if resource.startswith("/aws/lambda/")),
        left_out=left_out,
    )


def follow_logs(
    session: Session, deployed: LocalStack, sleep: Callable[[float], None]
) -> Iterator[list[LogLine]]:
    """Yield what the functions log from now on, until somebody has deleted their stack.

    Raises:
        AwsError: the logs cannot be read.
    """
    tail = LogTail(session.client("logs"), deployed.log_groups, int(time.time() * 1000))
    while True:
        try:
            lines = tail.read()
        except AwsError as error:
            if not is_missing(error) or not _is_deleted(session, deployed.stack, sleep):
                raise
            return
        yield lines
        sleep(LOG_POLL_SECONDS)


def _is_deleted(session: Session, stack: Stack, sleep: Callable[[float], None]) -> bool:
    """Whether the stack is gone, once what deletes it has ended, too: that still works here."""
    for _ in range(DELETION_LOOKS):
        state = stack.state()
        if state is not None and state.status != "DELETE_IN_PROGRESS":
            return False
        if state is None and find(session, stack) is None:
            return True
        sleep(LOG_POLL_SECONDS)
    return stack.state() is None


class _Quiet:
    """Agrees to everything on this machine, and shows nothing."""

    def tell(self, event: Event) -> None: ...
    def check_answers(self, agreed: bool) -> None: ...
    def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None: ...


def _keep(session: Session, secret: str) -> str:
    """Put a secret into the emulator's Secrets Manager, while that runs; return its ARN."""
    # A name of its own: those that the state may hold are its user's.
    name = f"{GATEWAY_SECRET}-{uuid.uuid4().hex}"
    with translated("the gateway's secret"):
        made = session.client("secretsmanager").create_secret(Name=name, SecretString=secret)
    arn: str = made["ARN"]
    return arn


def _switch_on_recovery(session: Session, table: str) -> None:
    """Switch on what the emulator drops from the template without a word."""
    with translated(f"table {table}"):
        session.client("dynamodb").update_continuous_backups(
            TableName=table,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
