"""A deployment, step by step: settle the stack, lock, upload, preview, ask, execute, follow.

Nothing of the stack is changed before its preview was shown and agreed to. What happens is told to
an `Operator`, who also answers the questions. The lock of the environment is taken once there is
something to change, and what was read before is read again with it. A stack that is gone is first
made anew of what it has kept, by an import (`importing`).

Two updates have a second one directly after them: a creation, which is then protected, and one that
brings the key, with which what is stored is then encrypted. After an interruption between the two,
the next deployment makes the second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from payment_infra.artifacts import check_handlers, code_keys
from payment_infra.cloud.deploying import importing, preflight
from payment_infra.cloud.deploying.condition import find_lost_table, tell_stopped
from payment_infra.cloud.deploying.consent import (
    check_endpoint,
    check_kept,
    check_simulated,
    continued,
    on_recorded_preset,
    returning,
    still_protected,
)
from payment_infra.cloud.deploying.options import OPEN, DeployOptions
from payment_infra.cloud.deploying.parameters import protection_request
from payment_infra.cloud.deploying.previewing import import_preview, questions, update_preview
from payment_infra.cloud.deploying.pruning import prune
from payment_infra.cloud.deploying.release import (
    before_encryption,
    brings_key,
    encrypting,
    plan,
    upload,
    with_bucket,
)
from payment_infra.cloud.deploying.shifting import tell_fired
from payment_infra.cloud.environment import stack_policy
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.live import check_live
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.environment.ownership import check_environment
from payment_infra.cloud.events import (
    Caution,
    Outputs,
    PropertyChange,
    Result,
    StackEvent,
    Target,
)
from payment_infra.cloud.stacks import change_sets, leftovers
from payment_infra.cloud.stacks.diagnosis import failure
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.following import REVIEW
from payment_infra.cloud.stacks.operator import follow_cancelling, going_on
from payment_infra.cloud.stacks.settling import DELETING, Step, settle, step_of
from payment_infra.cloud.stacks.stack import CANCELLABLE
from payment_infra.config import PRESETS
from payment_infra.errors import AwsError, Interrupted, PaymentInfraError, UsageError
from payment_infra.gateway_check import check_gateway
from payment_infra.names import AT_ONCE, TRAFFIC_SHIFTING, TRANSACTIONS_TABLE_OVERRIDE
from payment_infra.record import Record, authorization_of, read_record
from payment_infra.template import sources
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.deploying.release import Plan, Release
    from payment_infra.cloud.events import Change, Waiting
    from payment_infra.cloud.sdk.session import Session
    from payment_infra.cloud.stacks.change_sets import ChangeSet
    from payment_infra.cloud.stacks.operator import Operator
    from payment_infra.cloud.stacks.stack import Stack, StackState
    from payment_infra.sources import Resolved

CLOSES = (
    "the API is open, and this closes it: from then on it refuses requests without a signature "
    "(SigV4); its callers need the managed policy of the output CallerPolicyArn"
)

UNPROTECTED = (
    "once the stack is created, `{}` has to be repeated: only then is the table protected from "
    "deletion"
)
NOT_ENCRYPTED = (
    "this update brings the key, and a second one encrypts with it what is stored: that {}"
)
FOLLOWS = "follows directly, without a question; if it is interrupted, `{}` makes it"
LEFT = "is made by `{}`, once this one has ended"
NO_CANARY = (
    "--at-once changes nothing: there is no canary (canary_percent is 0), so new code gets all "
    "requests at once anyway"
)
OPENS = "This update lets everybody call the API, without a signature. Go ahead?"


@dataclass(frozen=True)
class Found:
    """What a deployment begins with: the stack, its template, and what is to be deployed.

    planned is None where a change set that was left is to be executed.
    """

    state: StackState | None
    deployed: Mapping[str, Any]
    planned: Plan | None

    @property
    def live(self) -> StackState | None:
        """The stack, once it has more than a name."""
        return None if self.state is None or self.state.status == REVIEW else self.state


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
        self._asked = self._resolved = resolved
        self._record = Record()
        self._options = options
        self._operator = operator
        self._clock = clock
        self._lock: Lock | None = None
        self._gone: importing.Gone | None = None
        self._deleted = Record()  # of the stack that this deployment deletes first
        self._protected = False  # whether that had termination protection
        self._exits = ExitStack()

    def run(self) -> Result:
        """Bring the stack to what the configuration and the handlers are.

        Raises:
            PaymentInfraError: something is not as it must be; the stack was not changed.
            DeploymentFailed: CloudFormation refused, or it failed; says the root cause.
            Declined: the answer to a question was no; the change set is gone.
            Interrupted: Ctrl-C after the execution had begun, which continues.
        """
        check_handlers(self._resolved.config.gateway)
        check_gateway(self._resolved.config)
        self._session.account()
        with self._exits:
            return self._run()

    def _run(self) -> Result:
        found = self._work_out(self._settled())
        if self._options.at_once and not self._resolved.config.canary_percent:
            self._operator.tell(Caution(NO_CANARY))
        if self._changes(found):
            if silence := self._silence():
                self._checked(found)  # what is wrong comes first
                raise silence
            if self._hold():
                # Each update has its time: where the state is the same, nothing was changed since.
                state = self._settled()
                found = found if state == found.state else self._work_out(state)
        if self._options.change_set is not None:
            return self._execute_later(found, self._options.change_set)
        found = self._checked(found)
        if self._imports(found) and self._import(found):
            found = self._checked(self._work_out(self._settled()))
        if self._is_up_to_date(found):
            return self._unchanged(found.live)
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
            check=self._check_state,
            yes=self._options.yes,
            wait=self._options.wait,
            skip=self._options.skip,
            hold=self._hold,
        )

    def _check_state(self, state: StackState) -> None:
        """Make sure that the stack may be touched, and what it was before it is deleted."""
        name = self._stack.name
        check_environment(name, state, self._resolved.config.suffix)
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

    def _check_opening(self, record: Record, resolved: Resolved) -> None:
        """Ask before an environment is made anew whose API is open, and was not."""
        opens = record.values.get("authorization") == "iam"
        if opens and resolved.config.authorization == "none":
            if OPEN not in self._options.allow:
                self._operator.confirm(OPENS, agreed=False, flag=f"--allow {OPEN}")
            # It is asked once.
            self._options = replace(self._options, allow=self._options.allow | {OPEN})

    def _work_out(self, state: StackState | None) -> Found:
        """Work out what is to be deployed to a stack at rest; nothing is changed."""
        options = self._options
        found = Found(state, {}, None)
        live = found.live
        found = replace(found, deployed=self._deployed(live))
        values = self._continue(found)
        if options.change_set is not None:
            return found
        check_kept(self._stack.name, self._record, self._resolved, self._command)
        check_endpoint(self._stack.name, self._record, self._resolved)
        check_simulated(self._stack.name, self._resolved, self._session, self._command)
        if self._imports(found):
            importing.check_gateway_known(
                self._stack.name, self._record, self._resolved, self._session
            )
        if options.at_once and self._resolved.config.canary_percent:
            values = {**values, TRAFFIC_SHIFTING: AT_ONCE}
        planned = plan(self._session, live, self._resolved, values)
        if self._imports(found):
            importing.check_copies(self._session, planned, self._gone)
        if brings_key(found.deployed, planned.template):
            planned = before_encryption(planned)
        return replace(found, planned=planned)

    def _checked(self, found: Found) -> Found:
        """Check what is to be deployed, if anything is; nothing is changed.

        That is done with the lock, or what another deployment makes meanwhile would be in the way.
        """
        live, planned, tell = found.live, found.planned, self._operator.tell
        if planned is None or self._is_up_to_date(found):
            return found
        if live is not None and (lost := find_lost_table(self._environment(live), tell)):
            tell(Caution(lost))
        planned = with_bucket(self._session, planned, self._resolved, tell)
        self._check(planned, live, imports=self._imports(found))
        return replace(found, planned=planned)

    def _continue(self, found: Found) -> Mapping[str, str]:
        """Take over the configuration of the stack, or of one that is gone.

        Returns:
            The parameters whose values are given.
        """
        live, given = found.live, self._options.parameters
        if self._imports(found):
            self._resolved, self._record, given = importing.configuration(
                self._stack, self._find_gone(), self._asked, given
            )
            protected = self._protected or (live is not None and live.termination_protection)
            self._resolved = still_protected(self._resolved, protected=protected)
            if self._options.execute:
                self._check_opening(self._record, self._resolved)
            return given
        if live is None:
            self._record = self._deleted
            resolved = on_recorded_preset(self._asked, self._record)
            self._resolved = still_protected(resolved, protected=self._protected)
            return given
        self._record = read_record(found.deployed)
        self._resolved = continued(self._asked, self._record, live)
        # A change set that was left can continue an import, too.
        if found.deployed and importing.is_incomplete(found.deployed):
            gone = self._find_gone()
            self._record = gone.record if gone else self._record
        return given

    def _find_gone(self) -> importing.Gone | None:
        suffix = self._asked.config.suffix
        self._gone = self._gone or importing.find_gone(self._stack, suffix)
        return self._gone

    def _imports(self, found: Found) -> bool:
        """Whether what exists is to be imported into a stack that has nothing else.

        A stack that an import has made, and no update since, continues that without the flag.
        """
        options, deployed = self._options, found.deployed
        if options.change_set is not None or not importing.is_incomplete(deployed):
            return False
        return options.import_existing or bool(deployed)

    @property
    def _command(self) -> str:
        """The whole command that a refusal repeats."""
        return self._options.command or self._stack.command("deploy")

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
        release = upload(self._session, planned, self._operator.tell)
        request = importing.request(
            *(self._session, release, existing, missing),
            *(options.role_arn, options.notification_arns),
        )
        with change_sets.created(self._stack, found.state, request) as change_set:
            if change_set is None:
                return False
            self._operator.tell(
                import_preview(self._session, self._stack, change_set, planned.template)
            )
            question = f"Import {counted(len(missing), 'resource')} into {self._stack.name}?"
            self._operator.confirm(question, options.yes)
            token = change_sets.token_of(self._session.principal())
            events = change_sets.execute(self._stack, change_set, token)
        self._follow_to_end(events)
        return True

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
        if self._is_up_to_date(found):
            protects = self._protection(found.live) is not None
            return protects or self._policy(found.live) is not None
        return self._options.execute

    def _deploy(self, found: Found) -> Result:
        live, planned = found.live, found.planned
        assert planned is not None
        if not planned.bucket:  # it may be made, before there is a preview that says where
            account, region = self._session.account(), self._session.region
            self._operator.tell(Target(self._stack.name, account, region))
        release = upload(self._session, planned, self._operator.tell)
        if found.state is not None:
            change_sets.delete_failed(self._stack)
        request = self._request(release)
        with change_sets.created(self._stack, found.state, request) as change_set:
            if change_set is None:
                return self._unchanged(live)
            unasked = returning(self._record, self._resolved)
            self._preview(change_set, live, found.deployed, release.plan.template, unasked)
            if not self._options.execute:
                self._operator.tell(Caution(self._kept(change_set.name)))
                return Result(self._stack.name, live.status if live else REVIEW, changed=False)
            events = self._begin(change_set, live)
        return self._end(change_set, events, release)

    def _request(self, release: Release) -> change_sets.Request:
        return change_sets.Request(
            {"TemplateURL": release.bucket.url(release.template.key)},
            release.parameters,
            self._options.role_arn,
            self._options.notification_arns,
        )

    def _deployed(self, live: StackState | None) -> Mapping[str, Any]:
        return {} if live is None else self._stack.template()

    def _kept(self, change_set: str) -> str:
        # The one setting that no change set holds.
        on = self._resolved.config.termination_protection
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
        self._resolved = self._left(found, read_record(template))
        self._preview(change_set, found.state, found.deployed, template)
        return self._end(change_set, self._begin(change_set, found.state))

    def _left(self, found: Found, record: Record) -> Resolved:
        """Return the configuration of a change set that was left, by what its template records.

        A preset that the stack does not have was chosen, with the protection that it gives.
        """
        resolved, has = self._asked, read_record(found.deployed).preset
        if not resolved.preset_chosen and record.preset in PRESETS and record.preset != has:
            resolved = replace(resolved.on(record.preset), preset_chosen=True)
        return resolved if found.live is None else continued(resolved, record, found.live)

    def _is_up_to_date(self, found: Found) -> bool:
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
            and _without_defaults(found.deployed) == _without_defaults(planned.template)
            and options.role_arn in {None, live.role_arn}
            and options.notification_arns in {None, live.notification_arns}
        )

    def _unchanged(self, live: StackState | None) -> Result:
        if live is None:
            raise AwsError(f"stack {self._stack.name} would have no resources")
        environment = self._environment(live)
        if lost := find_lost_table(environment, self._operator.tell):
            raise AwsError(lost)
        check_live(environment)
        tell_stopped(environment, self._operator.tell)
        self._protect(live.id, live)
        self._operator.tell(Outputs(live.outputs))
        return Result(self._stack.name, live.status, changed=False)

    def _environment(self, state: StackState) -> Environment:
        return Environment(self._session, self._stack, state)

    def _check(self, planned: Plan, live: StackState | None, *, imports: bool) -> None:
        """Make the checks, and raise if one failed; meanwhile, render the template."""
        with ThreadPoolExecutor(1) as pool:
            if planned.bucket:  # or the template will name another
                pool.submit(lambda: planned.text)
            checks = preflight.check_all(
                self._session,
                planned,
                creates=live is None,
                restored=live.parameters.get(TRANSACTIONS_TABLE_OVERRIDE, "") if live else "",
                imports=imports,
                command=self._command,
                skip=self._options.skip_checks,
            )
        for check in checks:
            if check.level == "fail" or (check.level == "warn" and self._options.strict):
                raise PaymentInfraError(check.message)
            if check.level == "warn":
                self._operator.tell(Caution(check.message))

    def _preview(
        self,
        change_set: ChangeSet,
        state: StackState | None,
        deployed: Mapping[str, Any],
        new: Mapping[str, Any],
        unasked: tuple[PropertyChange, ...] = (),
    ) -> None:
        """Show what the change set would do, and return only if that is agreed to."""
        preview = update_preview(
            *(self._session, self._stack, change_set, deployed, new), unasked=unasked
        )
        self._operator.tell(preview)
        was, becomes = authorization_of(deployed), authorization_of(new)
        if (was, becomes) == ("none", "iam"):
            self._operator.tell(Caution(CLOSES))
        if brings_key(deployed, new):
            left = not self._options.execute or self._options.detach or self._options.change_set
            when = (LEFT if left else FOLLOWS).format(self._stack.command("deploy"))
            self._operator.tell(Caution(NOT_ENCRYPTED.format(when)))
        was = was or str(self._record.values.get("authorization", ""))
        options = self._options
        if state is not None and not change_set.creates:
            environment, tell = self._environment(state), self._operator.tell
            tell_stopped(environment, tell, change_set.changes, execute=options.execute)
            tell_fired(environment, change_set, tell, execute=options.execute)
        if not options.execute:
            return
        completes = importing.is_incomplete(deployed)
        needs = questions(preview, (was, becomes), completes=completes)
        asked = [(need, meaning) for need, meaning in needs if need not in options.allow]
        for need, meaning in asked:
            question = f"This update {meaning}. Go ahead?"
            self._operator.confirm(question, agreed=False, flag=f"--allow {need}")
        if not asked:
            verb = "Create" if change_set.creates else "Update"
            question = f"{verb} the stack {self._stack.name} in {self._session.region}?"
            self._operator.confirm(question, options.yes)

    def _begin(
        self, change_set: ChangeSet, live: StackState | None
    ) -> Iterator[StackEvent | Waiting]:
        """Start the execution; protection and policy come first, where there is what to lose."""
        self._protect(change_set.stack_id, live)
        if live is not None and any(change.loses_data for change in change_set.changes):
            self._lift_policy(live)
        return self._execute(change_set)

    def _execute(self, change_set: ChangeSet) -> Iterator[StackEvent | Waiting]:
        token = change_sets.token_of(self._session.principal())
        rollback = self._options.rollback
        try:
            return change_sets.execute(self._stack, change_set, token, rollback=rollback)
        except KeyboardInterrupt as interrupt:
            state = self._stack.state()  # the call may have taken effect
            if step_of(state) is Step.WAIT:
                raise Interrupted(going_on(self._stack)) from interrupt
            raise

    def _protection(self, live: StackState | None) -> bool | None:
        """Return whether termination protection is to be on or off, None if it is to stay."""
        wanted = self._resolved.config.termination_protection
        has = live is not None and live.termination_protection
        return wanted if wanted != has else None

    def _protect(self, stack_id: str, live: StackState | None) -> None:
        if (wanted := self._protection(live)) is not None:
            self._stack.protect(stack_id, on=wanted)
        if live is not None and (policy := self._policy(live)) is not None:
            self._stack.set_policy(stack_id, policy)

    def _policy(self, live: StackState | None) -> str | None:
        """Return the stack policy to set, None if there is none to be, or it is there."""
        if self._options.stack_policy is not None:
            return self._options.stack_policy
        protects = self._resolved.config.replacement_protection
        if live is None or not (protects or self._record.values.get("replacement_protection")):
            return None
        return stack_policy.wanted(self._stack.policy(), protects=protects)

    def _lift_policy(self, live: StackState) -> None:
        """Lift the stack policy for what was agreed to: until the end, or where nobody waits for
        that, until the next command."""
        assert self._lock is not None
        if self._options.detach:
            stack_policy.lift(self._lock.table, self._stack, live.id)
            return
        tell = self._operator.tell
        self._exits.enter_context(stack_policy.lifted(self._lock.table, self._stack, live.id, tell))

    def _second(
        self, first: ChangeSet, state: StackState, release: Release | None
    ) -> change_sets.Request | None:
        """Return what has to come after an update, since its rollback would have been refused, or
        would have lost what is encrypted; None if nothing has to."""
        if first.creates:
            return protection_request(state, self._options.parameters)
        if release is None or release.plan.encrypts:
            return None
        return self._request(encrypting(release))

    def _complete(
        self, state: StackState, request: change_sets.Request
    ) -> tuple[StackState, tuple[Change, ...]]:
        """Make the second update; return what the stack is then, and what has changed."""
        with change_sets.created(self._stack, state, request) as change_set:
            if change_set is None:
                return state, ()
            events = self._execute(change_set)
        try:
            self._follow_to_end(events)
        except DeploymentFailed as failed:
            again = f"`{self._stack.command('deploy')}` makes this second one again"
            told = f"{failed}; the update before stands, and {again}"
            raise DeploymentFailed(told, failed.status, failed.events, failed.diagnosis) from failed
        return self._stack.state_for_sure() or state, change_set.changes

    def _end(
        self,
        change_set: ChangeSet,
        events: Iterator[StackEvent | Waiting],
        release: Release | None = None,
    ) -> Result:
        """Show the operation to its end, and what has to come after it.

        release is what the change set deploys, None if an earlier run has left it.
        """
        name = self._stack.name
        if self._options.detach:
            # From now on, a look for the stack's operation has to find it.
            next((event for event in events if isinstance(event, StackEvent)), None)
            if self._lock is not None:
                self._lock.hand_over(change_set.stack_id)
            status = "CREATE_IN_PROGRESS" if change_set.creates else "UPDATE_IN_PROGRESS"
            if change_set.creates and self._resolved.config.deletion_protection:
                self._operator.tell(Caution(UNPROTECTED.format(self._stack.command("deploy"))))
            return Result(name, status, changed=True)
        self._follow_to_end(events)
        state = self._stack.state_for_sure()
        if state is None:
            raise AwsError(f"stack {name} was deleted by somebody else")
        changes = change_set.changes
        if (request := self._second(change_set, state, release)) is not None:
            state, more = self._complete(state, request)
            changes += more
        if change_set.creates:
            self._protect(state.id, state)
        self._operator.tell(Outputs(state.outputs))
        environment = self._environment(state)
        check_live(environment)
        prune(environment, changes, self._operator.tell)
        return Result(name, state.status, changed=True)

    def _follow_to_end(self, events: Iterator[StackEvent | Waiting]) -> None:
        try:
            self._follow(events)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(going_on(self._stack)) from interrupt
        except DeploymentFailed as failed:
            raise self._explained(failed) from failed

    def _follow(self, events: Iterator[StackEvent | Waiting]) -> None:
        started = self._clock()
        limit = self._options.timeout_seconds
        for event in events:
            self._operator.tell(event)
            if limit is not None and self._clock() - started > limit:
                self._cancel(limit)

    def _cancel(self, limit: float) -> None:
        state = self._stack.state_for_sure()
        if state is not None and state.status in CANCELLABLE:
            self._operator.tell(Caution(f"not done after {limit:.0f} s; cancelling"))
            follow_cancelling(
                self._stack,
                state,
                self._operator,
                partial(leftovers.remove, self._session, self._stack.sleep),
            )
            raise DeploymentFailed(
                f"stack {self._stack.name} was not done after {limit:.0f} s, and was cancelled"
            )

    def _explained(self, failed: DeploymentFailed) -> DeploymentFailed:
        built = sources(self._resolved.config, code_keys())
        name, flags = self._stack.name, self._stack.flags
        explained = failure(name, failed.status, failed.events, built, flags)
        if self._options.rollback or not failed.status:
            return explained if failed.status else failed
        kept = f"what was made is kept, and `{self._stack.command('rollback')}` undoes it"
        return DeploymentFailed(
            f"{explained}; {kept}", failed.status, failed.events, explained.diagnosis
        )


def _without_defaults(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a template without the parameters' defaults, which a stack's values stand for."""
    declared = template.get("Parameters", {})
    bare = {
        name: {key: value for key, value in parameter.items() if key != "Default"}
        for name, parameter in declared.items()
    }
    return {**template, "Parameters": bare}
