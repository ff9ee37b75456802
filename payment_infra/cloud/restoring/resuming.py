"""Letting payments in, whatever has stopped them: a restore half done, a deletion, a person."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from payment_infra.cloud.environment.intake import METHODS, current, let_in, stopped, wanted
from payment_infra.cloud.environment.journal import find_journals
from payment_infra.cloud.events import Caution, Report
from payment_infra.cloud.stacks.operator import going_on
from payment_infra.cloud.stacks.settling import Step, step_of
from payment_infra.errors import AwsError, Declined
from payment_infra.moments import shown

if TYPE_CHECKING:
    from payment_infra.cloud.environment.intake import Intake
    from payment_infra.cloud.restoring.work import Work


def resume(work: Work) -> Report:
    """Let payments in as the deployed template says.

    A restore that is continued afterwards stops them again, and looks anew at all that has changed.

    Raises:
        AwsError: the stack is being updated, or payments are still stopped.
        Declined: the answer was no; nothing was changed.
    """
    work.operator.check_answers(work.options.yes)
    with work.operation("resume"):
        return _resume(work)


def _resume(work: Work) -> Report:
    environment = work.environment
    if step_of(environment.state) is Step.WAIT:
        raise AwsError(f"nothing was done: {going_on(environment.stack)}")
    names = work.persist(lambda: stopped(environment))
    intake = _agreed(work, wanted(environment), work.persist(lambda: current(environment)), names)
    if names:
        work.confirm(f"Let payments in to {environment.table}?", work.options.yes)
    for journal in find_journals(environment, environment.own_table):
        if journal.stops:
            work.operator.tell(
                Caution(
                    f"a restore to {shown(journal.to)} is half done; the command that "
                    "continues it stops payments again"
                )
            )
            work.note(journal, let_in_at=work.clock())
    work.persist(lambda: let_in(environment, intake, work.sleep))
    if left := work.persist(lambda: stopped(environment)):
        raise AwsError(
            f"payments are still stopped ({', '.join(left)}), as the deployed template or its "
            f"parameters say; `{work.command('deploy')}` with other values changes that"
        )
    told = f"Payments are let in to {environment.table}." if names else "Payments were not stopped."
    document = {"kind": "resume", "stack": environment.stack.name, "table": environment.table}
    report = Report((told,), {**document, "stopped": names}, final=True)
    work.operator.tell(report)
    return report


def _agreed(work: Work, intake: Intake, now: Intake, stopped_ones: list[str]) -> Intake:
    """Return how payments are to come in, where somebody's own throttle is asked about."""
    throttles = dict(intake.throttles)
    for method in METHODS:
        own = now.throttles[method]
        if method in stopped_ones or own in {"", throttles[method]}:
            continue
        question = (
            f"POST /{method} is throttled to {own} (requests a second / burst), which the template "
            "does not say. Set it as the template does?"
        )
        try:
            work.operator.confirm(question, work.options.yes)
        except Declined:
            throttles[method] = own
    return replace(intake, throttles=throttles)
