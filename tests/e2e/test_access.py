"""Who may reach the API, on the emulator in enforcing mode, which evaluates resource policies.

It takes every request as one of the API's own account, lets the account's root do all, and has no
VPC endpoints and no TLS: of these, the unit tests hold the template to what AWS documents.
"""

from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import Credentials

from payment_infra.cloud.environment.smoke import Api
from payment_infra.local.emulator import Emulator
from payment_infra.names import REST_API, TRANSACTIONS_TABLE
from tests.e2e.conftest import Deploy
from tests.e2e.harness import PAYMENT, Deployed, Program, unsigned

HERE, ELSEWHERE = ("127.0.0.0/8",), ("203.0.113.0/24",)
NAMED = {
    "endpoint_type": "regional",
    "domain_name": "pay.example.com",
    "domain_certificate": "arn:aws:acm:us-east-1:000000000000:certificate/0123-abcd",
}


def user(deployed: Deployed, name: str, policy: str = "") -> Api:
    """Return the API as a new user calls it, who has the managed policy of an output, if any."""
    iam = deployed.session.client("iam")
    iam.create_user(UserName=name)
    if policy:
        iam.attach_user_policy(UserName=name, PolicyArn=deployed.stack.outputs()[policy])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return deployed.api(lambda: Credentials(key["AccessKeyId"], key["SecretAccessKey"]))


@pytest.fixture(scope="module")
def restricted(enforcing_aws: Emulator, deploy: Deploy) -> Deployed:
    accounts = ("210987654321",)
    return deploy(enforcing_aws, "access-1", allowed_cidrs=HERE, allowed_accounts=accounts)


def test_an_allow_for_the_account_is_no_grant_for_its_principals(restricted: Deployed) -> None:
    granted = user(restricted, "granted", "CallerPolicyArn")
    assert granted.call("POST", "validate", PAYMENT).status == 200
    assert user(restricted, "stranger").call("POST", "validate", PAYMENT).status == 403


def test_an_open_health_is_allowed_by_the_policy(restricted: Deployed) -> None:
    assert unsigned(restricted.api(), "GET", "health")[0] == 200


def test_a_closed_health_is_told_to_who_has_the_monitors_policy_and_nothing_else_is(
    enforcing_aws: Emulator, deploy: Deploy
) -> None:
    deployed = deploy(enforcing_aws, "access-2", health_access="closed")
    assert unsigned(deployed.api(), "GET", "health")[0] == 403
    monitor = user(deployed, "monitor", "MonitorPolicyArn")
    assert monitor.call("GET", "health").status == 200
    assert monitor.call("POST", "validate", PAYMENT).status == 403
    assert user(deployed, "payer", "CallerPolicyArn").call("GET", "health").status == 403


def test_an_api_that_does_not_admit_this_address_is_gone_around(
    enforcing_aws: Emulator, deploy: Deploy, tmp_path: Path
) -> None:
    deployed = deploy(enforcing_aws, "access-3", allowed_cidrs=ELSEWHERE)
    granted = user(deployed, "elsewhere", "CallerPolicyArn")
    assert granted.call("POST", "validate", PAYMENT).status == 403
    health = Program(enforcing_aws.url, tmp_path, ("--suffix", "access-3"))("health")
    assert health.returncode == 0, health.stderr
    assert "it admits 203.0.113.0/24 only: its functions are invoked directly" in health.stderr


def test_a_status_without_names_is_all_that_the_api_tells_and_health_tells_the_rest(
    aws: Emulator, deploy: Deploy, tmp_path: Path
) -> None:
    deployed = deploy(aws, "access-4", health_access="status", authorization="none")
    assert set(deployed.api().call("GET", "health").body) == {"timestamp", "overall_status"}
    program = Program(aws.url, tmp_path, ("--suffix", "access-4"))
    report: Any = program.json("health")
    assert report["checks"]


def test_moving_the_endpoint_and_giving_it_a_name_keeps_the_api_and_its_payments(
    aws: Emulator, deploy: Deploy
) -> None:
    before = deploy(aws, "access-5", authorization="none")
    stored = before.api().call("POST", "validate", PAYMENT)
    ids = before.stack.physical_ids()
    after = deploy(aws, "access-5", authorization="none", **NAMED, execute_api_endpoint=False)
    assert {name: after.stack.physical_ids()[name] for name in (REST_API, TRANSACTIONS_TABLE)} == {
        name: ids[name] for name in (REST_API, TRANSACTIONS_TABLE)
    }
    outputs = after.stack.outputs()
    assert outputs["APIEndpoint"] == "https://pay.example.com/"
    assert outputs["DomainTarget"]
    assert outputs["DomainHostedZoneId"]
    known = {"transaction_id": stored.field("transaction_id")}
    assert after.api().call("POST", "process", known).field("status") == "processed"
