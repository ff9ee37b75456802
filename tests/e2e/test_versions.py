"""Published versions on the embedded AWS: payments through `live`, restores, and moving to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.names import LIVE
from tests.e2e.harness import Deployed, Program, process, until, validate

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

SUFFIX = "versions-1"
OWN = f"transactions-{SUFFIX}"
CONCURRENCIES = [f"{name}_concurrency" for name in ("validation", "processing", "retry", "health")]
FUNCTIONS = ("Validation", "Processing", "Retry", "HealthMonitor")


@pytest.fixture(scope="module")
def deployed(aws: Emulator, deploy: Deploy) -> Deployed:
    return deploy(aws, SUFFIX, authorization="none", versions=True, snap_start=True)


def with_recovery(deployed: Deployed, table: str) -> None:
    # The emulator takes this from no template.
    deployed.session.client("dynamodb").update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def live(deployed: Deployed, function: str) -> Any:
    """Return the configuration of what `live` names."""
    name = deployed.stack.physical_ids()[f"{function}Function"]
    return deployed.session.client("lambda").get_function_configuration(
        FunctionName=name, Qualifier=LIVE
    )


def names(deployed: Deployed) -> dict[str, str]:
    return {function: live(deployed, function)["Version"] for function in FUNCTIONS}


def tables_of_live(deployed: Deployed) -> set[str]:
    return {
        live(deployed, function)["Environment"]["Variables"]["TRANSACTIONS_TABLE"]
        for function in FUNCTIONS
    }


def test_a_payment_goes_through_the_versions_that_live_names(deployed: Deployed) -> None:
    assert names(deployed) == dict.fromkeys(FUNCTIONS, "1")
    assert process(deployed, validate(deployed)) == "Payment processed successfully"
    assert deployed.api().call("GET", "health").status == 200


def test_the_event_source_invokes_live(deployed: Deployed) -> None:
    ids = deployed.stack.physical_ids()
    source = deployed.session.client("lambda").get_event_source_mapping(
        UUID=ids["RetryEventSource"]
    )
    assert source["FunctionArn"].endswith(f":payment-retry-{SUFFIX}:{LIVE}")
    sqs, queue = deployed.session.client("sqs"), ids["FailedTransactionsQueue"]
    paid = validate(deployed)
    message = (
        '{"version": 1, "operation": "process", "transaction_id": "%s", "reason": "gateway",'
        ' "request_id": "r", "first_failed_at": "2026-01-01T00:00:00+00:00"}'
    )
    sqs.send_message(QueueUrl=queue, MessageBody=message % paid)
    table = deployed.session.client("dynamodb")

    def status() -> bool:
        item = table.get_item(TableName=OWN, Key={"transaction_id": {"S": paid}})["Item"]
        return bool(item["status"]["S"] == "processed")

    until(status)


def test_a_deployment_that_changes_no_function_publishes_none(
    aws: Emulator, deploy: Deploy, deployed: Deployed
) -> None:
    before = names(deployed)
    deploy(
        *(aws, SUFFIX),
        authorization="none",
        versions=True,
        snap_start=True,
        alarm_email="ops@example.com",
    )
    assert names(deployed) == before


def test_a_restore_and_its_undo_move_live(
    aws: Emulator, deployed: Deployed, tmp_path: Path
) -> None:
    with_recovery(deployed, OWN)
    program = Program(aws.url, tmp_path)
    paid = validate(deployed)
    restore = ("restore", "--suffix", SUFFIX, "--yes", "--drain", "0")
    result = program(*restore, "--to", "latest")
    assert result.returncode == 0, result.stderr
    copy = deployed.stack.outputs()["TransactionsTableName"]
    assert copy != OWN
    assert tables_of_live(deployed) == {copy}
    assert process(deployed, paid) == "Payment processed successfully"
    result = program(*restore, "--undo")
    assert result.returncode == 0, result.stderr
    assert tables_of_live(deployed) == {OWN}
    assert process(deployed, paid) == "Transaction already processed"


def test_a_stack_without_versions_gets_them_and_keeps_its_payments(
    aws: Emulator, deploy: Deploy
) -> None:
    suffix = "versions-2"
    before = deploy(aws, suffix, authorization="none")
    paid, open_payment = validate(before), validate(before)
    process(before, paid)
    after = deploy(aws, suffix, authorization="none", versions=True)
    assert names(after) == dict.fromkeys(FUNCTIONS, "1")
    assert process(after, paid) == "Transaction already processed"
    assert process(after, open_payment) == "Payment processed successfully"
    back = deploy(aws, suffix, authorization="none", versions=False)
    assert process(back, validate(back)) == "Payment processed successfully"


def test_of_old_versions_the_last_stays(aws: Emulator, deploy: Deploy) -> None:
    suffix = "versions-3"
    for runtime in ("python3.12", "python3.13", "python3.14"):
        deployed = deploy(aws, suffix, authorization="none", versions=True, runtime=runtime)
    assert names(deployed) == dict.fromkeys(FUNCTIONS, "3")
    pages = deployed.session.client("lambda").get_paginator("list_versions_by_function")
    for function in FUNCTIONS:
        name = deployed.stack.physical_ids()[f"{function}Function"]
        found = [
            one["Version"] for page in pages.paginate(FunctionName=name) for one in page["Versions"]
        ]
        assert sorted(found) == ["$LATEST", "2", "3"]


def test_production_over_a_development_stack_keeps_its_payments_and_replaces_no_data(
    aws: Emulator, deploy: Deploy
) -> None:
    suffix = "versions-4"
    before = deploy(aws, suffix, authorization="none")
    paid, open_payment = validate(before), validate(before)
    process(before, paid)
    held = ("TransactionsTable", "FailedTransactionsQueue", "FailedTransactionsDLQ")
    ids = before.stack.physical_ids()
    after = deploy(
        *(aws, suffix),
        preset="production",
        gateway="simulated",
        # What is reserved is the account's, which other tests share.
        **dict.fromkeys(CONCURRENCIES, 0),
        authorization="none",
        termination_protection=False,
    )
    now = after.stack.physical_ids()
    assert {name: now[name] for name in held} == {name: ids[name] for name in held}
    assert process(after, paid) == "Transaction already processed"
    assert process(after, open_payment) == "Payment processed successfully"
    assert process(after, validate(after)) == "Payment processed successfully"
