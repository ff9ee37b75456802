"""The commands about one payment, and the list of payments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra import names
from payment_infra.cloud.environment.locking import Lock
from payment_infra.cloud.stacks.stack import Stack
from tests.aws import FakeAws, Refused
from tests.functional.conftest import refused
from tests.functional.payments import (
    CHARGED,
    ID,
    SECRETS,
    Account,
    asked,
    at,
    item,
    line,
    no,
    obstacle,
)

if TYPE_CHECKING:
    from tests.functional.conftest import Cli

ENVIRONMENT = ("--suffix", "dev")


@pytest.fixture
def account(aws: FakeAws) -> Account:
    return Account.made(aws)


# settle


@pytest.mark.parametrize(
    ("gateway", "question", "status"),
    [
        (CHARGED, "has charged payment ID (ch_1). Write that it is processed?", "processed"),
        (
            {"outcome": "declined", "reason": "stolen_card", "id": "pay_1"},
            "has declined payment ID (stolen_card). "
            "Cancel it there, and write that it is declined?",
            "declined",
        ),
        (
            {"outcome": "declined", "reason": "stolen_card"},
            "has declined payment ID (stolen_card). Write that it is declined?",
            "declined",
        ),
        (
            {"outcome": "canceled", "id": "pay_1"},
            "has canceled payment ID. Write that it is canceled?",
            "canceled",
        ),
        (
            {"outcome": "canceled", "reason": "expired_card", "id": "pay_1"},
            "has declined payment ID (expired_card), and canceled it. Write that it is declined?",
            "declined",
        ),
        (
            {"outcome": "none"},
            "has charged nothing for payment ID. Write that it is canceled?",
            "canceled",
        ),
    ],
)
def test_what_the_gateway_says_is_asked_about_and_then_ordered(
    cli: Cli, account: Account, gateway: dict[str, Any], question: str, status: str
) -> None:
    account.told = [asked(gateway), {"transaction_id": ID, "status": status}]
    result = cli("payment", "settle", *ENVIRONMENT, ID, typed="y\n")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stderr.replace("\N{NO-BREAK SPACE}", " ").split())
    assert f"The gateway {question.replace('ID', ID)} [y/N]" in text
    assert text.endswith(f"payment {ID}: {status}")
    assert account.orders == [
        {"do": "ask", "transaction_id": ID},
        {"do": "settle", "transaction_id": ID, "agreed": gateway},
    ]


def test_nothing_is_ordered_if_somebody_says_no(cli: Cli, account: Account) -> None:
    account.told = [asked()]
    result = cli("payment", "settle", *ENVIRONMENT, ID, typed="n\n")
    assert result.exit_code == 130
    assert [order["do"] for order in account.orders] == ["ask"]


@pytest.mark.parametrize("command", ["settle", "cancel"])
def test_nobody_is_asked_without_a_terminal_and_nothing_is_done(
    cli: Cli, account: Account, command: str
) -> None:
    line = refused(cli("payment", command, *ENVIRONMENT, ID), 2)
    assert line == "there is no terminal to ask on; add --yes to go ahead"
    assert account.orders == []
    assert account.aws.changes() == []


@pytest.mark.parametrize("command", ["settle", "cancel"])
def test_while_another_operation_has_the_lock_nothing_is_asked(
    cli: Cli, account: Account, command: str
) -> None:
    session = account.aws.session()
    stack = Stack(session.client("cloudformation"), "payment-infra-dev", lambda _: None)
    with Lock.acquire(session, stack, "restore", lambda _: None):
        line = refused(cli("payment", command, *ENVIRONMENT, ID, "--yes"), 1)
    assert "process" in line
    assert ": restore since " in line
    assert f"`payment-infra payment {command} --suffix dev {ID} --yes --take-over 1`" in line
    assert account.orders == []


@pytest.mark.parametrize("command", ["settle", "cancel"])
def test_while_payments_are_stopped_nothing_is_asked(
    cli: Cli, account: Account, command: str
) -> None:
    account.stage["process/POST"] = {"throttlingRateLimit": 0.0, "throttlingBurstLimit": 0}
    line = refused(cli("payment", command, *ENVIRONMENT, ID, "--yes"), 1)
    assert line == (
        "payments are stopped: process, as while they are restored; `payment-infra resume --suffix "
        "dev` lets them in"
    )
    assert account.orders == []


@pytest.mark.parametrize("command", ["settle", "cancel"])
def test_while_live_works_on_another_table_nothing_is_asked(
    cli: Cli, account: Account, command: str
) -> None:
    account.aws.stacks["payment-infra-dev"].resources[names.RETRY_ALIAS] = "CREATE_COMPLETE"
    variables = {"Variables": {"TRANSACTIONS_TABLE": "transactions-dev-restored"}}
    account.aws.answers |= {
        "lambda:GetAlias": {"FunctionVersion": "7"},
        "lambda:GetFunctionConfiguration": {"Environment": variables},
    }
    line = refused(cli("payment", command, *ENVIRONMENT, ID, "--yes"), 1)
    assert "names version 7, which works on transactions-dev-restored, and not on" in line
    assert account.orders == []


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (no("not_found"), "there is no such payment"),
        (no("row_unreadable", "amount_minor"), "is not as a payment's is (amount_minor)"),
        (no("other_gateway", "gateway_account"), "(its gateway_account says so)"),
        (no("gateway_payment_mismatched", "amount"), "its amount is another"),
        (no("gateway_timeout", "Read\x1btimeout"), r"gateway_timeout (Read\x1btimeout); repeat"),
        (obstacle("held", "59"), "an attempt has it for another 59 s at most"),
        (obstacle("validated"), f"`payment-infra payment cancel {ID} --suffix dev` cancels it"),
        (obstacle("unknown", outcome="unknown"), "--charged REFERENCE`, or --not-charged"),
        (
            obstacle("other_gateway", "validated_for", outcome="unknown"),
            f"or ask whoever runs it, by the transaction id, then `payment-infra payment settle "
            f"{ID} --suffix dev --charged REFERENCE`, or --not-charged",
        ),
        (obstacle("open", outcome="open"), "POST /process goes on with it"),
        (obstacle("pending", outcome="pending"), "waits for its customer or a bank"),
    ],
)
def test_what_cannot_be_settled_is_told_in_a_line_with_what_to_do_next(
    cli: Cli, account: Account, told: Any, line: str
) -> None:
    account.told = [told]
    shown = refused(cli("payment", "settle", *ENVIRONMENT, ID, "--yes"), 1)
    assert shown.startswith(f"payment {ID}: ")
    assert line in shown
    assert [order["do"] for order in account.orders] == ["ask"]


def test_what_has_changed_since_the_question_is_told(cli: Cli, account: Account) -> None:
    account.told = [asked(), no("changed")]
    line = refused(cli("payment", "settle", *ENVIRONMENT, ID, "--yes"), 1)
    assert "has changed meanwhile; nothing was written, repeat the command" in line


def test_what_is_settled_already_is_nothing_to_do(cli: Cli, account: Account) -> None:
    account.told = [obstacle("settled", "declined", "declined")]
    result = cli("payment", "settle", *ENVIRONMENT, ID, "--yes", "--output", "json")
    assert (result.exit_code, len(account.orders)) == (0, 1)
    told = {"transaction_id": ID, "status": "declined", "written": False}
    assert json.loads(result.stdout) == told


@pytest.mark.parametrize(
    ("flags", "reference", "question"),
    [
        (("--charged", "ch_9"), "ch_9", "Write that it is processed, as ch_9?"),
        (("--not-charged",), None, "Write that it was not charged, and is canceled?"),
    ],
)
@pytest.mark.parametrize("code", ["unknown", "other_gateway"])
def test_what_a_person_knows_is_ordered_where_the_gateway_cannot_tell(
    cli: Cli,
    account: Account,
    flags: tuple[str, ...],
    reference: str | None,
    question: str,
    code: str,
) -> None:
    unknown = {"outcome": "unknown"}
    account.told = [obstacle(code, **unknown), {"transaction_id": ID, "status": "x"}]
    result = cli("payment", "settle", *ENVIRONMENT, ID, *flags, typed="y\n")
    assert result.exit_code == 0, result.output
    assert question in " ".join(result.stderr.split())
    assert account.orders[1]["known"] == {"reference": reference}
    account.told = [asked()]
    line = refused(cli("payment", "settle", *ENVIRONMENT, ID, *flags, "--yes"), 1)
    assert "the gateway itself can tell; leave out --charged and --not-charged" in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("settle", ID, "--charged", "x", "--not-charged"), "not both"),
        (("settle", ID, "--charged", " "), "--charged: "),
        (("settle", "with a blank"), "ID': an id is 1 to 128 visible ASCII characters"),
        (("cancel", "é"), "ID': an id is 1 to 128 visible ASCII characters"),
        (("show", ""), "ID': an id is 1 to 128 visible ASCII characters"),
        (("list", "--since", "1d", "--until", "2d"), "--since has to be before --until"),
        (("list", "--status", "paid"), "'paid' is not one of"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    cli: Cli, account: Account, arguments: tuple[str, ...], line: str
) -> None:
    assert line in refused(cli("payment", *arguments[:1], *ENVIRONMENT, *arguments[1:]), 2)
    assert account.orders == []


@pytest.mark.parametrize(
    "payload", [b'{"errorMessage": "\'Records\'", "errorType": "KeyError"}', b"null", b"\xff"]
)
def test_a_function_that_takes_no_orders_is_told_as_such(
    cli: Cli, account: Account, payload: bytes
) -> None:
    account.told = [payload]
    line = refused(cli("payment", "settle", *ENVIRONMENT, ID, "--yes"), 1)
    assert "takes no orders" in line
    assert "`payment-infra deploy --suffix dev` brings it up to date" in line


# cancel


def test_a_payment_is_canceled_once_somebody_has_agreed(cli: Cli, account: Account) -> None:
    account.told = [asked({"outcome": "pending"}, "pending"), {"status": "canceled"}]
    result = cli("payment", "cancel", *ENVIRONMENT, ID, typed="y\n")
    assert result.exit_code == 0, result.output
    assert f"Cancel payment {ID}, which is pending?" in " ".join(result.stderr.split())
    assert result.stderr.endswith(f"payment {ID}: canceled\n")
    assert account.orders[1] == {"do": "cancel", "transaction_id": ID}


def test_a_payment_that_was_charged_by_then_is_told_as_not_canceled(
    cli: Cli, account: Account
) -> None:
    account.told = [asked({"outcome": "pending"}, "pending"), {"status": "processed"}]
    line = refused(cli("payment", "cancel", *ENVIRONMENT, ID, "--yes"), 1)
    assert line == (
        f"payment {ID} is not canceled: the gateway says that it is processed, and so does its "
        "row now"
    )


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("not_cancelable", f"`payment-infra payment settle {ID} --suffix dev` writes what it says"),
        ("in_one_step", "has nothing to cancel"),
        ("not_an_order", "`payment-infra deploy --suffix dev` brings it up to date"),
    ],
)
def test_what_cannot_be_canceled_is_told_with_what_to_do_next(
    cli: Cli, account: Account, code: str, line: str
) -> None:
    account.told = [asked(), no(code, "cancel")]
    assert line in refused(cli("payment", "cancel", *ENVIRONMENT, ID, "--yes"), 1)


def test_what_is_canceled_already_is_nothing_to_do(cli: Cli, account: Account) -> None:
    account.told = [asked({"outcome": "none"}, "canceled")]
    result = cli("payment", "cancel", *ENVIRONMENT, ID, "--yes")
    assert (result.exit_code, result.stderr) == (0, f"payment {ID}: canceled already\n")


# show


@pytest.fixture
def story(account: Account) -> Account:
    account.aws.logs[names.PROCESSING_LOG_GROUP] = [
        line(at(2000), level="INFO", message="process", transaction_id=ID, status=202),
        line(at(2500), level="INFO", message="process", transaction_id="another"),
    ]
    account.aws.logs[names.VALIDATION_LOG_GROUP] = [
        line(at(0), level="INFO", message="validate", transaction_id=ID, status=200)
    ]
    return account


def test_a_payment_is_shown_with_the_gateway_and_its_story_and_no_secret(
    cli: Cli, story: Account
) -> None:
    story.told = [asked({"outcome": "pending", "id": "pay_1"}, "pending")]
    result = cli("payment", "show", *ENVIRONMENT, ID)
    assert result.exit_code == 0, result.output
    for secret in (*SECRETS, "canary-customer"):
        assert secret not in result.output
    shown = result.stdout
    assert shown.index("\ngateway") < shown.index("\nlog")
    assert shown.index("  validate  ") < shown.index("  process  ")
    assert "another" not in shown
    assert story.orders == [{"do": "ask", "transaction_id": ID}]
    document = json.loads(cli_json(cli, story))
    assert document["row"]["customer_id"] == "c…r"
    assert {document["row"][name] for name in ("payment_method", "next_action", "return_url")} == {
        "…"
    }
    assert [one["fields"]["message"] for one in document["log"]] == ["validate", "process"]
    assert document["gateway"] == {"outcome": "pending", "id": "pay_1"}


def cli_json(cli: Cli, account: Account) -> str:
    account.told = [asked({"outcome": "pending", "id": "pay_1"}, "pending")]
    result = cli("payment", "show", *ENVIRONMENT, ID, "--output", "json")
    assert result.exit_code == 0, result.output
    assert not any(secret in result.output for secret in SECRETS)
    return result.stdout


def test_a_payment_is_shown_where_the_gateway_cannot_be_asked(cli: Cli, story: Account) -> None:
    story.aws.errors["lambda:Invoke"] = Refused("AccessDeniedException")
    result = cli("payment", "show", *ENVIRONMENT, ID)
    assert result.exit_code == 0, result.output
    assert "  process  " in result.stdout
    assert "Warning: the gateway was not asked: function RetryFunction: " in result.stderr


def test_a_payment_is_shown_where_another_gateway_than_the_configured_one_has_it(
    cli: Cli, story: Account
) -> None:
    story.told = [obstacle("other_gateway", "validated_for", outcome="unknown")]
    result = cli("payment", "show", *ENVIRONMENT, ID)
    assert result.exit_code == 0, result.output
    warning = " ".join(result.stderr.split())
    assert f"the gateway was not asked: payment {ID}: it is of another gateway" in warning
    assert "(its validated_for says so)" in warning


def test_a_row_that_is_not_what_was_validated_is_told(cli: Cli, story: Account) -> None:
    story.told = [asked(flaw={"code": "row_mismatched", "about": "fingerprint"})]
    result = cli("payment", "show", *ENVIRONMENT, ID)
    assert "Warning: the row is not what was validated: fingerprint" in result.stderr


def test_the_version_is_asked_that_takes_payments(cli: Cli, story: Account) -> None:
    story.aws.stacks["payment-infra-dev"].resources[names.RETRY_ALIAS] = "CREATE_COMPLETE"
    cli_json(cli, story)
    assert story.targets == [(names.RETRY_FUNCTION, names.LIVE)]


def test_a_payment_that_is_not_there_is_told(cli: Cli, account: Account) -> None:
    line = refused(cli("payment", "show", *ENVIRONMENT, "other"), 1)
    assert line == "payment other: there is no such payment"
    assert account.orders == []


# list


def many(number: int, key: str, **changes: Any) -> list[dict[str, Any]]:
    return [
        item(
            transaction_id=f"{key}-{one:03}",
            in_flight=key,
            lease_expires_at=1000 + one,
            **changes,
        )
        for one in range(number)
    ]


def test_what_is_in_flight_is_listed_out_of_the_index_the_longest_due_first(
    cli: Cli, account: Account
) -> None:
    late = [item(transaction_id="late", in_flight="overdue", lease_expires_at=1)]
    account.items = [
        *many(150, "pending#3"),
        *late,
        *many(2, "stuck", status="processing"),
        *many(1, "pending#4", status="processed"),  # the index lags behind
    ]
    account.page = 60
    result = cli("payment", "list", *ENVIRONMENT, "--status", "pending", "--output", "json")
    assert result.exit_code == 0, result.output
    rows = [json.loads(one) for one in result.stdout.splitlines()]
    assert [row["transaction_id"] for row in rows] == [
        "late",
        *(f"pending#3-{one:03}" for one in range(150)),
    ]
    assert not any(secret in result.stdout for secret in (*SECRETS, "canary-customer"))
    assert account.aws.called("dynamodb:Scan") == []


def test_without_a_status_it_is_what_is_in_flight(cli: Cli, account: Account) -> None:
    account.items = [*many(1, "pending#3"), *many(2, "stuck", status="processing")]
    result = cli("payment", "list", *ENVIRONMENT)
    assert [one.split()[0] for one in result.stdout.splitlines()[1:]] == [
        "pending#3-000",
        "stuck-000",
        "stuck-001",
    ]
    assert result.stderr == ""


def test_other_statuses_are_read_out_of_the_whole_table_as_far_as_is_needed(
    cli: Cli, account: Account
) -> None:
    account.items = [
        item(transaction_id=f"t-{one}", status="declined" if one % 2 else "processed")
        for one in range(10)
    ]
    account.page = 3
    found = ("payment", "list", *ENVIRONMENT, "--status", "declined", "--status", "pending")
    result = cli(*found, "--limit", "2")
    assert [one.split()[0] for one in result.stdout.splitlines()[1:]] == ["t-1", "t-3"]
    assert "reading the whole table" in result.stderr
    assert len(account.aws.called("dynamodb:Scan")) == 2
    result = cli(*found, "--output", "json")
    assert len(result.stdout.splitlines()) == 5


def test_what_changed_in_a_span_of_time_is_listed(cli: Cli, account: Account) -> None:
    account.items = [
        *many(1, "pending#1", updated_at="2026-11-22T10:00:00.000000+00:00"),
        *many(1, "pending#2", updated_at="2026-11-23T10:00:00.000000+00:00"),
        *many(1, "pending#3", updated_at="2026-11-24T10:00:00.000000+00:00"),
    ]
    span = ("--since", "2026-11-23T10:00:00Z", "--until", "2026-11-24T10:00:00Z")
    result = cli("payment", "list", *ENVIRONMENT, "--status", "pending", *span)
    assert [one.split()[0] for one in result.stdout.splitlines()[1:]] == ["pending#2-000"]
    cli("payment", "list", *ENVIRONMENT, "--status", "declined", *span)
    [scan] = account.aws.called("dynamodb:Scan")
    assert scan["FilterExpression"].endswith("updated_at >= :since AND updated_at < :until")


def test_foreign_text_in_a_row_acts_on_no_terminal(cli: Cli, account: Account) -> None:
    account.items = many(1, "pending#1", currency="U\x1b[2J", amount=None)
    result = cli("payment", "list", *ENVIRONMENT)
    assert r"- U\x1b[2J" in result.stdout
    assert "\x1b" not in result.stdout


def test_no_payment_of_a_status_is_told(cli: Cli, account: Account) -> None:
    account.items = []
    result = cli("payment", "list", *ENVIRONMENT)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there are none\n")
