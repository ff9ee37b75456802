"""What a deployment would do: what `diff` compares with, and what `upload` prepares for others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from payment_infra.artifacts import check_handlers, code_keys
from payment_infra.cloud.deploying import importing
from payment_infra.cloud.deploying.consent import (
    check_kept,
    check_simulated,
    check_steps,
    continued,
    on_recorded_preset,
)
from payment_infra.cloud.deploying.moving import find_move
from payment_infra.cloud.deploying.release import (
    before_encryption,
    brings_key,
    encrypting,
    plan,
    upload,
    with_bucket,
)
from payment_infra.cloud.environment.ownership import find_stack
from payment_infra.cloud.events import Caution
from payment_infra.cloud.stacks.settling import DELETING, step_of
from payment_infra.difference import Comparison, compare_all
from payment_infra.errors import UsageError
from payment_infra.gateway_check import check_gateway
from payment_infra.names import TRAFFIC_SHIFTING, TRANSACTIONS_TABLE_OVERRIDE
from payment_infra.record import Record, read_record

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.moving import Move
    from payment_infra.cloud.deploying.release import Plan, Release
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.stack import Stack, StackState
    from payment_infra.sources import Resolved


@dataclass(frozen=True)
class Outset:
    """What a deployment would begin with.

    resolved is the configuration that it would have; state is the stack that it would update, None
    if it would create one; deployed is that stack's template. record is what is kept of an earlier
    configuration. Where what was kept of a stack that is gone is imported, imports is set, gone is
    that stack if it is still known, and parameters are its values. caution says what a deployment
    by the AWS CLI lacks.
    """

    resolved: Resolved
    state: StackState | None = None
    deployed: Mapping[str, Any] = field(default_factory=dict)
    record: Record = field(default_factory=Record)
    imports: bool = False
    gone: importing.Gone | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    caution: str = ""


def foresee(stack: Stack, resolved: Resolved) -> Outset:
    """Return what a deployment would begin with.

    Raises:
        AwsError: the stack of that name is not this tool's, or is another environment's.
        UsageError: it is unknown how a stack that is gone was configured, and not said either.
    """
    suffix = resolved.config.suffix
    state = find_stack(stack, suffix)
    if state is None:
        return Outset(resolved)
    deployed, deploy = stack.template(), stack.command("deploy")
    incomplete = importing.is_incomplete(deployed)
    if step_of(state) in DELETING:
        # Nothing of its template is deployed, and it would be created anew.
        record = Record() if incomplete else read_record(deployed)
        told = (
            f"stack {stack.name} is {state.status}: `{deploy}` deletes it first, while the AWS CLI "
            "needs it deleted"
        )
        return Outset(on_recorded_preset(resolved, record), record=record, caution=told)
    if deployed and incomplete:
        gone = importing.find_gone(stack, suffix)
        resolved, record, values = importing.configuration(stack, gone, resolved, {})
        told = (
            f"stack {stack.name} has nothing but what was imported: `{deploy}` continues the "
            "import, while the AWS CLI imports nothing more"
        )
        return Outset(resolved, state, deployed, record, True, gone, values, told)
    record = read_record(deployed)
    return Outset(continued(resolved, record, state), state, deployed, record)


def prepare(
    session: Session, stack: Stack, resolved: Resolved, tell: Tell, command: str = ""
) -> tuple[Release, ...]:
    """Upload what somebody else is to deploy; a refusal repeats the command that was entered.

    Returns what is to be deployed one after the other: two where a stack gets its key.

    Raises as `check_handlers`, `check_gateway`, `foresee`, `check_kept`, `check_steps`,
    `check_simulated`, `upload` and, for an import, its checks do.
    """
    checked = code_keys(config=resolved.config)
    check_handlers(resolved.config)
    check_gateway(resolved.config)
    outset, command = foresee(stack, resolved), command or stack.command("upload")
    check_kept(stack.name, outset.record, outset.resolved, command)
    check_steps(stack.name, outset.record, outset.resolved)
    check_simulated(stack.name, outset.resolved, session, command)
    planned = plan(session, outset.state, outset.resolved, outset.parameters)
    if outset.imports:
        importing.check_gateway_known(stack.name, outset.record, outset.resolved, session)
        importing.check_copies(session, planned, outset.gone)
    if outset.caution:
        tell(Caution(outset.caution))
    if brings_key(outset.deployed, planned.template):
        planned = before_encryption(planned)
    planned = with_bucket(session, planned, outset.resolved, tell, stack.sleep)
    move = _find_move(session, stack, outset, planned)
    if move is not None and (told := move.objection()):
        tell(Caution(f"{told}; wait until none is: the AWS CLI does not look for them"))
    release = upload(session, planned, checked, tell, stack.sleep)
    return (release,) if release.plan.encrypts else (release, encrypting(release))


def compare(
    session: Session, stack: Stack, resolved: Resolved, tell: Tell = lambda _: None
) -> Comparison:
    """Compare what would be deployed with what is; nothing is changed.

    What a deployment would refuse to do in one step is told.

    Raises as `foresee` and `plan` do.
    """
    outset = foresee(stack, resolved)
    try:
        check_steps(stack.name, outset.record, outset.resolved)
    except UsageError as refusal:
        tell(Caution(f"`{stack.command('deploy')}` would refuse this: {refusal}"))
    planned = plan(session, outset.state, outset.resolved, outset.parameters)
    move = _find_move(session, stack, outset, planned)
    if move is not None and (told := move.objection()):
        tell(Caution(f"`{stack.command('deploy')}` would refuse this: {told}"))
    values = outset.state.parameters if outset.state else {}
    # How an update is made is no difference.
    kept = {name: value for name, value in values.items() if name != TRAFFIC_SHIFTING}
    sent = {name: value for name, value in planned.parameters.items() if name != TRAFFIC_SHIFTING}
    return compare_all(outset.deployed, planned.template, kept, sent)


def _find_move(session: Session, stack: Stack, outset: Outset, planned: Plan) -> Move | None:
    """Return the move to another gateway that a deployment would make of a stack that exists."""
    if outset.state is None:
        return None
    table = planned.parameters.get(TRANSACTIONS_TABLE_OVERRIDE) or ""
    deployed, record, suffix = outset.deployed, outset.record, planned.config.suffix
    state, new = outset.state, planned.template
    return find_move(session, stack, state, deployed, record, new, table, suffix)
