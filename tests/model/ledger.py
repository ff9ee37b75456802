"""What became of each row: who wrote it, for whom, and what it was before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from handlers.shared.clock import epoch_seconds
from handlers.shared.states import CANCELED, PENDING, PROCESSING, SETTLED, VALIDATED
from tests.expressions import Item, plain
from tests.model.principals import ANONYMOUS, Access, may_have

if TYPE_CHECKING:
    from tests.model.invocations import Invocation

CONTRADICTION = "contradicting_reference"
# Which status may follow another, as docs/architecture.md has it.
NEXT: Mapping[str, frozenset[str]] = {
    VALIDATED: frozenset({PROCESSING, CANCELED}),
    PROCESSING: frozenset({PENDING, *SETTLED}),
    PENDING: SETTLED,
    **dict.fromkeys(SETTLED, frozenset()),
}


class Ledger:
    """Takes down every write of the handlers, and which rows a person has changed."""

    def __init__(self, now: Callable[[], datetime], access: Access) -> None:
        # By payment: the row that the handlers first wrote, its owner, every state that it was in.
        self.originals: dict[str, Item] = {}
        self.owners: dict[str, str] = {}
        self.history: dict[str, list[Item]] = defaultdict(list)
        self.writes: Counter[str] = Counter()
        # How often a row became processed, declined, and canceled.
        self.ended: Counter[str] = Counter()
        # The keys of the index under which a payment that a person has changed may be set aside.
        self.flawed: dict[str, set[str]] = defaultdict(set)
        # Good payments that were taken out of the index.
        self.lost: set[str] = set()
        # Payments that a person has ended, whatever the gateway says.
        self.ended_by_hand: set[str] = set()
        # Payments that a restore has taken back.
        self.rewound: set[str] = set()
        # The attempts that have claimed a flawed row; none of them may charge.
        self.flawed_claims: set[str] = set()
        # Payments whose row was written after they were settled, or that went to a status that does
        # not follow the one before; whose row was written by another than the holder of the
        # live lease, and for somebody who may not have them; and rows with another's name on them.
        self.rewritten: list[str] = []
        self.out_of_turn: list[str] = []
        self.overruled: list[str] = []
        self.moved_for_others: list[str] = []
        self.misattributed: list[str] = []
        self._now = now
        self._access: Access = access

    def is_changed(self, transaction_id: str) -> bool:
        """Whether a person, or a restore, has changed what a row says of its payment."""
        return (
            bool(self.flawed.get(transaction_id))
            or transaction_id in self.rewound
            or transaction_id in self.ended_by_hand
        )

    def is_open_to(self, transaction_id: str, asker: str) -> bool:
        """Whether somebody may have a payment, or there is none whose owner is known."""
        owner = self.owners.get(transaction_id, ANONYMOUS)
        return may_have(owner, asker, self._access)

    def wrote(
        self,
        transaction_id: str,
        old: Item | None,
        new: Item,
        attempt: str | None,
        invocation: Invocation,
        *,
        as_read: bool = False,
    ) -> None:
        """Take down one write; `attempt` is the one that made it, where it says so, and `as_read`
        whether it holds for whoever has the lease: the gateway has said so of its payment."""
        self.writes[transaction_id] += 1
        self.history[transaction_id].append(new)
        askers = invocation.asked_by("process" if old else "validate", transaction_id)
        if old is None:
            self.originals[transaction_id] = new
            self.owners[transaction_id] = str(next(iter(askers)))
            if plain(new.get("caller", {})) != self.owners[transaction_id]:
                self.misattributed.append(transaction_id)
            return
        owner = self.owners[transaction_id]
        if not any(may_have(owner, asker, self._access) for asker in askers):
            self.moved_for_others.append(transaction_id)
        was, status = _status(old), _status(new)
        if status != was and status not in NEXT.get(str(was), frozenset()):
            self.out_of_turn.append(transaction_id)
        if was in SETTLED:
            noted = {CONTRADICTION, "updated_at"} if CONTRADICTION in new else set()
            if _without(noted, old) != _without(noted, new):
                self.rewritten.append(transaction_id)
        elif status and status in SETTLED:
            self.ended[status] += 1
        lease_end = plain(old["lease_expires_at"]) if "lease_expires_at" in old else None
        alive = isinstance(lease_end, int) and lease_end >= epoch_seconds(self._now())
        held = alive and was == PROCESSING and not as_read
        by_its_holder = attempt == plain(old.get("attempt_id", {}))
        # What the index has lost may be put back while its holder works: its lease is as it was.
        is_put_back = transaction_id in self.lost and _without({"in_flight"}, old) == _without(
            {"in_flight"}, new
        )
        if held and not by_its_holder and not is_put_back:
            self.overruled.append(transaction_id)
        flawed = bool(self.flawed.get(transaction_id))
        if attempt and flawed and status == PROCESSING and not by_its_holder:
            self.flawed_claims.add(attempt)


def _status(row: Item) -> str | None:
    return row.get("status", {}).get("S")


def _without(names: set[str], row: Item) -> Item:
    return {name: value for name, value in row.items() if name not in names}
