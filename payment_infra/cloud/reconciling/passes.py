"""The passes of a comparison: the gateway's list, the table, and what seems to differ once more.

First the whole list is read into the spool, then the rows of the time are held against it, page by
page. What differs, and what is captured without a row among these, is then read anew, one payment
after the other, and only that is told. A row is there before its payment is, so what has none once
the table was read after the list, has none.

Each page is kept with the place after it, so a run that was broken off goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from payment_infra.cloud.events import Report, Waiting
from payment_infra.cloud.operating.by_hand import Refused, give, give_list
from payment_infra.cloud.operating.transactions import find_all, plain, projection
from payment_infra.cloud.reconciling.comparison import (
    ATTRIBUTES,
    CHARGED,
    CLOCKS,
    Difference,
    Kind,
    Payment,
    Terms,
    compare,
)
from payment_infra.cloud.sdk.errors import translated
from payment_infra.cloud.sdk.polling import persistently
from payment_infra.errors import AwsError
from payment_infra.moments import exact, iso, shown
from payment_infra.wording import counted

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from payment_infra.cloud.events import Tell
    from payment_infra.cloud.operating.transactions import Row
    from payment_infra.cloud.reconciling.spool import Spool

# A cursor is of use for days; what was read so long ago is no news, and is read anew.
MAX_AGE = timedelta(days=1)
# Between the tries of a page that the gateway could not give.
PAUSES_SECONDS = (1.0, 5.0, 15.0)
# The function's words for what may pass.
PASSING = frozenset(
    {"gateway_unavailable", "gateway_timeout", "no_time_left", "store_unavailable", "unforeseen"}
)

# What a pending payment has come to is on its way then: a notification takes seconds.
NEWS_SECONDS = 5.0

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Asked:
    """What is compared: what was made from `since` until before `until`, both whole seconds.

    only_ours leaves out what the gateway has captured for nobody that we know.
    """

    since: datetime
    until: datetime
    only_ours: bool = False


@dataclass(frozen=True)
class Summary:
    """How much was compared: payments of the gateway's list, rows of the table, those left out
    since they are young, those begun elsewhere, and what was captured for nobody that we know.

    since and until are those of the run that has begun.
    """

    since: datetime
    until: datetime
    table: str
    payments: int = 0
    rows: int = 0
    young: int = 0
    elsewhere: int = 0
    not_ours: int = 0


class Comparison:
    """A comparison, from where its spool says that it is."""

    def __init__(
        self, environment: Environment, spool: Spool, asked: Asked, tell: Tell, clock: Clock
    ) -> None:
        """Begin, or go on with what was begun in that spool: then the earlier moments count."""
        self._environment, self._spool, self._tell, self._clock = environment, spool, tell, clock
        self._client, self._table = environment.client("dynamodb"), environment.table
        facts = spool.facts()
        if not self._goes_on(facts):
            begun = {"since": iso(asked.since), "until": iso(asked.until), "begun": iso(clock())}
            facts = {**begun, "table": self._table, "phase": "list", "only_ours": asked.only_ours}
            with spool.step():
                spool.clear()
                spool.note(**facts)
        elif facts["phase"] != "list" or facts.get("listed"):
            line = (
                f"going on with the comparison that was begun at {shown(_moment(facts, 'begun'))}"
            )
            tell(Report((line,), {"kind": "going_on", "begun": facts["begun"]}))
        self._facts = facts

    def run(self) -> Summary:
        """Compare everything; the differences are in the spool then.

        Raises:
            AwsError: something cannot be read, or the gateway or the table have changed meanwhile.
            PaymentInfraError: the gateway does not list, or does not answer. What was read stays.
        """
        if self._facts["phase"] == "list":
            self._list()
        if self._facts["phase"] == "table":
            self._read_table()
        if self._facts["phase"] == "told":
            with self._spool.step():
                self._spool.look_again()
                self._note(phase="look", young_again=0)
        self._look()
        self._check_same()
        facts = self._facts
        numbers = {
            name: facts.get(name, 0) for name in ("payments", "rows", "elsewhere", "not_ours")
        }
        young = facts.get("young", 0) + facts.get("young_again", 0)
        since, until = _moment(facts, "since"), _moment(facts, "until")
        return Summary(since, until, self._table, young=young, **numbers)

    def _goes_on(self, facts: Mapping[str, Any]) -> bool:
        """Whether an earlier run was of the same table, and not too long ago."""
        if facts.get("table") != self._table:
            return False
        return timedelta() <= self._clock() - _moment(facts, "begun") <= MAX_AGE

    def _list(self) -> None:
        """Read the whole list of the gateway."""
        while True:
            page = self._patiently(self._page)
            marks = page["marks"]
            if self._facts.get("marks", marks) != marks:
                raise self._changed("the payment gateway")
            payments = [Payment.of(told) for told in page["payments"]]
            number = self._facts.get("payments", 0) + len(payments)
            with self._spool.step():
                self._spool.add_payments(payments)
                self._note(cursor=page["cursor"], marks=marks, payments=number, listed=True)
                if page["cursor"] is None:
                    self._note(phase="table")
            self._progress(f"{counted(number, 'payment')} of the gateway's list")
            if page["cursor"] is None:
                return

    def _page(self) -> dict[str, Any]:
        since, until = _moment(self._facts, "since"), _moment(self._facts, "until")
        return give_list(self._environment, since - CLOCKS, until, self._facts.get("cursor"))

    def _read_table(self) -> None:
        """Hold every row of the time against the list."""
        for rows, key in self._pages():
            terms, seen, candidates = self._terms(), [], []
            left_out = {"young": 0, "elsewhere": 0}
            for row in rows:
                transaction_id = str(row["transaction_id"])
                payments = self._spool.payments_of(transaction_id)
                compared = compare(transaction_id, row, payments, terms)
                seen += [transaction_id] if payments else []
                candidates += [transaction_id] if compared.differences else []
                if compared.left_out:
                    left_out[compared.left_out] += 1
            numbers = {"rows": len(rows), **left_out}
            with self._spool.step():
                self._spool.mark_seen(seen)
                self._spool.add_candidates(candidates)
                self._note(
                    **{name: self._facts.get(name, 0) + new for name, new in numbers.items()},
                    key=key,
                )
                if key is None:
                    self._spool.add_unseen()
                    self._note(phase="look")
            self._progress(f"{counted(self._facts['rows'], 'row')} compared with it")

    def _pages(self) -> Iterator[tuple[Sequence[Row], Any]]:
        """Yield the rows that were made in the time, by pages of the table, and the key after
        each, None after the last."""
        since, until = _moment(self._facts, "since"), _moment(self._facts, "until")
        key = self._facts.get("key")
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "FilterExpression": (
                "attribute_not_exists(#created_at)"
                " OR (#created_at >= :since AND #created_at < :until)"
            ),
            "ExpressionAttributeValues": {
                ":since": {"S": exact(since)},
                ":until": {"S": exact(until)},
            },
            **projection(ATTRIBUTES),
        }
        while True:
            if key is not None:
                request["ExclusiveStartKey"] = key
            answer = self._persistently(partial(self._client.scan, **request))
            key = answer.get("LastEvaluatedKey") or None
            yield [plain(item) for item in answer["Items"]], key
            if key is None:
                return

    def _look(self) -> None:
        """Read anew what seems to differ, and keep what does."""
        waited = False
        while batch := self._spool.candidates():
            found = self._persistently(partial(self._rows, batch))
            rows = {row["transaction_id"]: row for row in found}
            terms = self._terms()
            compared = [
                compare(each, rows.get(each), self._spool.payments_of(each), terms)
                for each in batch
            ]
            told = [difference for each in compared for difference in each.differences]
            if not waited and any(map(_may_be_news, told)):
                self._progress("looking once more at what may have been captured just now")
                self._environment.stack.sleep(NEWS_SECONDS)
                waited = True
                continue
            young = sum(each.left_out == "young" for each in compared)
            differences = list(filter(None, map(self._certain, told)))
            with self._spool.step():
                self._spool.add_differences(differences)
                self._spool.looked_at(batch)
                self._note(young_again=self._facts.get("young_again", 0) + young)
            self._progress("looking once more at what differs")
        with self._spool.step():
            not_ours = 0
            for payment in self._spool.payments_of_nobody():
                not_ours += 1
                if not self._facts["only_ours"]:
                    of_nobody = compare(None, None, [payment], self._terms())
                    self._spool.add_differences(of_nobody.differences)
            self._note(phase="told", not_ours=not_ours)

    def _rows(self, transaction_ids: Sequence[str]) -> list[Row]:
        return list(find_all(self._client, self._table, transaction_ids, ATTRIBUTES))

    def _certain(self, difference: Difference) -> Difference | None:
        """Ask the gateway itself for what is settled and was not listed as captured; return what
        it still differs in."""
        if difference.kind is not Kind.NOT_CAPTURED:
            return difference
        transaction_id = str(difference.transaction_id)
        try:
            told = self._patiently(lambda: give(self._environment, "ask", transaction_id))[
                "gateway"
            ]
        except Refused as refused:
            if refused.code == "not_found":
                return None
            if (refused.code, refused.about) in {
                ("gateway_payment_mismatched", "amount"),
                ("gateway_payment_mismatched", "currency"),
            }:
                return replace(difference, kind=Kind.AMOUNT)
            told = {"outcome": "unknown", "reason": refused.code, "about": refused.about}
            if refused.code == "no_such_payment":
                told = {"outcome": "none"}
        if told.get("outcome") == CHARGED:
            # Somebody may have taken the transaction out of what the gateway keeps with it.
            self._spool.claim_for(transaction_id, str(told.get("id")))
            return None
        return replace(difference, gateway={**(difference.gateway or {}), **told})

    def _check_same(self) -> None:
        """Make sure that payments are where they were when the comparison was begun."""
        now = self._persistently(self._environment.again)
        if now.table != self._table:
            raise self._changed("the table of payments")

    def _changed(self, what: str) -> AwsError:
        with self._spool.step():
            self._spool.clear()
        return AwsError(f"{what} was changed meanwhile; repeat the command, which begins anew")

    def _terms(self) -> Terms:
        since, until = _moment(self._facts, "since"), _moment(self._facts, "until")
        return Terms(self._facts["marks"], since, until, self._clock())

    def _note(self, **facts: Any) -> None:
        self._facts |= facts
        self._spool.note(**facts)

    def _progress(self, what: str) -> None:
        self._tell(Waiting(what))

    def _persistently(self, call: Callable[[], Any]) -> Any:
        def translating() -> Any:
            with translated(f"table {self._table}"):
                return call()

        return persistently(translating, self._environment.stack.sleep, self._tell)

    def _patiently(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what an order comes to; give it again if what was refused may pass."""
        sleep = self._environment.stack.sleep
        for pause in PAUSES_SECONDS:
            try:
                return persistently(call, sleep, self._tell)
            except Refused as refused:
                if refused.code not in PASSING:
                    raise
                self._progress(f"{refused.code}, trying again")
            sleep(pause)
        return persistently(call, sleep, self._tell)


def _may_be_news(difference: Difference) -> bool:
    """Whether a customer, or a bank, may have paid a moment ago."""
    status = (difference.row or {}).get("status")
    return difference.kind is Kind.NOT_SETTLED and status == "pending"


def _moment(facts: Mapping[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(facts[name])
