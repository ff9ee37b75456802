from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.shared.idempotency import idempotency_key, transaction_id_for
from handlers.shared.requests import InvalidRequest
from handlers.validation import handler
from tests.unit.handlers.harness import Aws, Clock, Output, Response, call, load_event

VALID = {"amount": 100.50, "currency": "USD", "customer_id": "cust-12345"}
ROLE = "arn:aws:sts::123456789012:assumed-role/checkout"
visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


def keyed(*keys: str, arn: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a request to /validate that carries these keys and comes from this principal."""
    event = load_event("validate", body=json.dumps(VALID | changes))
    if keys:
        event["headers"]["idempotency-key"] = keys[-1]
        event["multiValueHeaders"]["idempotency-key"] = list(keys)
    event["requestContext"]["identity"]["userArn"] = arn
    return event


def post(*keys: str, arn: str | None = None, **changes: Any) -> Response:
    return call(handler, keyed(*keys, arn=arn, **changes))


def test_a_replay_gives_the_first_answer_and_says_so(aws: Aws, clock: Clock) -> None:
    first = post("order-1")
    clock.tick(1)
    again = post("order-1")
    assert first.status == again.status == 200
    assert first.body == again.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(aws.dynamodb.items) == 1


def test_a_replay_gives_the_first_answer_however_far_the_payment_has_come(aws: Aws) -> None:
    first = post("order-1")
    aws.dynamodb.items[first.body["transaction_id"]]["status"] = {"S": "processed"}
    assert post("order-1").body == first.body


def test_a_key_with_another_body_is_refused_and_changes_nothing(aws: Aws) -> None:
    post("order-1")
    before = dict(aws.dynamodb.items)
    answer = post("order-1", amount=200)
    assert answer.status == 422
    assert answer.body["error"] == "Idempotency key reused"
    assert aws.dynamodb.items == before


def test_the_line_of_a_reused_key_names_the_transaction_that_it_belongs_to(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    first = post("order-1")
    Output.read(capsys)
    post("order-1", amount=200)
    [line] = Output.read(capsys).lines
    assert (line["status"], line["transaction_id"]) == (422, first.body["transaction_id"])


def test_the_same_payment_written_differently_is_a_replay(aws: Aws) -> None:
    first = post("order-1")
    event = keyed("order-1")
    event["body"] = '{"customer_id":"cust-12345","currency":"USD","amount":1.005e2,"note":"x"}'
    assert call(handler, event).body == first.body


def test_a_refused_request_leaves_the_key_free(aws: Aws) -> None:
    assert post("order-1", amount=-1).status == 400
    assert "Idempotent-Replayed" not in post("order-1").headers


def test_without_a_key_every_request_is_a_payment_of_its_own(aws: Aws) -> None:
    assert post().body["transaction_id"] != post().body["transaction_id"]


def test_first_uses_at_the_same_time_make_one_transaction(aws: Aws) -> None:
    answers: list[Response] = []

    def overtake() -> None:
        aws.dynamodb.before_put = lambda: None
        answers.append(post("order-1"))

    aws.dynamodb.before_put = overtake
    answers.append(post("order-1"))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["transaction_id"] for answer in answers}) == 1
    assert len(aws.dynamodb.items) == 1


def test_a_lost_answer_is_not_a_replay(aws: Aws) -> None:
    aws.dynamodb.losing_answers = True
    assert "Idempotent-Replayed" not in post("order-1").headers


def test_a_payment_that_was_queued_keeps_the_id_of_its_key(aws: Aws) -> None:
    aws.dynamodb.fail("PutItem")
    first = post("order-1")
    aws.dynamodb.errors.clear()
    assert first.body["retry"] == "queued"
    assert post("order-1").body["transaction_id"] == first.body["transaction_id"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (f"{ROLE}/session-1", f"{ROLE}/session-2", True),
        (f"{ROLE}/session-1", f"{ROLE}-2/session-1", False),
        ("arn:aws:iam::123456789012:user/a", "arn:aws:iam::123456789012:user/b", False),
        ("arn:aws:iam::123456789012:user/team/a", "arn:aws:iam::123456789012:user/team/b", False),
        (None, f"{ROLE}/session-1", False),
        (None, None, True),
    ],
)
def test_a_key_is_the_callers_own_whatever_the_session(
    one: str | None, other: str | None, same: bool
) -> None:
    ids = {transaction_id_for(keyed("order-1", arn=arn)) for arn in (one, other)}
    assert len(ids) == (1 if same else 2)


def test_the_id_of_a_key_never_changes_since_rows_hold_it() -> None:
    event = keyed("order-1", arn=f"{ROLE}/session-1")
    assert transaction_id_for(event) == "2e3196ac-16fe-599c-8b27-14bfbc0b769d"


@given(visible.filter(lambda key: not key.startswith('"')))
def test_a_key_is_the_same_bare_and_quoted(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert idempotency_key(keyed(f'"{escaped}"')) == idempotency_key(keyed(key)) == key


@pytest.mark.parametrize(
    "keys",
    [
        ("",),
        (" ",),
        ('""',),
        ('"',),
        ('"open',),
        ('"a"b',),
        ('"a\\b"',),
        ("a b",),
        ('"a b"',),
        ("a\x00",),
        ("ключ",),
        ("k" * 256,),
        (f'"{"k" * 256}"',),
        ("one", "two"),
        ("one", "one"),
    ],
)
def test_a_malformed_key_is_a_400_and_touches_nothing(aws: Aws, keys: tuple[str, ...]) -> None:
    answer = post(*keys)
    assert answer.status == 400
    assert answer.body["error"] == "Invalid Idempotency-Key"
    assert answer.body["message"]
    assert not aws.created


@given(st.text(max_size=300))
def test_any_header_is_a_key_or_an_invalid_request(text: str) -> None:
    try:
        key = idempotency_key(keyed(text))
    except InvalidRequest:
        return
    assert key is not None
    assert 1 <= len(key) <= 255


def test_the_header_is_found_in_any_case_and_without_multi_values() -> None:
    event = {"headers": {"IDEMPOTENCY-KEY": "order-1"}}
    assert idempotency_key(event) == "order-1"
    assert idempotency_key({"headers": None, "multiValueHeaders": None}) is None


def test_the_key_is_not_logged(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("canary-key", "canary key"):
        post(key)
    assert "canary" not in capsys.readouterr().out
