"""An operator for tests: notes what it is told and asked, and answers as it is set to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from payment_infra.errors import Declined, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from payment_infra.cloud.events import Event

Kind = TypeVar("Kind")


@dataclass
class FakeOperator:
    """`answer` is what it says to a question: yes, no, or None for nobody at the terminal."""

    answer: bool | None = None
    told: list[Event] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    on_tell: Callable[[Event], None] = lambda _: None

    def tell(self, event: Event) -> None:
        """Take note of the event."""
        self.told.append(event)
        self.on_tell(event)

    def check_answers(self, agreed: bool) -> None:
        """Refuse as `confirm` would, where nobody can answer."""
        if not agreed and self.answer is None:
            raise UsageError("nobody to ask; add --yes")

    def confirm(self, question: str, agreed: bool, flag: str = "--yes") -> None:
        """Answer, unless it has been agreed to."""
        if agreed:
            return
        self.asked.append(question)
        if self.answer is None:
            raise UsageError(f"nobody to ask; add {flag}")
        if not self.answer:
            raise Declined("declined")

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of one kind."""
        return [one for one in self.told if isinstance(one, kind)]
