"""What is to be deployed to a stack as it is found, and whether it can be; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.deploying import importing, preflight
from payment_infra.cloud.deploying.condition import find_lost_table
from payment_infra.cloud.deploying.consent import (
    check_kept,
    check_simulated,
    check_steps,
    continued,
    on_recorded_preset,
    still_protected,
)
from payment_infra.cloud.deploying.moving import Return, find_move
from payment_infra.cloud.deploying.options import GATEWAY, OPEN, DeployOptions
from payment_infra.cloud.deploying.release import before_encryption, brings_key, plan, with_bucket
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.ownership import check_environment
from payment_infra.cloud.events import Caution
from payment_infra.cloud.stacks.following import REVIEW
from payment_infra.cloud.stacks.settling import DELETING, ROLLING_BACK, step_of
from payment_infra.config import PRESETS
from payment_infra.difference import same
from payment_infra.errors import PaymentInfraError
from payment_infra.names import AT_ONCE, TRAFFIC_SHIFTING, TRANSACTIONS_TABLE_OVERRIDE
from payment_infra.record import Record, read_record

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.release import Plan
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import Stack, StackState
    from payment_infra.sources import Resolved

OPENS = "This update lets everybody call the API, without a signature. Go ahead?"


@dataclass(frozen=True)
class Found:
    """What a deployment begins with: the stack, its template, and what is to be deployed.

    resolved is the configuration that the stack gets, record what it, or one that is gone, has
    recorded of its own. planned is None where a change set that was left is to be executed.
    """

    state: StackState | None
    deployed: Mapping[str, Any]
    resolved: Resolved
    record: Record
    planned: Plan | None = None

    @property
    def live(self) -> StackState | None:
        """The stack, once it has more than a name."""
        return live_of(self.state)


def live_of(state: StackState | None) -> StackState | None:
    """Return the stack, None if it has no more than a name."""
    return None if state is None or state.status == REVIEW else state


class Planning:
    """Works out what one deployment of one stack has to do, as often as the stack has changed.

    allow is what may be done without a question of its own: what the options say, and what was
    agreed to meanwhile.
    """

    def __init__(
        self,
        session: Session,
        stack: Stack,
        resolved: Resolved,
        options: DeployOptions,
        operator: Operator,
    ) -> None:
        self.allow = options.allow
        self._session = session
        self._stack = stack
        self._asked = resolved
        self._options = options
        self._operator = operator
        self._gone: importing.Gone | None = None
        self._deleted = Record()  # of the stack that this deployment deletes first
        self._protected = False  # whether that had termination protection
        self._check_return = Return(
            *(session, stack, operator.tell, ROLLING_BACK, self._command, options.allow)
        )

    def check_state(self, state: StackState) -> None:
        """Make sure that the stack may be touched, and what it was before it is deleted."""
        name = self._stack.name
        check_environment(name, state, self._asked.config.suffix)
        if state.status in ROLLING_BACK:
            self._check_return(state)
        if step_of(state) not in DELETING or self._options.change_set is not None:
            return
        self._protected = self._protected or state.termination_protection
        deployed = self._stack.template()
        if importing.is_incomplete(deployed):
            return
        self._deleted = record = read_record(deployed)
        resolved = on_recorded_preset(self._asked, record)
        check_kept(name, record, resolved, self._command)
        check_simulated(name, resolved, self._session, self._command)
        self._check_opening(record, resolved)

    def work_out(self, state: StackState | None) -> Found:
        """Work out what is to be deployed to a stack at rest.

        Raises:
            UsageError: the configuration is not one for this stack; says what to ask for.
        """
        options, live = self._options, live_of(state)
        deployed = {} if live is None else self._stack.template()
        found, values = self._continue(state, deployed)
        if options.change_set is not None:
            return found
        name, imports = self._stack.name, self.imports(found)
        check_kept(name, found.record, found.resolved, self._command)
        check_steps(name, found.record, found.resolved)
        check_simulated(name, found.resolved, self._session, self._command)
        if imports:
            importing.check_gateway_known(name, found.record, found.resolved, self._session)
        if options.at_once and found.resolved.config.canary_percent:
            values = {**values, TRAFFIC_SHIFTING: AT_ONCE}
        planned = plan(self._session, live, found.resolved, values)
        if imports:
            importing.check_copies(self._session, planned, self._gone)
        if brings_key(deployed, planned.template):
            planned = before_encryption(planned)
        return replace(found, planned=planned)

    def checked(self, found: Found) -> Found:
        """Check what is to be deployed, if anything is.

        That is done with the lock, or what another deployment makes meanwhile would be in the way.
        """
        live, planned, tell = found.live, found.planned, self._operator.tell
        if planned is None or self.is_up_to_date(found):
            return found
        if live is not None:
            environment = Environment(self._session, self._stack, live)
            if lost := find_lost_table(environment, tell):
                tell(Caution(lost))
        self._check_move(found, planned)
        planned = with_bucket(self._session, planned, found.resolved, tell, self._stack.sleep)
        self._check(planned, live, imports=self.imports(found))
        return replace(found, planned=planned)

    def left(self, found: Found, template: Mapping[str, Any]) -> Found:
        """Return what a change set that was left begins with, by what its template records.

        A preset that the stack does not have was chosen, with the protection that it gives.
        """
        record, resolved, has = read_record(template), self._asked, read_record(found.deployed)
        chosen = record.preset in PRESETS and record.preset != has.preset
        if chosen and not resolved.preset_chosen:
            resolved = replace(resolved.on(record.preset), preset_chosen=True)
        if found.live is not None:
            resolved = continued(resolved, record, found.live)
        return replace(found, resolved=resolved)

    def imports(self, found: Found) -> bool:
        """Whether what exists is to be imported into a stack that has nothing else.

        A stack that an import has made, and no update since, continues that without the flag.
        """
        return self._imports(found.deployed)

    def is_up_to_date(self, found: Found) -> bool:
        """Whether template, parameters and options are those of the stack, as far as it tells."""
        options, live, planned = self._options, found.live, found.planned
        if live is None or planned is None or options.force:
            return False
        same_values = all(
            value is None or live.parameters.get(name) == value
            for name, value in planned.parameters.items()
            if name != TRAFFIC_SHIFTING  # says how to update, not to what
        )
        return (
            same_values
            and same(_without_defaults(found.deployed), _without_defaults(planned.template))
            and options.role_arn in {None, live.role_arn}
            and options.notification_arns in {None, live.notification_arns}
        )

    @property
    def _command(self) -> str:
        """The whole command that a refusal repeats."""
        return self._options.command or self._stack.command("deploy")

    def _check_opening(self, record: Record, resolved: Resolved) -> None:
        """Ask before an environment is made anew whose API is open, and was not."""
        opens = record.values.get("authorization") == "iam"
        if opens and resolved.config.authorization == "none":
            if OPEN not in self.allow:
                self._operator.confirm(OPENS, agreed=False, flag=f"--allow {OPEN}")
            self.allow |= {OPEN}  # it is asked once

    def _check_move(self, found: Found, planned: Plan) -> None:
        """Make sure, as far as it is known so early, that no payments are left in flight."""
        anew = found.live is None and not self.imports(found)
        if anew or GATEWAY in self.allow or not self._options.execute:
            return
        table = planned.parameters.get(TRANSACTIONS_TABLE_OVERRIDE) or ""
        move = find_move(
            *(self._session, self._stack, found.live, found.deployed, found.record),
            *(planned.template, table, planned.config.suffix),
        )
        if move is not None:
            move.check(self._command)

    def _imports(self, deployed: Mapping[str, Any]) -> bool:
        if self._options.change_set is not None or not importing.is_incomplete(deployed):
            return False
        return self._options.import_existing or bool(deployed)

    def _continue(
        self, state: StackState | None, deployed: Mapping[str, Any]
    ) -> tuple[Found, Mapping[str, str]]:
        """Take over the configuration of the stack, or of one that is gone.

        Returns:
            That, and the parameters whose values are given.
        """
        live, given = live_of(state), self._options.parameters
        if self._imports(deployed):
            resolved, record, given = importing.configuration(
                self._stack, self._find_gone(), self._asked, given
            )
            protected = self._protected or (live is not None and live.termination_protection)
            resolved = still_protected(resolved, protected=protected)
            if self._options.execute:
                self._check_opening(record, resolved)
            return Found(state, deployed, resolved, record), given
        if live is None:
            resolved = on_recorded_preset(self._asked, self._deleted)
            resolved = still_protected(resolved, protected=self._protected)
            return Found(state, deployed, resolved, self._deleted), given
        record = read_record(deployed)
        resolved = continued(self._asked, record, live)
        # A change set that was left can continue an import, too.
        if deployed and importing.is_incomplete(deployed) and (gone := self._find_gone()):
            record = gone.record
        return Found(state, deployed, resolved, record), given

    def _find_gone(self) -> importing.Gone | None:
        suffix = self._asked.config.suffix
        self._gone = self._gone or importing.find_gone(self._stack, suffix)
        return self._gone

    def _check(self, planned: Plan, live: StackState | None, *, imports: bool) -> None:
        """Make the checks, and raise if one failed."""
        checks = preflight.check_all(
            self._session,
            planned,
            creates=live is None,
            restored=live.parameters.get(TRANSACTIONS_TABLE_OVERRIDE, "") if live else "",
            imports=imports,
            command=self._command,
            skip=self._options.skip_checks,
            allow=self.allow,
            sleep=self._stack.sleep,
        )
        for check in checks:
            if check.level == "fail" or (check.level == "warn" and self._options.strict):
                raise PaymentInfraError(check.message)
            if check.level == "warn":
                self._operator.tell(Caution(check.message))


def _without_defaults(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a template without the parameters' defaults, which a stack's values stand for."""
    declared = template.get("Parameters", {})
    bare = {
        name: {key: value for key, value in parameter.items() if key != "Default"}
        for name, parameter in declared.items()
    }
    return {**template, "Parameters": bare}
