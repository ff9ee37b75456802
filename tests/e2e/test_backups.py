"""The backups of a deleted table on the embedded AWS, which knows those made on demand.

It leaves none when a table is deleted, and AWS Backup has no recovery points there; both are shown
in tests/unit/restoring.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from payment_infra.cloud.restoring import backups, copy
from payment_infra.cloud.restoring.backups import begin, choose, find_backups
from payment_infra.cloud.restoring.encryption import Encryption
from payment_infra.errors import AwsError
from tests.e2e.harness import PAYMENT, Program

if TYPE_CHECKING:
    from payment_infra.local.emulator import Emulator
    from tests.e2e.conftest import Deploy

OWN = "transactions-backup-1"
COPY = f"{OWN}-20261124T114500Z"


def test_a_deleted_table_comes_back_from_a_backup_with_what_the_template_says(
    aws: Emulator, deploy: Deploy
) -> None:
    deployed = deploy(aws, "backup-1", authorization="none", tags={"Team": "payments"})
    session, sleep = deployed.session, deployed.stack.sleep
    client = session.client("dynamodb")
    with pytest.raises(AwsError, match="neither DynamoDB nor AWS Backup has a backup"):
        choose(find_backups(session, OWN, print), "latest")
    answer = deployed.api().call("POST", "validate", PAYMENT)
    arns = [
        client.create_backup(TableName=OWN, BackupName="on-demand")["BackupDetails"]["BackupArn"]
        for _ in range(2)
    ]
    client.delete_table(TableName=OWN)

    found = find_backups(session, OWN, print)
    assert [(one.kind, one.by_dynamodb) for one in found] == [("USER", True)] * 2
    assert {one.arn for one in found} == set(arns)
    begin(session, choose(found, arns[0]), COPY, Encryption(), sleep)
    list(copy.wait(client, COPY, sleep, lambda: datetime.now(UTC)))
    state = deployed.stack.state()
    assert state is not None
    template = deployed.stack.template()
    backups.bring_back_from_template(client, template, state.parameters, COPY, Encryption(), sleep)

    [row] = client.scan(TableName=COPY)["Items"]
    assert row["transaction_id"]["S"] == answer.field("transaction_id")
    table = client.describe_table(TableName=COPY)["Table"]
    assert [one["IndexName"] for one in table["GlobalSecondaryIndexes"]] == ["in-flight-index"]
    tags = client.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    assert {one["Key"]: one["Value"] for one in tags} == {
        "Environment": "backup-1",
        "Team": "payments",
    }
    recovery = client.describe_continuous_backups(TableName=COPY)["ContinuousBackupsDescription"]
    status = recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    assert status == "ENABLED"


def test_one_command_brings_payments_back_to_a_stack_whose_table_is_deleted(
    aws: Emulator, deploy: Deploy, tmp_path: Path
) -> None:
    deployed, program = deploy(aws, "backup-2", authorization="none"), Program(aws.url, tmp_path)
    named = ("--suffix", "backup-2")
    transaction_id = str(deployed.api().call("POST", "validate", PAYMENT).field("transaction_id"))
    client = deployed.session.client("dynamodb")
    client.create_backup(TableName="transactions-backup-2", BackupName="on-demand")
    client.delete_table(TableName="transactions-backup-2")

    shown = program("status", *named)
    assert shown.returncode == 1
    remedy = "payment-infra restore --from-backup latest --suffix backup-2"
    assert remedy in shown.stdout
    restore = (*remedy.split()[1:], "--yes", "--drain", "0")
    result = program(*restore)
    assert result.returncode == 0, result.stderr
    table = deployed.stack.outputs()["TransactionsTableName"]
    assert f"Payments are in {table}." in result.stdout
    # The backup is older than the deletion: what came of the payment since, nobody knows.
    row = client.get_item(TableName=table, Key={"transaction_id": {"S": transaction_id}})["Item"]
    assert "rewound" in row
    answer = deployed.api().call("POST", "process", {"transaction_id": transaction_id})
    assert (answer.status, answer.field("retry")) == (500, "queued")
    assert program("smoke", *named).returncode == 0
    assert program("status", *named).returncode == 0
