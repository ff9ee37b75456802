"""What stands for Stripe does as Stripe's documentation says, where the gateway relies on it."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import urllib3

from tests.localstripe.notices import signature
from tests.localstripe.process import REPOSITORY
from tests.servers import serving

if TYPE_CHECKING:
    from tests.localstripe.standin import Stripe

INTENTS = "/v1/payment_intents"
RETURN_URL = "https://shop.example/back"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class Client:
    """Calls the API as a gateway does."""

    account: Stripe
    pool: urllib3.PoolManager

    def call(
        self, method: str, path: str, key: str | None = None, **fields: Any
    ) -> tuple[int, Any]:
        answer = self.request(method, path, key, **fields)
        return answer.status, json.loads(answer.data)

    def request(
        self, method: str, path: str, key: str | None = None, **fields: Any
    ) -> urllib3.BaseHTTPResponse:
        api_key = fields.pop("api_key", self.account.api_keys[-1])
        headers = {"Authorization": f"Bearer {api_key}"}
        if key:
            headers["Idempotency-Key"] = key
        text = urlencode(fields)
        url = f"{self.account.url}{path}"
        if method == "GET":
            return self.pool.request("GET", f"{url}?{text}", headers=headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self.pool.request(method, url, body=text, headers=headers)

    def prepared(
        self, method: str = "pm_card_visa", key: str | None = None, **fields: object
    ) -> str:
        asked = {
            "amount": 10050,
            "currency": "usd",
            "payment_method": method,
            "metadata[transaction_id]": "t-1",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        }
        status, told = self.call("POST", INTENTS, key, **(asked | fields))
        assert (status, told["status"]) == (200, "requires_confirmation"), told
        return str(told["id"])

    def confirm(self, payment_id: str, key: str | None = None, **fields: object) -> tuple[int, Any]:
        return self.call("POST", f"{INTENTS}/{payment_id}/confirm", key, **fields)

    def cancel(self, payment_id: str) -> tuple[int, Any]:
        return self.call("POST", f"{INTENTS}/{payment_id}/cancel")

    def fetch(self, payment_id: str) -> Any:
        status, told = self.call("GET", f"{INTENTS}/{payment_id}")
        assert status == 200, told
        return told


@pytest.fixture
def client(account: Stripe) -> Iterator[Client]:
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        yield Client(account, pool)


def test_a_payment_is_made_and_charged_once_it_is_confirmed(
    account: Stripe, client: Client
) -> None:
    payment_id = client.prepared()
    made = client.fetch(payment_id)
    assert (made["latest_charge"], made["amount_received"], made["livemode"]) == (None, 0, False)
    assert made["metadata"] == {"transaction_id": "t-1"}
    assert account.captures("t-1") == []

    status, told = client.confirm(payment_id)
    assert (status, told["status"], told["amount_received"]) == (200, "succeeded", 10050)
    assert told["latest_charge"].startswith("ch_")
    assert client.fetch(payment_id) == told
    assert account.captures("t-1") == [told["latest_charge"]]

    status, refused = client.confirm(payment_id)
    assert (status, refused["error"]["code"]) == (400, "payment_intent_unexpected_state")
    assert refused["error"]["payment_intent"] == told
    status, refused = client.cancel(payment_id)
    assert (status, refused["error"]["code"]) == (400, "payment_intent_unexpected_state")


@pytest.mark.parametrize(
    ("method", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
    ],
)
def test_a_card_that_is_declined_is_an_error_with_the_payment_which_can_still_be_canceled(
    account: Stripe, client: Client, method: str, code: str, decline_code: str | None
) -> None:
    payment_id = client.prepared(method)
    status, told = client.confirm(payment_id)
    error = told["error"]
    assert (status, error["type"], error["code"]) == (402, "card_error", code)
    assert error.get("decline_code") == decline_code
    payment = client.fetch(payment_id)
    assert error["payment_intent"] == payment
    assert (payment["status"], payment["payment_method"]) == ("requires_payment_method", None)
    assert payment["last_payment_error"]["code"] == code
    assert account.captures("t-1") == []

    status, canceled = client.cancel(payment_id)
    assert (status, canceled["status"]) == (200, "canceled")
    assert canceled["canceled_at"] is not None
    assert canceled["last_payment_error"]["code"] == code
    status, refused = client.cancel(payment_id)
    assert (status, refused["error"]["payment_intent"]["status"]) == (400, "canceled")


def test_a_customer_authenticates_or_fails_to(account: Stripe, client: Client) -> None:
    paid, failed, declined = (
        client.prepared(method)
        for method in (
            "pm_card_authenticationRequired",
            "pm_card_threeDSecure2Required",
            "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        )
    )
    for payment_id in (paid, failed, declined):
        status, told = client.confirm(payment_id, return_url=RETURN_URL)
        assert (status, told["status"], told["latest_charge"]) == (200, "requires_action", None)
        action = told["next_action"]
        assert (action["type"], action["redirect_to_url"]["return_url"]) == (
            *("redirect_to_url", RETURN_URL),
        )
        page = client.pool.request("GET", action["redirect_to_url"]["url"])
        assert page.status == 200
    assert account.authenticate(paid) == RETURN_URL
    assert client.fetch(paid)["status"] == "succeeded"

    answer = client.pool.request(
        "GET", f"{account.url}/_control/authenticate/{failed}/fail", redirect=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, RETURN_URL)
    told = client.fetch(failed)
    assert (told["status"], told["next_action"]) == ("requires_payment_method", None)
    assert told["last_payment_error"]["code"] == "payment_intent_authentication_failure"

    account.authenticate(declined)
    assert client.fetch(declined)["last_payment_error"]["decline_code"] == "insufficient_funds"
    assert len(account.captures("t-1")) == 1


def test_an_action_without_a_place_to_return_to_is_one_for_stripes_script(client: Client) -> None:
    status, told = client.confirm(client.prepared("pm_card_authenticationRequired"))
    assert (status, told["next_action"]["type"]) == (200, "use_stripe_sdk")


def test_a_payment_that_may_redirect_is_confirmed_with_a_place_to_return_to(
    client: Client,
) -> None:
    payment_id = client.prepared(**{"automatic_payment_methods[allow_redirects]": "always"})
    status, told = client.confirm(payment_id)
    assert (status, told["error"]["param"]) == (400, "return_url")
    status, told = client.confirm(payment_id, return_url=RETURN_URL)
    assert (status, told["status"]) == (200, "succeeded")


def test_a_bank_decides_later_and_what_it_has_is_out_of_reach(
    account: Stripe, client: Client
) -> None:
    paid = client.prepared("pm_usBankAccount_success")
    failed = client.prepared("pm_usBankAccount_insufficientFunds")
    for payment_id in (paid, failed):
        status, told = client.confirm(payment_id)
        assert (status, told["status"], told["latest_charge"]) == (200, "processing", None)
        assert client.cancel(payment_id)[0] == 400
        assert client.confirm(payment_id)[0] == 400
    assert account.captures("t-1") == []
    account.decide(paid)
    client.pool.request("POST", f"{account.url}/_control/bank/{failed}")
    assert client.fetch(paid)["status"] == "succeeded"
    told = client.fetch(failed)
    assert told["status"] == "requires_payment_method"
    assert told["last_payment_error"]["code"] == "insufficient_funds"
    assert len(account.captures("t-1")) == 1


def test_a_key_gets_its_first_answer_again_for_a_day(account: Stripe, client: Client) -> None:
    account.clock = lambda: NOW
    first = client.prepared(key="k-1")
    assert client.prepared(key="k-1") == first
    status, told = client.call("POST", INTENTS, "k-1", amount=50, currency="usd")
    assert (status, told["error"]["type"]) == (400, "idempotency_error")
    assert client.confirm(first, key="k-1")[1]["error"]["type"] == "idempotency_error"
    account.clock = lambda: NOW + timedelta(hours=24)
    assert client.prepared(key="k-1") != first


def test_a_decline_is_stored_with_its_key_and_a_refusal_of_the_parameters_is_not(
    client: Client,
) -> None:
    payment_id = client.prepared("pm_card_visa_chargeDeclined")
    first = client.confirm(payment_id, key="k-1")
    assert client.confirm(payment_id, key="k-1") == first
    assert first[0] == 402
    answer = client.request("POST", f"{INTENTS}/{payment_id}/confirm", "k-1")
    assert answer.headers["Idempotent-Replayed"] == "true"

    status, told = client.call("POST", INTENTS, "k-2", amount=50, currency="usd", colour="red")
    assert (status, told["error"]["code"]) == (400, "parameter_unknown")
    client.prepared(key="k-2")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"payment_method": "pm_none"}, "resource_missing"),
        ({"amount": 49}, "amount_too_small"),
        ({"amount": 100_000_000}, "amount_too_large"),
        ({"currency": ""}, "parameter_missing"),
        ({"confirm": "true"}, "parameter_unknown"),
    ],
)
def test_what_cannot_be_a_payment_is_refused_and_leaves_none(
    account: Stripe, client: Client, fields: dict[str, Any], code: str
) -> None:
    asked: dict[str, Any] = {
        "amount": 10050,
        "currency": "usd",
        "payment_method": "pm_card_visa",
    }
    status, told = client.call("POST", INTENTS, **(asked | fields))
    assert (status, told["error"]["code"]) == (400, code)
    assert account.payments() == []


@pytest.mark.parametrize(("fault", "captures"), [("500", 0), ("500-done", 1)])
def test_a_failure_is_stored_with_its_key(
    account: Stripe, client: Client, fault: str, captures: int
) -> None:
    payment_id = client.prepared()
    account.fail("confirm", fault)
    for _ in range(2):
        status, told = client.confirm(payment_id, key="k-1")
        assert (status, told["error"]["type"]) == (500, "api_error")
    assert len(account.captures("t-1")) == captures
    assert account.faults.left == 0


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("503", 503, None),
        ("429", 429, "rate_limit"),
        ("lock_timeout", 429, "lock_timeout"),
        ("409", 409, "idempotency_key_in_use"),
    ],
)
def test_a_refusal_is_not_stored(
    account: Stripe, client: Client, fault: str, status: int, code: str | None
) -> None:
    payment_id = client.prepared()
    account.fail("confirm", fault)
    refused, told = client.confirm(payment_id, key="k-1")
    assert (refused, told["error"].get("code")) == (status, code)
    assert account.captures("t-1") == []
    assert client.confirm(payment_id, key="k-1")[0] == 200


@pytest.mark.parametrize(("fault", "captures"), [("unreached", 0), ("lost", 1), ("late", 0)])
def test_an_answer_can_be_lost_whether_or_not_the_call_was_carried_out(
    account: Stripe, client: Client, fault: str, captures: int
) -> None:
    payment_id = client.prepared()
    account.fail("confirm", fault, transaction_id="another")
    account.fail("confirm", fault, transaction_id="t-1")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        client.confirm(payment_id, key="k-1")
    assert len(account.captures("t-1")) == captures
    assert account.faults.left == 1  # that of another transaction
    account.arrive()
    assert len(account.captures("t-1")) == (0 if fault == "unreached" else 1)
    assert client.confirm(payment_id, key="k-1")[0] == 200
    assert len(account.captures("t-1")) == 1


def test_a_key_is_in_use_while_its_call_goes_on(account: Stripe, client: Client) -> None:
    """Both are carried out at the same moment: the second comes in the midst of the first."""
    payment_id = client.prepared()
    within: list[tuple[int, Any]] = []

    def again(_: object) -> None:
        account.listeners.clear()
        caller = threading.Thread(
            target=lambda: within.append(client.confirm(payment_id, key="k-1"))
        )
        caller.start()
        caller.join()

    account.listeners.append(again)
    assert client.confirm(payment_id, key="k-1")[0] == 200
    [(status, told)] = within
    assert (status, told["error"]["code"]) == (409, "idempotency_key_in_use")


def test_an_answer_is_held_back_until_it_is_let_go(account: Stripe, client: Client) -> None:
    payment_id = client.prepared()
    account.fail("confirm", "slow")
    answered: list[int] = []
    charged = threading.Event()
    account.listeners.append(lambda _: charged.set())
    caller = threading.Thread(target=lambda: answered.append(client.confirm(payment_id)[0]))
    caller.start()
    assert charged.wait(30)
    assert answered == []
    account.release()
    caller.join()
    assert answered == [200]


def test_an_answer_can_be_garbled(account: Stripe, client: Client) -> None:
    account.fail("fetch", "garbled")
    answer = client.request("GET", f"{INTENTS}/{client.prepared()}")
    assert (answer.status, answer.data) == (200, b"<html>")


def test_a_key_that_was_rotated_is_refused_and_so_is_one_that_never_was(
    account: Stripe, client: Client
) -> None:
    old = account.api_keys[-1]
    account.before = {"account": lambda: account.rotate(expires=False)}
    assert client.call("GET", "/v1/account", api_key=old)[0] == 200
    account.rotate()
    status, told = client.call("GET", "/v1/account", api_key=old)
    assert (status, told["error"]["code"]) == (401, "api_key_expired")
    status, told = client.call("GET", "/v1/account", api_key="sk_test_other")
    assert (status, told["error"].get("code")) == (401, None)
    assert json.loads(account.secret())["api_key"] == account.api_keys[-1]
    assert client.call("GET", "/v1/account") == (200, {"id": account.account, "object": "account"})
    account.tells_account = False
    assert client.call("GET", "/v1/account")[0] == 403


def test_a_list_has_the_newest_first_in_pages_and_by_the_moment_they_were_made(
    account: Stripe, client: Client
) -> None:
    moments = [NOW + timedelta(minutes=minute) for minute in (0, 1, 2, 2, 1)]
    made = []
    for moment in moments:
        account.clock = lambda moment=moment: moment  # type: ignore[misc]
        made.append(client.prepared())
    client.confirm(made[2])
    newest = [made[3], made[2], made[4], made[1], made[0]]

    def listed(**fields: Any) -> tuple[list[str], bool]:
        status, told = client.call("GET", INTENTS, **fields)
        assert (status, told["object"]) == (200, "list"), told
        return [one["id"] for one in told["data"]], told["has_more"]

    assert listed() == (newest, False)
    assert listed(limit=2) == (newest[:2], True)
    assert listed(limit=2, starting_after=newest[1]) == (newest[2:4], True)
    assert listed(limit=2, starting_after=newest[3]) == (newest[4:], False)
    since = int(moments[1].timestamp())
    assert listed(**{"created[gte]": since}) == (newest[:4], False)
    assert listed(**{"created[gt]": since}) == (newest[:2], False)
    assert listed(**{"created[lt]": since}) == (newest[4:], False)
    assert listed(**{"created[lte]": since, "created[gte]": since}) == (newest[2:4], False)
    assert client.call("GET", INTENTS, limit=101)[0] == 400
    assert client.call("GET", INTENTS, starting_after="pi_none")[0] == 400
    told = client.call("GET", INTENTS)[1]["data"]
    assert told[1] == client.fetch(made[2])


def test_what_is_not_there_is_not_found(client: Client) -> None:
    status, told = client.call("GET", f"{INTENTS}/pi_none")
    assert (status, told["error"]["code"]) == (404, "resource_missing")
    assert client.call("GET", "/v1/charges")[0] == 404


def test_each_change_makes_an_event_that_is_signed_with_every_secret(
    account: Stripe, client: Client
) -> None:
    account.clock = lambda: NOW
    payment_id = client.prepared("pm_card_authenticationRequired")
    client.confirm(payment_id, return_url=RETURN_URL)
    account.authenticate(payment_id, succeeds=False)
    client.cancel(payment_id)
    events = account.events.of(payment_id)
    assert [event.kind.removeprefix("payment_intent.") for event in events] == [
        *("created", "requires_action", "payment_failed", "canceled"),
    ]
    account.signing_secrets = ["whsec_new", "whsec_old"]
    headers, body = account.notification(events[1])
    told = json.loads(body)
    assert (told["type"], told["data"]["object"]["status"]) == (
        *("payment_intent.requires_action", "requires_action"),
    )
    seconds = int(NOW.timestamp())
    assert headers["Stripe-Signature"] == signature(body, ["whsec_new", "whsec_old"], NOW)
    assert headers["Stripe-Signature"].startswith(f"t={seconds},v1=")
    assert headers["Stripe-Signature"].count("v1=") == 2


def test_a_signature_is_that_of_the_seconds_a_dot_and_the_body() -> None:
    """As computed with OpenSSL: `printf '1.{}' | openssl dgst -sha256 -hmac whsec_test`."""
    moment = datetime.fromtimestamp(1, UTC)
    assert signature(b"{}", ["whsec_test"], moment) == (
        "t=1,v1=7500d5d4be4b3ef07af1fe56f7d522d135cdaa7530de557e67cc1049c52de094"
    )


def test_an_event_is_sent_to_a_url(account: Stripe, client: Client) -> None:
    client.prepared()
    [event] = account.events.made
    with serving(status=202) as requests:
        assert account.send(event, f"{requests.url}/gateway-events") == 202
    assert requests.lines == ["POST /gateway-events"]
    assert "Stripe-Signature" in requests.headers[0]


def test_others_control_it_by_http(account: Stripe, client: Client) -> None:
    def control(path: str, **fields: object) -> urllib3.BaseHTTPResponse:
        url = f"{account.url}/_control/{path}"
        return client.pool.request("POST", url, body=json.dumps(fields))

    payment_id = client.prepared()
    assert control("faults", call="confirm", fault="late").status == 200
    with pytest.raises(urllib3.exceptions.ProtocolError):
        client.confirm(payment_id)
    assert control("arrive").status == 200
    assert len(account.captures("t-1")) == 1
    assert json.loads(control("rotate").data) == json.loads(account.secret())
    assert control("faults", call="confirm", fault="unheard").status == 400
    assert control("bank/pi_none").status == 404
    assert control("unheard").status == 404


def test_by_hand_it_says_where_it_is_until_it_is_interrupted(tmp_path: Path) -> None:
    file = tmp_path / "secret.json"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.localstripe", "--secret-file", str(file)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        url = process.stdout.readline().split()[4].rstrip(";")
        secret = process.stdout.readline().strip()
        api_key = json.loads(secret)["api_key"]
        with urllib3.PoolManager(retries=False) as pool:
            answer = pool.request(
                "GET", f"{url}/v1/account", headers={"Authorization": f"Bearer {api_key}"}
            )
        assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert (file.read_text(), file.stat().st_mode & 0o777) == (secret, 0o600)


def test_localstripe_itself_can_be_imported_by_nothing_here() -> None:
    assert importlib.util.find_spec("localstripe") is None


def test_it_forgets_all_that_was(account: Stripe, client: Client) -> None:
    payment_id = client.prepared(key="k-1")
    account.rotate()
    account.fail("prepare", "500")
    account.reset()
    assert (account.payments(), account.events.made, account.calls) == ([], [], [])
    assert client.prepared(key="k-1") != payment_id
