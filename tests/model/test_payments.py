"""The state machine's runs, each with its own containers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.invocations import Container
from tests.model.machine import SETTINGS, ChangedPayments, Payments
from tests.model.release import CURRENT, last_release, one_step_release
from tests.model.two_step_machine import (
    TWO_STEP_SETTINGS,
    ChangedTwoStepPayments,
    TwoStepPayments,
)


class SkewedPayments(ChangedPayments):
    """Each container's clock is off by as much as the handlers allow for."""

    containers: ClassVar[Sequence[Container]] = [
        Container(CURRENT, seconds) for seconds in (0, -60, 60)
    ]


class MixedPayments(Payments):
    """The last release's containers and today's at once; either drains what is left over.

    Rows are not changed by hand here: the last release charges those that were tampered with,
    fails at those that it cannot read, and ignores that one was rewound. It lets any caller have
    any payment, and leaves alone what today's has set aside, without counting it.
    """

    containers: ClassVar[Sequence[Container]] = [Container(CURRENT), Container(last_release())]

    def tamper_with(self, payment: str, name: str) -> None: ...


class DetailedPayments(MixedPayments):
    """The handlers from before there were two steps, while clients send what those do not know."""

    containers: ClassVar[Sequence[Container]] = [Container(CURRENT), Container(one_step_release())]

    def set_up(self) -> None:
        self.world.sends_details = True


def test_no_payment_is_lost_or_charged_twice() -> None:
    run_state_machine_as_test(ChangedPayments, settings=SETTINGS)


def test_clocks_that_are_off_by_a_minute_lose_and_double_nothing() -> None:
    run_state_machine_as_test(SkewedPayments, settings=SETTINGS)


def test_the_last_release_beside_this_one_loses_and_doubles_nothing() -> None:
    run_state_machine_as_test(MixedPayments, settings=SETTINGS)


def test_handlers_that_know_no_details_lose_and_double_nothing() -> None:
    run_state_machine_as_test(DetailedPayments, settings=settings(SETTINGS, max_examples=150))


def test_a_gateway_in_two_steps_loses_and_doubles_nothing() -> None:
    run_state_machine_as_test(TwoStepPayments, settings=TWO_STEP_SETTINGS)


def test_rows_that_are_changed_at_a_gateway_in_two_steps_lose_and_double_nothing() -> None:
    run_state_machine_as_test(ChangedTwoStepPayments, settings=TWO_STEP_SETTINGS)
