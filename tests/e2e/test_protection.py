"""What protects the data of a stack: how it comes to be, and that it keeps nobody from working."""

import json
from pathlib import Path
from typing import Any

from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.environment.stack_policy import POLICY
from payment_infra.cloud.events import STATEFUL_TYPES, Preview
from payment_infra.local.emulator import Emulator
from payment_infra.local.stack import open_session
from payment_infra.sources import resolve
from tests.e2e.conftest import Deploy
from tests.e2e.harness import PAYMENT, Program, run, settings_taken, until
from tests.operators import FakeOperator

# Several environments of production reserve more than the account has.
RESERVED = dict.fromkeys(
    (f"{name}_concurrency" for name in ("validation", "processing", "retry", "health")), 5
)
PRODUCTION: dict[str, Any] = {"preset": "production", "gateway": "simulated", **RESERVED}


def test_a_first_creation_of_production_that_fails_leaves_no_name_taken(
    aws: Emulator, tmp_path: Path
) -> None:
    """By CloudFormation alone: the template itself has to say what is undone."""
    session = open_session(aws)
    written = run(
        "payment-infra",
        *("render", "--preset", "production", "--gateway", "simulated", "--format", "json"),
        *("--suffix", "fails-1", "--bucket", "zips-1"),
        cwd=tmp_path,
        **settings_taken(),
    )
    assert written.returncode == 0, written.stderr
    template = json.loads(written.stdout)
    function = template["Resources"]["ValidationFunction"]["Properties"]
    missing = ["arn:aws:lambda:us-east-1:000000000000:layer:none:1"]
    template["Resources"]["Broken"] = {
        "Type": "AWS::Lambda::Function",
        "DependsOn": [name for name in template["Resources"] if "Alarm" not in name],
        "Properties": {**function, "FunctionName": "broken-1", "Layers": missing},
    }
    session.client("s3").create_bucket(Bucket="zips-1")
    session.client("s3").put_object(
        Bucket="zips-1", Key="template.json", Body=json.dumps(template).encode()
    )
    client = session.client("cloudformation")
    made = client.create_stack(
        StackName="fails-1",
        TemplateURL=f"{aws.url}/zips-1/template.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )["StackId"]

    def status() -> str:
        return str(client.describe_stacks(StackName=made)["Stacks"][0]["StackStatus"])

    until(lambda: not status().endswith("_IN_PROGRESS"))
    assert status() == "ROLLBACK_COMPLETE"
    pages = client.get_paginator("describe_stack_events").paginate(StackName=made)
    events = [one for page in pages for one in page["StackEvents"]]
    table = [one for one in events if one["LogicalResourceId"] == "TransactionsTable"]
    assert "CREATE_COMPLETE" in {one["ResourceStatus"] for one in table}
    left = {
        *session.client("dynamodb").list_tables()["TableNames"],
        *session.client("sqs").list_queues(QueueNamePrefix="failed-tr").get("QueueUrls", []),
        *(one["BackupVaultName"] for one in _vaults(session)),
        *(one["AliasName"] for one in session.client("kms").list_aliases()["Aliases"]),
        *(
            one["logGroupName"]
            for page in session.client("logs").get_paginator("describe_log_groups").paginate()
            for one in page["logGroups"]
        ),
        *(one["DashboardName"] for one in _dashboards(session)),
    }
    assert [name for name in left if "fails-1" in name] == []
    client.delete_stack(StackName=made)
    until(lambda: status() == "DELETE_COMPLETE")


def _vaults(session: Any) -> Any:
    return session.client("backup").list_backup_vaults()["BackupVaultList"]


def _dashboards(session: Any) -> Any:
    return session.client("cloudwatch").list_dashboards()["DashboardEntries"]


def test_development_becomes_production_with_every_payment_in_its_place(
    aws: Emulator, deploy: Deploy
) -> None:
    deployed = deploy(aws, "grows-1")
    api, dynamodb = deployed.api(), deployed.session.client("dynamodb")
    api.find_authorization()
    paid = []
    for number in range(5):
        answer = api.call("POST", "validate", {**PAYMENT, "customer_id": f"cust-{number}"})
        paid.append(str(answer.field("transaction_id")))
    for transaction_id in paid[:3]:
        assert api.call("POST", "process", {"transaction_id": transaction_id}).status == 200
    table = "transactions-grows-1"
    before = {one["transaction_id"]["S"]: one for one in dynamodb.scan(TableName=table)["Items"]}
    assert set(before) == set(paid)
    created = dynamodb.describe_table(TableName=table)["Table"]["CreationDateTime"]
    ids = deployed.stack.physical_ids()

    operator = FakeOperator()
    resolved = resolve({"suffix": "grows-1", **PRODUCTION}, settings_taken())
    # What would replace what holds data would be refused, as that is not allowed by name.
    options = DeployOptions(yes=True, allow=frozenset({"broaden"}))
    Deployment(deployed.session, deployed.stack, resolved, options, operator).run()

    [preview] = operator.of(Preview)
    assert [one.logical_id for one in preview.changes if one.loses_data] == []
    after = {one["transaction_id"]["S"]: one for one in dynamodb.scan(TableName=table)["Items"]}
    assert after == before
    described = dynamodb.describe_table(TableName=table)["Table"]
    assert (described["CreationDateTime"], described["DeletionProtectionEnabled"]) == (
        created,
        True,
    )
    now = deployed.stack.physical_ids()
    kept = [
        one["LogicalResourceId"]
        for one in deployed.stack.resources()
        if one["ResourceType"] in STATEFUL_TYPES and one["LogicalResourceId"] in ids
    ]
    assert len(kept) == 3
    assert {name: now[name] for name in kept} == {name: ids[name] for name in kept}
    assert deployed.stack.policy() == POLICY
    # What had been validated before is charged afterwards.
    last = api.call("POST", "process", {"transaction_id": paid[4]})
    assert (last.status, last.field("status")) == (200, "processed")


def test_production_is_created_and_then_protected_and_drift_and_status_agree(
    aws: Emulator, deploy: Deploy, tmp_path: Path
) -> None:
    deployed = deploy(aws, "safe-1", **PRODUCTION)
    dynamodb = deployed.session.client("dynamodb")
    table = "transactions-safe-1"
    assert dynamodb.describe_table(TableName=table)["Table"]["DeletionProtectionEnabled"] is True
    program = Program(aws.url, tmp_path, ("--suffix", "safe-1"))
    drift = program.json("drift")
    assert "TransactionsTable" not in {one["logical_id"] for one in drift["resources"]}
    unprotected = f"the table {table} can be deleted: its deletion protection is off"
    assert unprotected not in program("status").stderr
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    result = program("status")
    assert (result.returncode, unprotected in result.stderr) == (1, True)
    assert f"dynamodb update-table --deletion-protection-enabled --table-name {table}" in (
        result.stdout
    )
