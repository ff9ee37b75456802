"""Letting payments in, whatever has stopped them: a restore half done, a deletion, a person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from payment_infra.cloud.environment.findings import find_idle_functions
from payment_infra.cloud.environment.intake import (
    Intake,
    current,
    functions,
    let_in,
    stopped,
    wanted,
)
from payment_infra.cloud.environment.journal import find_journals
from payment_infra.cloud.environment.live import check_live
from payment_infra.cloud.events import Caution, Report
from payment_infra.cloud.stacks.operator import going_on
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.errors import AwsError, Declined
from payment_infra.moments import shown

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.restoring.work import Work


def resume(work: Work) -> Report:
    """Let payments in as the deployed template says.

    A restore that is continued afterwards stops them again, and looks anew at all that has changed.

    Raises:
        AwsError: the stack is being updated, something has changed since the question, what
            payments would go through does not work on the active table, or they are still stopped.
        Declined: the answer was no; nothing was changed.
    """
    work.operator.check_answers(work.options.yes)
    with work.operation("resume"):
        return _resume(work)


@dataclass(frozen=True)
class Seen:
    """How payments come in now, what of `everything` is stopped, and how they are to."""

    now: Intake
    stopped: list[str]
    wanted: Intake


def _resume(work: Work) -> Report:
    environment, seen = work.environment, _look(work)
    names, intake = seen.stopped, _agreed(work, seen)
    if names:
        work.confirm(f"Let payments in to {environment.table}?", work.options.yes)
    if _look(work) != seen:
        raise AwsError(
            "how payments come in was changed meanwhile, or how they are to; nothing was done, "
            "repeat the command"
        )
    for journal in find_journals(environment, environment.own_table):
        if journal.stops:
            work.operator.tell(
                Caution(
                    f"a restore to {shown(journal.to)} is half done; the command that "
                    "continues it stops payments again"
                )
            )
            work.note(journal, let_in_at=work.clock())

    def let_in_at_rest() -> None:
        at_rest = _at_rest(environment)
        check_live(at_rest)
        let_in(at_rest, intake, work.sleep)

    work.persist(let_in_at_rest)
    if left := work.persist(lambda: stopped(environment)):
        raise AwsError(
            f"payments are still stopped ({', '.join(left)}), as the deployed template or its "
            f"parameters say; `{work.command('deploy')}` with other values changes that"
        )
    if idle := work.persist(lambda: find_idle_functions(environment, functions(environment))):
        told = "; ".join(f"{check.message}; {check.remedy}" for check in idle)
        raise AwsError(f"payments are still stopped: {told}")
    told = f"Payments are let in to {environment.table}." if names else "Payments were not stopped."
    document = {"kind": "resume", "stack": environment.stack.name, "table": environment.table}
    report = Report((told,), {**document, "stopped": names}, final=True)
    work.operator.tell(report)
    return report


def _look(work: Work) -> Seen:
    def look() -> Seen:
        environment = _at_rest(work.environment)
        return Seen(current(environment), stopped(environment), wanted(environment))

    return work.persist(look)


def _at_rest(environment: Environment) -> Environment:
    """Return the environment as it is now, and no change set executes."""
    environment = environment.again()
    if step_of(environment.state) is Step.WAIT:
        raise AwsError(f"payments were not let in: {going_on(environment.stack)}")
    return environment


def _agreed(work: Work, seen: Seen) -> Intake:
    """Return how payments are to come in, where somebody's own throttle is asked about."""
    throttles = dict(seen.wanted.throttles)
    for method in seen.wanted.throttles:
        own = seen.now.throttles[method]
        if method in seen.stopped or own in {"", throttles[method]}:
            continue
        question = (
            f"POST /{method} is throttled to {own} (requests a second / burst), which the template "
            "does not say. Set it as the template does?"
        )
        try:
            work.operator.confirm(question, work.options.yes)
        except Declined:
            throttles[method] = own
    return replace(seen.wanted, throttles=throttles)
