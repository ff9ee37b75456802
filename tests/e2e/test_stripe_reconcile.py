"""1,000 payments at Stripe's stand-in, with answers, notifications and rows that were lost.

reconcile names exactly those, and with --fix leaves what is for a person.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from handlers.shared.clock import utc_now
from payment_infra.local.stack import open_session
from tests.e2e.harness import REPOSITORY, command
from tests.model.hands import rewind
from tests.model.shop import RETURN_URL, Shop

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy
    from tests.e2e.harness import Deployed
    from tests.expressions import Item
    from tests.localstripe.standin import Stripe

SUFFIX = "stripe-2"
TABLE = f"transactions-{SUFFIX}"
PAYMENTS = 1000
PAYS = "pm_card_visa"
AUTHENTICATES = "pm_card_authenticationRequired"
DECLINES = "pm_card_visa_chargeDeclined"
# What --fix writes.
FIXED = ("captured_not_settled", "undecided")

# The transactions, by the kind of difference; "" is none.
Seeded = dict[str, set[str]]


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy, standin: Stripe) -> Deployed:
    standin.reset()
    secrets = open_session(aws).client("secretsmanager")
    arn = secrets.create_secret(Name=SUFFIX, SecretString=standin.secret())["ARN"]
    return deploy(aws, SUFFIX, authorization="none", gateway="stripe", gateway_secret=arn)


def paid(shop: Shop) -> str:
    payment = shop.validate()
    assert shop.process(payment)[0] == 200
    return payment


def capture(account: Stripe, transaction_id: str) -> None:
    """Charge by another hand than the gateway's."""
    metadata = {"metadata[transaction_id]": transaction_id} if transaction_id else {}
    fields = {"amount": "10050", "currency": "usd", "payment_method": PAYS}
    account.intents.create(fields | metadata)
    account.intents.confirm(account.events.made[-1].payment["id"], {"return_url": RETURN_URL})


def change(shop: Shop, payment: str, **attributes: Any) -> None:
    """Change a row by hand."""
    shop.world.table.change_by_hand(payment, lambda item: item | attributes)


def seed(shop: Shop, account: Stripe) -> Seeded:
    """Let all get lost that can be; return the transactions of each kind of difference."""
    seeded: Seeded = defaultdict(set)
    account.tells_account = False
    for _ in range(3):  # a restore took it back, and Stripe could not tell
        payment = shop.validate()
        assert rewind(shop.world, payment, 0)
        shop.process(payment)
        seeded["undecided"].add(payment)
    shop.settle()
    account.tells_account = True
    for _ in range(8):  # the answer was lost, and who was to ask again
        payment = shop.validate()
        account.fail("confirm", "lost", 3)
        assert shop.process(payment)[0] == 500
        seeded["captured_not_settled"].add(payment)
    for _ in range(8):  # the notification was lost
        payment = shop.validate(AUTHENTICATES)
        assert shop.process(payment)[0] == 202
        account.authenticate(account.payments(payment)[0]["id"])
        seeded["captured_not_settled"].add(payment)
    for earlier in (0, 1):  # a restore took the row back to before its claim, or its id
        payment = paid(shop)
        assert rewind(shop.world, payment, earlier)
        seeded["captured_not_settled"].add(payment)
    for _ in range(5):  # the row was lost
        payment = paid(shop)
        del shop.world.table.items[payment]
        seeded["no_row"].add(payment)
    for _ in range(3):  # a person wrote of it what is not so
        payment = shop.validate(AUTHENTICATES)
        shop.process(payment)
        reference = {"S": "ch_none"}
        change(shop, payment, status={"S": "processed"}, gateway_reference=reference)
        seeded["settled_not_captured"].add(payment)
    for _ in range(3):  # somebody charged again by hand
        payment = paid(shop)
        capture(account, payment)
        seeded["captured_twice"].add(payment)
    for _ in range(2):
        payment = paid(shop)
        change(shop, payment, amount_minor={"N": "10049"}, amount={"S": "100.49"})
        seeded["other_amount"].add(payment)
    capture(account, "")  # a program of others uses the account
    seeded["no_row"].add("")
    return seeded


def fill(shop: Shop) -> None:
    """Let all other payments be as they should be."""
    for number in range(len(shop.world.table.items), PAYMENTS):
        if number % 10 < 8:
            paid(shop)
        elif number % 10 == 8:
            assert shop.process(shop.validate(DECLINES))[0] == 402
        else:
            payment = shop.validate(AUTHENTICATES)
            shop.process(payment)
            assert number % 20 != 9 or shop.cancel(payment)[0] == 200


def write(deployed: Deployed, items: list[Item]) -> None:
    """Put rows into the stack's table."""
    client = deployed.session.client("dynamodb")
    for first in range(0, len(items), 25):
        puts = [{"PutRequest": {"Item": item}} for item in items[first : first + 25]]
        answer = client.batch_write_item(RequestItems={TABLE: puts})
        assert not answer["UnprocessedItems"]


def test_reconcile_names_what_was_lost_and_mends_what_nobody_has_to_decide(
    aws: Emulator, deployed: Deployed, account: Stripe
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        secret = deployed.session.client("secretsmanager").describe_secret(SecretId=SUFFIX)
        patch.setenv("GATEWAY_SECRET_ARN", secret["ARN"])
        shop = Shop(account, patch)
        shop.world.clock.now = utc_now() - timedelta(days=10)
        seeded = seed(shop, account)
        fill(shop)
        assert shop.world.clock() < utc_now() - timedelta(hours=1)
    account.clock = utc_now
    # The stack itself would bring to their ends those that it finds: here, nobody looks.
    rule = deployed.stack.physical_ids()["HealthMonitorSchedule"]
    deployed.session.client("events").disable_rule(Name=rule)
    write(deployed, list(shop.world.table.items.values()))
    calls = len(account.calls)

    def reconcile(*options: str) -> tuple[int, Seeded]:
        arguments = ("reconcile", "--suffix", SUFFIX, "--output", "json", *options)
        status, out, err = command(aws, REPOSITORY, *arguments)
        assert status in {0, 4}, err
        *told, _summary = map(json.loads, out.splitlines())
        found: Seeded = defaultdict(set)
        for one in told:
            found[one["kind"]].add(one["transaction_id"] or "")
        assert len(told) == sum(map(len, found.values()))
        return status, found

    assert reconcile() == (4, seeded)
    for_a_person = {kind: of for kind, of in seeded.items() if kind not in FIXED}
    assert reconcile("--fix", "--yes") == (4, for_a_person)
    assert reconcile() == (4, for_a_person)
    assert {call.kind for call in account.calls[calls:]} <= {"list", "fetch", "account"}

    client = deployed.session.client("dynamodb")
    for payment in seeded["captured_not_settled"]:
        key = {"transaction_id": {"S": payment}}
        row = client.get_item(TableName=TABLE, Key=key)["Item"]
        assert row["status"] == {"S": "processed"}
        assert [row["gateway_reference"]["S"]] == account.captures(payment)
