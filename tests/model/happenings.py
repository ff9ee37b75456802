"""What happens at the calls of a state machine's rule, as Hypothesis draws it.

Each rule that calls a handler has a plan: what happens at its first calls to AWS and the gateway,
and in which containers its invocations run. A step of a plan lets something else happen meanwhile
(which takes the plan's next steps for its own calls), and then lets the call go wrong, or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from hypothesis import strategies as st

from tests.model.faults import Fault


class Meanwhile(Enum):
    """What happens while a call is on its way."""

    SAME_REQUEST = auto()
    SOMEBODY_ELSES_REQUEST = auto()
    RETRY = auto()
    SCHEDULED_RUN = auto()
    SECONDS_PASS = auto()
    LEASE_ENDS = auto()
    LATE_CALLS_ARRIVE = auto()
    ROW_IS_CHANGED = auto()
    GATEWAY_GOES_ON = auto()
    OWNER_PROCESSES = auto()
    OWNER_CANCELS = auto()
    OWNER_LOOKS_UP = auto()
    GATEWAY_NOTIFIES = auto()


@dataclass(frozen=True)
class Step:
    meanwhile: Meanwhile | None = None
    fault: Fault | None = None


@dataclass(frozen=True)
class Plan:
    """The steps, and for each invocation the number of a container among those that there are."""

    steps: Sequence[Step] = field(default_factory=list)
    containers: Sequence[int] = field(default_factory=list)


quiet = st.just(Step())
faulty = st.builds(Step, fault=st.sampled_from(Fault))
busy = st.builds(
    Step, meanwhile=st.sampled_from(Meanwhile), fault=st.none() | st.sampled_from(Fault)
)
plans = st.builds(
    Plan,
    steps=st.lists(quiet | faulty | busy, max_size=8),
    containers=st.lists(st.integers(0, 5), max_size=4),
)
