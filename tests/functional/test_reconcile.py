"""`reconcile`: rows against the gateway's own list, and what --fix writes."""

from __future__ import annotations

import gc
import json
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.reconciling import passes, spool
from payment_infra.cloud.reconciling.comparison import Difference, Kind, Payment
from payment_infra.cloud.reconciling.spool import BATCH
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.moments import exact
from tests.functional.conftest import refused
from tests.functional.reconciling import MADE, Reconciled, payment, row

if TYPE_CHECKING:
    from tests.aws import FakeAws
    from tests.functional.conftest import Cli

ENVIRONMENT = ("--suffix", "dev")
ASIDE = {"gateway_id": None, "in_flight": "stuck", "lease_expires_at": 1}


@pytest.fixture
def account(aws: FakeAws) -> Reconciled:
    account = Reconciled.made(aws)
    assert isinstance(account, Reconciled)
    account.items = []
    return account


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stack.__init__, "__defaults__", (lambda _: None, ""))
    monkeypatch.setattr(spool, "BUSY_SECONDS", 0.0)


def lines(cli: Cli, *arguments: str, code: int, typed: str | None = None) -> list[dict[str, Any]]:
    """Return the differences, and at last the summary."""
    result = cli("reconcile", *ENVIRONMENT, "--output", "json", *arguments, typed=typed)
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def kinds(told: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(one["kind"], one["transaction_id"]) for one in told[:-1]]


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "state").rglob("*.sqlite3*"))


def test_where_all_agrees_nothing_is_told_and_nothing_left(
    cli: Cli, account: Reconciled, tmp_path: Path
) -> None:
    account.items = [row(1), row(2), row(3, "declined"), row(4, "pending"), row(5, "validated")]
    account.payments = [payment(1), payment(2), payment(3, "canceled"), payment(4, "pending")]
    [summary] = lines(cli, code=0)
    assert summary["differences"] == {}
    assert (summary["payments"], summary["rows"], summary["fixed"]) == (4, 5, None)
    assert (summary["table"], summary["young"], summary["elsewhere"]) == ("TransactionsTable", 0, 0)
    assert [order["cursor"] for order in account.orders] == [None, "2"]
    assert set(account.aws.changes()) == {"lambda:Invoke"}
    assert files(tmp_path) == []


DIFFERENCES = {
    Kind.NOT_SETTLED: ([row(1, "pending")], [payment(1)]),
    Kind.NOT_CAPTURED: ([row(1)], [payment(1, "canceled")]),
    Kind.AMOUNT: ([row(1)], [payment(1, amount=10051, amount_minor=10051)]),
    Kind.TWICE: ([row(1)], [payment(1), payment(1, id="pay_9", reference="ch_9")]),
    Kind.NO_ROW: ([], [payment(1)]),
    Kind.UNDECIDED: ([row(1, "processing", **ASIDE)], []),
}


@pytest.mark.parametrize("kind", Kind)
def test_each_difference_is_told_with_both_sides_and_exit_code_4(
    cli: Cli, account: Reconciled, kind: Kind
) -> None:
    items, payments = DIFFERENCES[kind]
    account.items, account.payments = [row(7), *items], [payment(7), *payments]
    difference, summary = lines(cli, code=4)
    assert (difference["kind"], difference["transaction_id"]) == (kind, "t-1")
    assert (difference["row"] is None) == (kind is Kind.NO_ROW)
    assert (difference["gateway"] is None) == (kind is Kind.UNDECIDED)
    fixes = {Kind.NOT_SETTLED: "settle", Kind.UNDECIDED: "not_charged"}
    assert difference["fix"] == fixes.get(kind)
    assert summary["differences"] == {kind: 1}
    assert account.done("settle") == []


@pytest.mark.parametrize("kind", Kind)
def test_only_what_nobody_has_to_decide_is_fixed_and_only_once(
    cli: Cli, account: Reconciled, kind: Kind
) -> None:
    items, payments = DIFFERENCES[kind]
    account.items, account.payments = [row(7), *items], [payment(7), *payments]
    fixable = kind in {Kind.NOT_SETTLED, Kind.UNDECIDED}
    told = lines(cli, "--fix", "--yes", code=0 if fixable else 4)
    assert len(account.done("settle")) == fixable
    assert (len(told), told[-1]["fixed"]) == (1, 1) if fixable else (2, 0)
    if fixable:
        assert account.status(1) == ("processed" if kind is Kind.NOT_SETTLED else "canceled")
    assert len(lines(cli, "--fix", "--yes", code=0 if fixable else 4)) == len(told)
    assert len(account.done("settle")) == fixable


def test_what_is_settled_is_asked_for_by_its_id_before_it_is_called_not_captured(
    cli: Cli, account: Reconciled
) -> None:
    """It was captured after it was listed, or made before the list begins."""
    account.items = [row(1), row(2), row(3), row(4)]
    account.payments = [payment(1, "open")]
    account.unlisted = [payment(1), payment(2), payment(3, "canceled")]
    account.unlisted[0]["id"] = "pay_1"
    account.before = lambda order: account.payments.clear() if order["do"] == "ask" else None
    told = lines(cli, code=4)
    assert kinds(told) == [("settled_not_captured", "t-3"), ("settled_not_captured", "t-4")]
    assert [one["gateway"] for one in told[:-1]] == [
        {"outcome": "canceled", "id": "pay_3"},
        {"outcome": "none"},
    ]
    assert len(account.done("ask")) == 4


def test_what_the_gateway_has_in_another_amount_is_told_as_that(
    cli: Cli, account: Reconciled
) -> None:
    account.items = [row(1), row(2)]
    about = iter(["amount", "id"])
    account.before = lambda order: (
        {"refused": {"code": "gateway_payment_mismatched", "about": next(about)}}
        if order["do"] == "ask"
        else None
    )
    told = lines(cli, code=4)
    assert [kind for kind, _ in kinds(told)] == ["settled_not_captured", "other_amount"]
    assert told[0]["gateway"]["reason"] == "gateway_payment_mismatched"


def test_a_payment_that_begins_before_the_time_is_found_by_its_row(
    cli: Cli, account: Reconciled
) -> None:
    early = exact(MADE - timedelta(days=60))
    account.items = [row(1, "pending", created_at=early), row(2, created_at=early)]
    account.payments = [payment(1), payment(2)]
    assert kinds(lines(cli, code=4)) == [("captured_not_settled", "t-1")]


def test_refunds_and_what_is_young_or_begun_elsewhere_are_no_differences(
    cli: Cli, account: Reconciled
) -> None:
    young = exact(MADE + timedelta(days=2))
    account.items = [row(1, "pending", updated_at=young), row(2, gateway_account="acct_2")]
    account.payments = [payment(1), payment(3, "canceled")]
    [summary] = lines(cli, code=0)
    assert (summary["young"], summary["elsewhere"]) == (1, 1)


def test_what_was_captured_a_moment_ago_is_looked_at_again_before_it_is_told(
    cli: Cli, account: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer has just paid, and the notification of that is on its way."""
    account.items = [row(1, "pending"), row(2, "pending")]
    account.payments = [payment(1), payment(2)]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        account.items[0] = row(1, updated_at=exact(datetime.now(UTC)))

    monkeypatch.setattr(Stack.__init__, "__defaults__", (sleep, ""))
    assert kinds(lines(cli, code=4)) == [("captured_not_settled", "t-2")]
    assert slept == [passes.NEWS_SECONDS]


def test_captures_for_nobody_are_told_unless_only_ours_are_asked_for(
    cli: Cli, account: Reconciled
) -> None:
    account.payments = [payment(1, transaction_id=None), payment(2, "open", transaction_id=None)]
    told = lines(cli, code=4)
    assert kinds(told) == [("no_row", None)]
    [summary] = lines(cli, "--only-ours", code=0)
    assert summary["not_ours"] == told[-1]["not_ours"] == 1


def test_a_capture_that_a_row_names_is_that_rows_whatever_its_metadata_lacks(
    cli: Cli, account: Reconciled
) -> None:
    """Somebody has taken the transaction out of its metadata, at the gateway."""
    account.items = [row(1)]
    account.payments = [payment(1, transaction_id=None), payment(2, transaction_id=None)]
    account.unlisted = [payment(1)]
    [difference, summary] = lines(cli, code=4)
    assert (difference["kind"], difference["gateway"]["id"]) == ("no_row", "pay_2")
    assert summary["not_ours"] == 1


@pytest.mark.parametrize("flags", [("--since", "1h", "--until", "2h"), ("--since", "60s")])
def test_a_time_that_holds_nothing_is_refused(
    cli: Cli, account: Reconciled, flags: tuple[str, ...]
) -> None:
    told = refused(cli("reconcile", *ENVIRONMENT, *flags), 2)
    assert told.startswith("--since has to be before --until, and before what an attempt takes")
    assert account.orders == []


def test_only_what_was_made_in_the_time_is_compared(cli: Cli, account: Reconciled) -> None:
    account.payments = [payment(1), payment(2)]
    account.payments[0]["created_at"] = exact(MADE - timedelta(hours=2))
    account.payments[1]["created_at"] = exact(MADE + timedelta(hours=2))
    times = ("--since", exact(MADE - timedelta(hours=1)), "--until", exact(MADE))
    assert lines(cli, *times, code=0)[-1]["payments"] == 0
    times = ("--since", exact(MADE - timedelta(hours=3)), "--until", exact(MADE))
    assert kinds(lines(cli, *times, code=4)) == [("no_row", "t-1")]


def test_a_gateway_that_does_not_list_is_one_line(cli: Cli, account: Reconciled) -> None:
    account.before = lambda _: {"refused": {"code": "not_listing", "about": ""}}
    assert refused(cli("reconcile", *ENVIRONMENT), 1) == (
        "the gateway's list: the stack's payment gateway does not list its payments, so none can "
        "be compared with it"
    )


def test_a_release_that_knows_no_list_is_one_line(cli: Cli, account: Reconciled) -> None:
    account.before = lambda _: {"refused": {"code": "not_an_order", "about": "transaction_id"}}
    told = refused(cli("reconcile", *ENVIRONMENT), 1)
    assert told.startswith("the gateway's list: payment-retry is of another release")


class Broken(Exception):
    """The program was killed."""


def break_off(account: Reconciled, at: int) -> None:
    """Let the program be killed at its order or call of this number."""
    calls = iter(range(at))

    def before(*_: Any) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    scan = account.scan

    def scanned(params: dict[str, Any]) -> dict[str, Any]:
        before()
        return scan(params)

    account.before = before
    account.aws.answers["dynamodb:Scan"] = scanned


def whole(account: Reconciled) -> None:
    account.before = lambda _: None
    account.aws.answers["dynamodb:Scan"] = account.scan


@pytest.mark.parametrize("at", range(11))
def test_wherever_it_is_interrupted_the_same_command_goes_on_from_there(
    cli: Cli, account: Reconciled, at: int, tmp_path: Path
) -> None:
    account.page = 3
    account.items = [row(number) for number in range(6)] + [row(6, "pending"), row(7)]
    account.payments = [payment(number) for number in range(7)] + [payment(9)]
    break_off(account, at)
    result = cli("reconcile", *ENVIRONMENT)
    assert result.exit_code == (130 if at < 8 else 4), result.output
    if at < 8:
        assert "interrupted; the same command continues from there" in result.stderr
        assert len(files(tmp_path)) == 1
    whole(account)
    listed = len(account.done("list"))
    told = lines(cli, code=4)
    assert kinds(told) == [
        ("captured_not_settled", "t-6"),
        ("settled_not_captured", "t-7"),
        ("no_row", "t-9"),
    ]
    assert (told[-1]["payments"], told[-1]["rows"]) == (8, 8)
    # What was read is not read again: of four pages of the list, the one that was broken off.
    assert len(account.done("list")) - listed == (4 - min(at, 4) if at < 8 else 4)
    assert files(tmp_path) == []


def test_it_says_since_when_it_goes_on_and_keeps_its_time(cli: Cli, account: Reconciled) -> None:
    account.items, account.payments = [row(1)], [payment(1)]
    break_off(account, 1)
    assert cli("reconcile", *ENVIRONMENT).exit_code == 130
    whole(account)
    result = cli("reconcile", *ENVIRONMENT)
    assert re.search(r"going on with the comparison that was begun at 20\d\d-\d\d-", result.stderr)
    assert len(account.done("list")) == 1
    # Another question is another comparison.
    break_off(account, 1)
    cli("reconcile", *ENVIRONMENT)
    whole(account)
    assert "going on" not in cli("reconcile", *ENVIRONMENT, "--since", "7d").stderr


def test_what_was_read_too_long_ago_is_read_anew(
    cli: Cli, account: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.items, account.payments = [row(1)], [payment(1)]
    break_off(account, 1)
    assert cli("reconcile", *ENVIRONMENT).exit_code == 130
    whole(account)
    monkeypatch.setattr(passes, "MAX_AGE", timedelta(0))
    assert "going on" not in cli("reconcile", *ENVIRONMENT).stderr
    assert len(account.done("list")) == 2


def test_a_gateway_that_changes_meanwhile_ends_it_and_the_next_run_begins_anew(
    cli: Cli, account: Reconciled
) -> None:
    account.payments = [payment(number) for number in range(4)]

    def change(order: dict[str, Any]) -> None:
        account.marks = {**account.marks, "gateway_account": f"acct_{order['cursor']}"}

    account.before = change
    told = refused(cli("reconcile", *ENVIRONMENT), 1)
    assert told == (
        "the payment gateway was changed meanwhile; repeat the command, which begins anew"
    )
    account.before = lambda _: None
    account.payments = []
    assert lines(cli, code=0)[-1]["payments"] == 0


def test_payments_that_move_to_another_table_meanwhile_end_it(
    cli: Cli, account: Reconciled
) -> None:
    stack = account.aws.stacks["payment-infra-dev"]
    scan = account.scan

    def move(params: dict[str, Any]) -> dict[str, Any]:
        stack.outputs = {**stack.outputs, "TransactionsTableName": "another"}
        return scan(params)

    account.aws.answers["dynamodb:Scan"] = move
    assert refused(cli("reconcile", *ENVIRONMENT), 1).startswith(
        "the table of payments was changed"
    )


def test_a_gateway_that_is_away_for_a_moment_ends_nothing(cli: Cli, account: Reconciled) -> None:
    account.payments = [payment(1)]
    away = iter([{"refused": {"code": "gateway_timeout", "about": "Read"}}] * 3)
    account.before = lambda _: next(away, None)
    assert kinds(lines(cli, code=4)) == [("no_row", "t-1")]
    account.before = lambda _: {"refused": {"code": "gateway_timeout", "about": "Read"}}
    told = refused(cli("reconcile", *ENVIRONMENT), 1)
    assert told.startswith("the gateway's list: gateway_timeout (Read); repeat the command")


# --fix


def test_a_person_is_asked_after_the_differences_and_no_is_nothing(
    cli: Cli, account: Reconciled, tmp_path: Path
) -> None:
    account.items = [row(1, "pending"), row(2)]
    account.payments = [payment(1)]
    result = cli("reconcile", *ENVIRONMENT, "--fix", typed="n\n")
    assert result.exit_code == 130
    assert result.stdout.startswith("captured, not settled: 1\n")
    assert "Write what the gateway says into 1 row?" in result.stderr.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert account.done("settle") == []
    assert files(tmp_path) == []
    result = cli("reconcile", *ENVIRONMENT, "--fix", typed="y\n")
    assert (result.exit_code, account.status(1)) == (4, "processed")
    assert result.stderr.endswith("1 row written, 0 refused\n")


def test_a_person_sees_what_is_asked_about_where_documents_go_to_stdout(
    cli: Cli, account: Reconciled
) -> None:
    account.items, account.payments = [row(1, "pending")], [payment(1)]
    result = cli("reconcile", *ENVIRONMENT, "--fix", "--output", "json", typed="y\n")
    assert result.exit_code == 0
    assert result.stderr.startswith("captured, not settled: 1\n")
    assert json.loads(result.stdout)["fixed"] == 1


def test_nobody_to_ask_is_said_before_anything_is_read(cli: Cli, account: Reconciled) -> None:
    line = refused(cli("reconcile", *ENVIRONMENT, "--fix"), 2)
    assert line == "there is no terminal to ask on; add --yes to go ahead"
    assert account.orders == []


def test_row_and_gateway_are_read_again_before_each_fix(cli: Cli, account: Reconciled) -> None:
    """What another has settled meanwhile is no difference; what the gateway says otherwise now is
    not written."""
    account.items = [row(1, "pending"), row(2, "pending"), row(3, "pending")]
    account.payments = [payment(1), payment(2), payment(3)]

    def meanwhile(order: dict[str, Any]) -> None:
        if order["do"] == "ask":
            account.items[0]["status"] = {"S": "processed"}
            account.payments[1]["outcome"] = "pending"

    account.before = meanwhile
    told = lines(cli, "--fix", "--yes", code=4)
    assert kinds(told) == [("captured_not_settled", "t-2")]
    assert told[-1]["fixed"] == 2
    assert [order["transaction_id"] for order in account.done("settle")] == ["t-3"]


def test_what_was_written_since_is_not_called_not_charged(cli: Cli, account: Reconciled) -> None:
    account.items = [row(1, "processing", **ASIDE)]
    get = account.aws.answers["dynamodb:GetItem"]

    def changed(params: dict[str, Any]) -> Any:
        account.items[0]["updated_at"] = {"S": exact(MADE + timedelta(hours=1))}
        return get(params)  # type: ignore[operator]

    account.aws.answers["dynamodb:GetItem"] = changed
    told = lines(cli, "--fix", "--yes", code=4)
    assert (kinds(told), told[-1]["fixed"]) == ([("undecided", "t-1")], 0)
    assert account.done("settle") == []


@pytest.mark.parametrize(("outcome", "written"), [("none", 1), ("open", 0), ("charged", 0)])
def test_what_the_gateway_tells_by_then_counts(
    cli: Cli, account: Reconciled, outcome: str, written: int
) -> None:
    account.items = [row(1, "processing", **ASIDE)]
    gateway = {"outcome": outcome}
    account.before = lambda order: (
        {"status": "processing", "gateway": gateway}
        if order["do"] == "ask"
        else {"status": "canceled"}
        if order["do"] == "settle"
        else None
    )
    told = lines(cli, "--fix", "--yes", code=0 if written else 4)
    assert told[-1]["fixed"] == written
    assert [order["agreed"] for order in account.done("settle")] == [gateway] * written
    assert all("known" not in order for order in account.done("settle"))


def test_a_fix_that_was_killed_is_gone_on_with(cli: Cli, account: Reconciled) -> None:
    account.items = [row(number, "pending") for number in range(3)]
    account.payments = [payment(number) for number in range(3)]

    def killed(order: dict[str, Any]) -> None:
        if order["do"] == "settle" and order["transaction_id"] == "t-1":
            raise KeyboardInterrupt

    account.before = killed
    assert cli("reconcile", *ENVIRONMENT, "--fix", "--yes").exit_code == 130
    assert [account.status(number) for number in range(3)] == ["processed", "pending", "pending"]
    whole(account)
    listed = len(account.done("list"))
    [summary] = lines(cli, "--fix", "--yes", code=0)
    assert [account.status(number) for number in range(3)] == ["processed"] * 3
    assert (summary["fixed"], len(account.done("list"))) == (2, listed)


def test_while_another_operation_has_the_lock_nothing_is_written(
    cli: Cli, account: Reconciled
) -> None:
    account.items, account.payments = [row(1, "pending")], [payment(1)]
    session = account.aws.session()
    stack = Stack(session.client("cloudformation"), "payment-infra-dev", lambda _: None)
    with Lock.acquire(session, stack, "restore", lambda _: None):
        result = cli("reconcile", *ENVIRONMENT, "--fix", "--yes")
        assert lines(cli, code=4)  # to compare takes no lock
    assert result.exit_code == 1
    assert ": restore since " in result.stderr
    assert account.done("settle") == []


def test_while_payments_are_stopped_nothing_is_written(cli: Cli, account: Reconciled) -> None:
    account.items, account.payments = [row(1, "pending")], [payment(1)]
    account.stage["process/POST"] = {"throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}
    result = cli("reconcile", *ENVIRONMENT, "--fix", "--yes")
    assert (result.exit_code, account.done("settle")) == (1, [])
    assert "payments are stopped: process" in result.stderr


# The file.


def test_the_file_is_its_owners_alone_and_holds_no_customer(
    cli: Cli, account: Reconciled, tmp_path: Path
) -> None:
    account.items = [row(1, "pending", customer_id="canary", payment_method="canary")]
    account.payments = [payment(1)]

    def killed(order: dict[str, Any]) -> None:
        if order["do"] == "settle":
            raise KeyboardInterrupt

    account.before = killed
    assert cli("reconcile", *ENVIRONMENT, "--fix", "--yes").exit_code == 130
    [file] = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert b"canary" not in file.read_bytes()


def test_two_at_once_do_not_share_a_file(cli: Cli, account: Reconciled, tmp_path: Path) -> None:
    account.payments = [payment(1)]
    second: list[Any] = []

    def meanwhile(order: dict[str, Any]) -> None:
        account.before = lambda _: None
        second.append(cli("reconcile", *ENVIRONMENT))

    account.before = meanwhile
    assert kinds(lines(cli, code=4)) == [("no_row", "t-1")]
    assert "another reconcile of this environment is at work with it" in refused(second[0], 1)


def test_another_account_with_a_stack_of_the_same_name_is_another_comparison(
    cli: Cli, account: Reconciled
) -> None:
    """Else what was listed of one would be held against the rows of the other."""
    account.payments = [payment(1)]
    break_off(account, 1)
    assert cli("reconcile", *ENVIRONMENT).exit_code == 130
    whole(account)
    account.aws.account = "999999999999"
    account.payments = []
    assert lines(cli, code=0)[-1]["payments"] == 0


def test_a_file_of_another_release_is_begun_anew(
    cli: Cli, account: Reconciled, tmp_path: Path
) -> None:
    account.items, account.payments = [row(1)], [payment(1)]
    break_off(account, 1)
    cli("reconcile", *ENVIRONMENT)
    whole(account)
    [file] = files(tmp_path)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE payments RENAME COLUMN captured TO paid")
        connection.execute("PRAGMA user_version = 1")
    [summary] = lines(cli, code=0)
    assert (summary["payments"], len(account.done("list"))) == (1, 2)


def test_a_file_is_one_of_the_same_release_for_every_process() -> None:
    """Else nothing would be gone on with."""
    program = f"from {spool.__name__} import _FORMAT; print(_FORMAT)"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert int(told.stdout) == spool._FORMAT


def test_a_file_that_is_none_is_told(cli: Cli, account: Reconciled, tmp_path: Path) -> None:
    break_off(account, 0)
    cli("reconcile", *ENVIRONMENT)
    whole(account)
    [file] = files(tmp_path)
    file.write_bytes(b"no database" * 1000)
    told = refused(cli("reconcile", *ENVIRONMENT), 1)
    assert told.startswith(f"{file}: is damaged (")
    assert told.endswith("delete it, then repeat the command")


def test_a_place_that_cannot_be_written_is_told(
    cli: Cli, account: Reconciled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    told = refused(cli("reconcile", *ENVIRONMENT), 1)
    assert told.endswith("name another folder in XDG_STATE_HOME")


def test_what_is_held_does_not_grow_with_the_number_of_payments(
    cli: Cli, account: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is read, compared or told: there are never more than those of a few pages."""
    number, held, told = 20 * BATCH, [], []
    account.items = [row(one, "pending") for one in range(number)]
    account.payments = [payment(one) for one in range(number)]
    account.page = account.size = BATCH

    def look(*_: Any) -> Any:
        held.append(sum(isinstance(one, Payment | Difference) for one in gc.get_objects()))
        return ()

    def tell(difference: Difference) -> Any:
        told.append(difference.transaction_id)
        return () if len(told) % (2 * BATCH) else look()

    account.before = look
    account.aws.answers |= {
        "dynamodb:Scan": lambda params: look() or account.scan(params),
        "dynamodb:BatchGetItem": lambda params: look() or account.batch(params),
    }
    monkeypatch.setattr("payment_infra.cli.views.reconciliation._sides", tell)
    assert cli("reconcile", *ENVIRONMENT).exit_code == 4
    assert len(told) == number
    assert len(held) > 60
    assert max(held) <= 3 * BATCH
