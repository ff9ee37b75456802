"""An account's rules for roles, and what functions get besides, given to a stack that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.errors import UsageError
from tests.e2e.harness import Deployed, validate

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

SUFFIX = "rules-1"
BOUNDARY = "arn:aws:iam::000000000000:policy/boundary"
RULES: dict[str, Any] = {
    "permissions_boundary": BOUNDARY,
    "role_path": "/payments/",
    "role_prefix": "acme-",
}
MORE: dict[str, Any] = {
    "subnets": ("subnet-0123456789abcdef0",),
    "security_groups": ("sg-0123456789abcdef0",),
    "failed_runs": True,
    "processing_concurrency": 50,
    "latency_alarms": True,
}


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    return deploy(aws, SUFFIX, authorization="none")


def process(deployed: Deployed, transaction_id: str) -> object:
    answer = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
    return answer.status, answer.field("status")


def roles(deployed: Deployed) -> dict[str, Any]:
    """Return what IAM says of each of the stack's roles, by logical id."""
    client = deployed.session.client("iam")
    return {
        logical_id: client.get_role(RoleName=name)["Role"]
        for logical_id, name in deployed.stack.physical_ids().items()
        if logical_id.endswith("Role")
    }


def test_a_stack_that_exists_takes_the_rules_and_keeps_its_payments(
    aws: Emulator, deploy: Deploy, deployed: Deployed
) -> None:
    before, old = validate(deployed), roles(deployed)
    under = deploy(aws, SUFFIX, authorization="none", **RULES, **MORE)
    new = roles(under)
    assert new.keys() == old.keys()
    for logical_id, role in new.items():
        assert role["RoleName"].startswith(f"acme-{logical_id}-")
        assert role["Path"] == "/payments/"
        # The emulator keeps no boundary of a role.
    # Nothing but the region's own role is left of those before, and nothing else runs by them.
    client = under.session.client("iam")
    left = {
        role["RoleName"]
        for page in client.get_paginator("list_roles").paginate()
        for role in page["Roles"]
    }
    assert {name for name, role in old.items() if role["RoleName"] in left} <= {
        "PaymentAPICloudWatchRole"
    }
    function = under.session.client("lambda").get_function_configuration(
        FunctionName=f"payment-processing-{SUFFIX}"
    )
    assert function["Role"] == new["ProcessingRole"]["Arn"]
    assert process(under, before) == (200, "processed")
    # Once more in another path: no name is taken twice.
    moved = deploy(aws, SUFFIX, authorization="none", **{**RULES, "role_path": "/other/"}, **MORE)
    assert {role["Path"] for role in roles(moved).values()} == {"/other/"}
    assert process(moved, validate(moved)) == (200, "processed")


def test_an_update_that_forgets_them_is_refused(aws: Emulator, deploy: Deploy) -> None:
    suffix = "rules-2"
    deploy(aws, suffix, authorization="none", **RULES)
    with pytest.raises(UsageError, match=r"permissions_boundary from .* to none"):
        deploy(aws, suffix, authorization="none", log_retention_days=30)
