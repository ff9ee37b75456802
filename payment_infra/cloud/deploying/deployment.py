"""A deployment, step by step: settle the stack, lock, upload, preview, ask, execute, follow.

Nothing of the stack is changed before its preview was shown and agreed to. What happens is told to
an `Operator`, who also answers the questions. The lock of the environment is taken once there is
something to change, and what was read before is read again with it. A stack that is gone is first
made anew of what it has kept, by an import (`importing`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from payment_infra.artifacts import check_handlers, code_keys
from payment_infra.cloud.deploying import completing, importing
from payment_infra.cloud.deploying.agreement import agree
from payment_infra.cloud.deploying.condition import find_lost_table, tell_stopped
from payment_infra.cloud.deploying.consent import returning
from payment_infra.cloud.deploying.execution import Events, Execution
from payment_infra.cloud.deploying.planning import Found, Planning
from payment_infra.cloud.deploying.previewing import import_preview
from payment_infra.cloud.deploying.protection import Protection, lifted_policy
from payment_infra.cloud.deploying.pruning import prune
from payment_infra.cloud.deploying.release import upload
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.live import check_live
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.events import Caution, Outputs, Result, StackEvent, Target
from payment_infra.cloud.stacks import change_sets, clearing
from payment_infra.cloud.stacks.following import REVIEW
from payment_infra.cloud.stacks.settling import settle
from payment_infra.cloud.stacks.tokens import token_of
from payment_infra.errors import AwsError, UsageError
from payment_infra.gateway_check import check_gateway
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.options import DeployOptions
    from payment_infra.cloud.deploying.release import Plan, Release
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.described import ChangeSet
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import Stack, StackState
    from payment_infra.sources import Resolved

UNPROTECTED = (
    "once the stack is created, `{}` has to be repeated: only then is the table protected from "
    "deletion"
)
NO_CANARY = (
    "--at-once changes nothing: there is no canary (canary_percent is 0), so new code gets all "
    "requests at once anyway"
)


class Deployment:
    """One deployment of one stack."""

    def __init__(
        self,
        session: Session,
        stack: Stack,
        resolved: Resolved,
        options: DeployOptions,
        operator: Operator,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._stack = stack
        self._asked = resolved
        self._options = options
        self._operator = operator
        self._planning = Planning(session, stack, resolved, options, operator)
        self._execution = Execution(session, stack, options, operator, clock)
        self._lock: Lock | None = None
        self._checked: Mapping[str, str] = {}  # the keys of the code that was checked
        self._exits = ExitStack()

    def run(self) -> Result:
        """Bring the stack to what the configuration and the handlers are.

        Raises:
            PaymentInfraError: something is not as it must be; the stack was not changed.
            DeploymentFailed: CloudFormation refused, or it failed; says the root cause.
            Declined: the answer to a question was no; the change set is gone.
            Interrupted: Ctrl-C after the execution had begun, which continues.
        """
        self._checked = code_keys(config=self._asked.config)
        check_handlers(self._asked.config)
        check_gateway(self._asked.config)
        with self._session.patient(self._operator.tell):
            self._session.account()
            with self._exits:
                return self._run()

    def _run(self) -> Result:
        planning = self._planning
        found = planning.work_out(self._settled())
        if self._options.at_once and not found.resolved.config.canary_percent:
            self._operator.tell(Caution(NO_CANARY))
        if self._changes(found):
            if silence := self._silence():
                planning.checked(found)  # what is wrong comes first
                raise silence
            if self._hold():
                # Each update has its time: where the state is the same, nothing was changed since.
                state = self._settled()
                found = found if state == found.state else planning.work_out(state)
        if self._options.change_set is not None:
            return self._execute_later(found, self._options.change_set)
        found = planning.checked(found)
        if planning.imports(found) and self._import(found):
            found = planning.checked(planning.work_out(self._settled()))
        if planning.is_up_to_date(found):
            return self._unchanged(found)
        return self._deploy(found)

    def _silence(self) -> UsageError | None:
        """Return the refusal to begin what will be asked about, where nobody can answer."""
        if not self._options.execute:
            return None
        try:
            self._operator.check_answers(self._options.yes)
        except UsageError as refusal:
            return refusal
        return None

    def _settled(self) -> StackState | None:
        """Bring the stack to rest; return it, None if there is none."""
        return settle(
            self._stack,
            self._operator,
            check=self._planning.check_state,
            yes=self._options.yes,
            wait=self._options.wait,
            skip=self._options.skip,
            hold=self._hold,
        )

    def _hold(self) -> bool:
        """Take the lock for the rest of the deployment; return whether it was not held before."""
        if self._lock is not None:
            return False
        options = self._options
        if options.execute:
            self._operator.check_answers(options.yes)
        lock = Lock.acquire(
            self._session,
            self._stack,
            "deploy",
            self._operator.tell,
            command=options.command,
            take_over=options.take_over,
            wait=options.yes if options.wait is None else options.wait,
        )
        self._lock = self._exits.enter_context(lock)
        return True

    def _changes(self, found: Found) -> bool:
        """Whether something of the environment is to be changed, not only previewed."""
        if self._planning.is_up_to_date(found):
            return self._protection(found).is_lacking(found.live)
        return self._options.execute

    def _import(self, found: Found) -> bool:
        """Take what exists into the stack, after a question; return whether there was any."""
        planned, options = found.planned, self._options
        assert planned is not None
        existing, missing = importing.find_missing(self._session, planned, found.deployed)
        if not missing:
            return False
        if not options.execute:
            raise UsageError(
                f"stack {self._stack.name}: an import of what was kept is not done, and an update "
                "follows it, while --no-execute leaves one change set; leave it out"
            )
        release = self._upload(planned)
        request = importing.request(
            *(self._session, release, existing, missing),
            *(options.role_arn, options.notification_arns),
        )
        with change_sets.created(
            self._stack, found.state, request, self._operator.tell
        ) as change_set:
            if change_set is None:
                return False
            self._operator.tell(
                import_preview(self._session, self._stack, change_set, planned.template)
            )
            question = f"Import {counted(len(missing), 'resource')} into {self._stack.name}?"
            self._operator.confirm(question, options.yes)
            token = token_of(self._session.principal())
            events = change_sets.execute(self._stack, change_set, token)
        self._execution.follow(events, found.resolved.config)
        return True

    def _deploy(self, found: Found) -> Result:
        live, planned = found.live, found.planned
        assert planned is not None
        if not planned.bucket:  # it may be made, before there is a preview that says where
            account, region = self._session.account(), self._session.region
            self._operator.tell(Target(self._stack.name, account, region))
        release = self._upload(planned)
        if found.state is not None:
            clearing.delete_failed(self._stack, found.state)
        request = completing.request(release, self._options)
        with change_sets.created(
            self._stack, found.state, request, self._operator.tell
        ) as change_set:
            if change_set is None:
                return self._unchanged(found)
            agree(
                *(self._session, self._stack, self._operator, self._options),
                *(change_set, found, release.plan.template),
                allow=self._planning.allow,
                unasked=returning(found.record, found.resolved),
            )
            if not self._options.execute:
                self._operator.tell(Caution(self._kept(change_set.name, found)))
                return Result(self._stack.name, live.status if live else REVIEW, changed=False)
            events = self._begin(change_set, found, live)
        return self._end(change_set, events, found, release)

    def _upload(self, planned: Plan) -> Release:
        tell, sleep = self._operator.tell, self._stack.sleep
        return upload(self._session, planned, self._checked, tell, sleep)

    def _kept(self, change_set: str, found: Found) -> str:
        # The one setting that no change set holds.
        on = found.resolved.config.termination_protection
        protection = f"--{'' if on else 'no-'}termination-protection"
        return (
            f"change set {change_set} is kept; "
            f"`{self._stack.command(f'deploy --change-set {change_set} {protection}')}` executes it"
        )

    def _execute_later(self, found: Found, name: str) -> Result:
        if found.state is None:
            raise AwsError(f"there is no stack {self._stack.name}, and so no change set of it")
        change_set = change_sets.find(self._stack, found.state, name)
        template = self._stack.template(change_set.id)
        found = self._planning.left(found, template)
        agree(
            *(self._session, self._stack, self._operator, self._options),
            *(change_set, found, template),
            allow=self._planning.allow,
        )
        return self._end(change_set, self._begin(change_set, found, found.state), found)

    def _unchanged(self, found: Found) -> Result:
        live = found.live
        if live is None:
            raise AwsError(f"stack {self._stack.name} would have no resources")
        environment = self._environment(live)
        if lost := find_lost_table(environment, self._operator.tell):
            raise AwsError(lost)
        check_live(environment)
        tell_stopped(environment, self._operator.tell)
        self._protection(found).put_on(live.id, live)
        self._operator.tell(Outputs(environment.outputs))
        return Result(self._stack.name, live.status, changed=False)

    def _begin(self, change_set: ChangeSet, found: Found, state: StackState | None) -> Events:
        """Start the execution; protection and policy come first, where there is what to lose."""
        self._protection(found).put_on(change_set.stack_id, state)
        if state is not None and any(change.loses_data for change in change_set.changes):
            assert self._lock is not None
            table, tell, detach = self._lock.table, self._operator.tell, self._options.detach
            lifted = lifted_policy(table, self._stack, state.id, tell, detach=detach)
            self._exits.enter_context(lifted)
        return self._execution.begin(change_set)

    def _end(
        self, change_set: ChangeSet, events: Events, found: Found, release: Release | None = None
    ) -> Result:
        """Show the operation to its end, and what has to come after it.

        release is what the change set deploys, None if an earlier run has left it.
        """
        name, config = self._stack.name, found.resolved.config
        if self._options.detach:
            # From now on, a look for the stack's operation has to find it.
            next((event for event in events if isinstance(event, StackEvent)), None)
            if self._lock is not None:
                self._lock.hand_over(change_set.stack_id)
            status = "CREATE_IN_PROGRESS" if change_set.creates else "UPDATE_IN_PROGRESS"
            if change_set.creates and config.deletion_protection:
                self._operator.tell(Caution(UNPROTECTED.format(self._stack.command("deploy"))))
            return Result(name, status, changed=True)
        self._execution.follow(events, config)
        state = self._stack.state_for_sure()
        if state is None or state.id != change_set.stack_id:
            raise AwsError(
                f"stack {name}: somebody else has deleted it after this deployment; repeat the "
                "command to make it anew"
            )
        changes = change_set.changes
        request = completing.second(change_set, state, release, self._options)
        if request is not None:
            execution = self._execution
            state, more = completing.complete(self._stack, state, request, execution, config)
            changes += more
        if change_set.creates:
            self._protection(found).put_on(state.id, state)
        environment = self._environment(state)
        self._operator.tell(Outputs(environment.outputs))
        check_live(environment)
        prune(environment, changes, self._operator.tell)
        return Result(name, state.status, changed=True)

    def _protection(self, found: Found) -> Protection:
        return Protection.wanted(self._stack, found, self._options)

    def _environment(self, state: StackState) -> Environment:
        return Environment(self._session, self._stack, state)
