"""Which backups AWS has of a table, which of them is meant, and the copy that is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.artifacts import code_keys
from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.events import Caution, Event
from payment_infra.cloud.restoring import backups, copy
from payment_infra.cloud.restoring.backups import Backup, begin, choose, find_backups
from payment_infra.cloud.restoring.encryption import Encryption
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import StackConfig
from payment_infra.errors import AwsError, UsageError
from payment_infra.rendering import document
from payment_infra.template import build_template
from tests.aws import ACCOUNT, REGION, FakeAws, FakeStack, Refused
from tests.tables import START, FakeTables

if TYPE_CHECKING:
    from tests.stacks import Answer

TABLE, COPY = "transactions-dev", "transactions-dev-20261124T114500Z"
TABLE_ARNS = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table"
HOUR = timedelta(hours=1)
KEY = "arn:aws:kms:eu-central-1:123456789012:key/k-1"
POINT = f"arn:aws:backup:{REGION}:{ACCOUNT}:recovery-point:1eb3b5e7"
ROW = {"transaction_id": {"S": "kept"}}


class Account:
    """An account with a table, what AWS Backup has of it, and who works with that."""

    def __init__(self) -> None:
        self.aws, self.tables = FakeAws(), FakeTables()
        self.told: list[Event] = []
        self.points: list[Answer] = []
        self.job_statuses = ["PENDING", "RUNNING", "RUNNING", "COMPLETED"]
        self.own = self.tables.add(TABLE, recovery_since=START - HOUR)
        self.own.write(START - HOUR, "kept", ROW)
        self.aws.answers |= {
            **self.tables.answers(),
            "backup:ListRecoveryPointsByResource": self._list_points,
            "backup:GetRecoveryPointRestoreMetadata": {
                "RestoreMetadata": {"encryptionType": "Default"}
            },
            "backup:StartRestoreJob": {"RestoreJobId": "job-1"},
            "backup:DescribeRestoreJob": self._describe_job,
        }
        self.session = self.aws.session()
        self.client: Any = self.session.client("dynamodb")

    def _list_points(self, params: Answer) -> Answer:
        assert params["ResourceArn"] == self.own.arn
        start = int(params.get("NextToken", "0"))
        more = {"NextToken": str(start + 1)} if len(self.points) > start + 1 else {}
        return {"RecoveryPoints": self.points[start : start + 1], **more}

    def _describe_job(self, params: Answer) -> Answer:
        assert params == {"RestoreJobId": "job-1"}
        status = self.job_statuses.pop(0)
        if len(self.job_statuses) == 1:  # before it ends there is a table
            self.tables.make_copy(self.own, COPY, START)
        return {"Status": status, "StatusMessage": "the role may not be assumed"}

    def sleep(self, seconds: float) -> None:
        self.tables.now += timedelta(seconds=seconds)

    def find(self) -> list[Backup]:
        return find_backups(self.session, TABLE, self.told.append)

    def delete(self) -> None:
        """Delete the table, and wait until it is gone."""
        self.client.delete_table(TableName=TABLE)
        copy.await_deletion(self.client, TABLE, self.sleep)


@pytest.fixture
def account() -> Account:
    return Account()


def point(made_at: datetime, arn: str = POINT, status: str = "COMPLETED") -> Answer:
    return {
        "RecoveryPointArn": arn,
        "CreationDate": made_at,
        "Status": status,
        "BackupSizeBytes": 7,
        "BackupVaultName": "Default",
    }


def backup(number: int, status: str = "AVAILABLE") -> Backup:
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TABLE}/backup/{number}"
    return Backup(arn, TABLE, "USER", START - number * HOUR, status)


def test_every_backup_is_found_the_newest_first(account: Account) -> None:
    for _ in range(5):  # more than a page
        account.tables.back_up(account.own)
        account.tables.now += HOUR
    account.points = [point(START + 1.5 * HOUR), point(START - HOUR, arn=f"{POINT}-2")]
    account.delete()
    found = account.find()
    assert [one.kind for one in found] == [
        *("SYSTEM", "USER", "USER", "USER", "AWS_BACKUP", "USER", "USER", "AWS_BACKUP")
    ]
    assert found == sorted(found, key=lambda one: one.made_at, reverse=True)
    assert found[4] == Backup(
        POINT, TABLE, "AWS_BACKUP", START + 1.5 * HOUR, "COMPLETED", 7, "Default"
    )
    assert (found[0].size_bytes, found[0].vault, found[0].by_dynamodb) == (100, "", True)
    assert not found[4].by_dynamodb
    assert account.aws.changes() == ["dynamodb:DeleteTable"]


def test_a_backup_that_both_services_list_is_one(account: Account) -> None:
    own = account.tables.back_up(account.own)
    account.points = [point(START, arn=own.arn)]
    assert [(one.arn, one.kind) for one in account.find()] == [(own.arn, "USER")]


def test_backups_of_other_tables_are_none_of_this_one(account: Account) -> None:
    account.tables.back_up(account.tables.add("transactions-dev-2"))
    assert account.find() == []


@pytest.mark.parametrize("status", ["DELETED", "EXPIRED", "STOPPED", "PARTIAL", "DELETING"])
def test_what_can_never_be_restored_is_left_out(account: Account, status: str) -> None:
    account.tables.back_up(account.own, status=status)
    account.points = [point(START, status=status)]
    assert account.find() == []


def test_while_the_table_is_being_deleted_its_last_backup_is_waited_for(account: Account) -> None:
    account.tables.back_up(account.own)
    account.client.delete_table(TableName=TABLE)
    with pytest.raises(AwsError, match="is being deleted, and its last backup comes with the end"):
        account.find()


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnknownOperationException"])
def test_without_aws_backup_the_others_are_found_and_that_is_told(
    account: Account, code: str
) -> None:
    account.tables.back_up(account.own)
    account.aws.errors["backup:ListRecoveryPointsByResource"] = Refused(code, "no")
    assert [one.kind for one in account.find()] == ["USER"]
    [caution] = account.told
    assert isinstance(caution, Caution)
    assert caution.message.startswith("AWS Backup is left out, and may have newer backups: ")


def test_a_table_that_aws_backup_has_never_had_has_no_recovery_points(account: Account) -> None:
    refused = Refused("ResourceNotFoundException", "no")
    account.aws.errors["backup:ListRecoveryPointsByResource"] = refused
    assert (account.find(), account.told) == ([], [])


def test_another_failure_of_aws_backup_ends_the_search(account: Account) -> None:
    refused = Refused("InvalidParameterValueException", "no")
    account.aws.errors["backup:ListRecoveryPointsByResource"] = refused
    with pytest.raises(AwsError, match=f"the recovery points of {TABLE}"):
        account.find()


def test_the_latest_is_the_newest_and_an_arn_names_its_own() -> None:
    found = [backup(1), backup(2), backup(3, "CREATING")]
    assert choose(found, "latest") is found[0]
    assert choose(found, found[1].arn) is found[1]


def test_a_newest_backup_that_is_not_ready_is_not_passed_over() -> None:
    found = [backup(1, "CREATING"), backup(2)]
    with pytest.raises(AwsError, match=r"backup/1 is still CREATING; repeat the command once"):
        choose(found, "latest")
    with pytest.raises(AwsError, match=r"backup/1 is still CREATING"):
        choose(found, found[0].arn)
    assert choose(found, found[1].arn) is found[1]


@pytest.mark.parametrize("asked", ["", "newest", "arn:aws:dynamodb:x"])
def test_what_names_no_backup_is_refused_with_those_that_there_are(asked: str) -> None:
    found = [backup(number) for number in range(1, 8)]
    with pytest.raises(UsageError) as refused:
        choose(found, asked)
    message = str(refused.value)
    assert message.startswith(f"--from-backup {asked}: no backup of the table has this ARN")
    assert ("backup/1," in message, "backup/5 (" in message) == (True, True)
    assert ("backup/6" in message, "\n" in message) == (False, False)


@pytest.mark.parametrize("asked", ["latest", "arn:aws:dynamodb:x"])
def test_no_backup_at_all_says_what_leaves_one(asked: str) -> None:
    with pytest.raises(AwsError, match="neither DynamoDB nor AWS Backup has a backup"):
        choose([], asked)


def test_a_deleted_table_comes_back_as_it_was_when_it_was_deleted(account: Account) -> None:
    account.own.write(START, "last", {"transaction_id": {"S": "last"}})
    account.delete()
    begin(account.session, choose(account.find(), "latest"), COPY, Encryption(), account.sleep)
    list(copy.wait(account.client, COPY, account.sleep, lambda: account.tables.now))
    assert account.tables.tables[COPY].rows().keys() == {"kept", "last"}


def test_a_copy_waits_until_an_earlier_one_is_deleted(account: Account) -> None:
    account.tables.back_up(account.own)
    account.tables.add(COPY).become("DELETING", 3)
    begin(account.session, choose(account.find(), "latest"), COPY, Encryption(), account.sleep)
    assert account.tables.tables[COPY].status == "CREATING"


def test_a_recovery_point_of_aws_backup_is_restored_by_it(account: Account) -> None:
    account.points = [point(START)]
    begin(account.session, choose(account.find(), POINT), COPY, Encryption(), account.sleep)
    [asked] = account.aws.called("backup:GetRecoveryPointRestoreMetadata")
    assert asked == {"BackupVaultName": "Default", "RecoveryPointArn": POINT}
    [job] = account.aws.called("backup:StartRestoreJob")
    assert job == {
        "RecoveryPointArn": POINT,
        "Metadata": {"encryptionType": "Default", "targetTableName": COPY},
        "IamRoleArn": f"arn:aws:iam::{ACCOUNT}:role/service-role/AWSBackupDefaultServiceRole",
        "ResourceType": "DynamoDB",
    }
    assert account.tables.tables[COPY].status == "CREATING"
    assert account.job_statuses == ["COMPLETED"]  # what comes after that, copy.wait tells


def test_aws_backup_is_told_the_key_that_it_would_not_take_by_itself(account: Account) -> None:
    account.points = [point(START)]
    begin(account.session, choose(account.find(), POINT), COPY, Encryption(KEY), account.sleep)
    [job] = account.aws.called("backup:StartRestoreJob")
    assert job["Metadata"] == {
        "encryptionType": "KMS",
        "kmsMasterKeyArn": KEY,
        "targetTableName": COPY,
    }


@pytest.mark.parametrize(
    ("encryption", "specification"),
    [
        (Encryption(), {"Enabled": False}),
        (Encryption(KEY), {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}),
        (Encryption(KEY, by_aws=True), {"Enabled": True, "SSEType": "KMS"}),
    ],
)
def test_dynamodb_is_told_the_key_of_a_backup(
    account: Account, encryption: Encryption, specification: dict[str, object]
) -> None:
    account.tables.back_up(account.own)
    begin(account.session, choose(account.find(), "latest"), COPY, encryption, account.sleep)
    [asked] = account.aws.called("dynamodb:RestoreTableFromBackup")
    assert asked["SSESpecificationOverride"] == specification


def test_a_copy_that_has_another_key_gets_the_one_that_is_wanted(account: Account) -> None:
    account.tables.make_copy(account.own, COPY, START).become("ACTIVE")
    copy.bring_back(account.client, TABLE, COPY, Encryption(KEY), account.sleep)
    assert account.tables.tables[COPY].encrypted_by == KEY
    changes = len(account.aws.called("dynamodb:UpdateTable"))
    copy.bring_back(account.client, TABLE, COPY, Encryption(KEY), account.sleep)
    assert len(account.aws.called("dynamodb:UpdateTable")) == changes


def test_aws_backup_restores_with_the_stacks_own_role(account: Account) -> None:
    account.points = [point(START)]
    own = f"arn:aws:iam::{ACCOUNT}:role/payments/BackupRole-1"
    account.aws.answers["iam:GetRole"] = {"Role": {"Arn": own}}
    role = backups.role_of(environment_of(account, BackupRole="BackupRole-1"))
    begin(account.session, choose(account.find(), POINT), COPY, Encryption(), account.sleep, role)
    [job] = account.aws.called("backup:StartRestoreJob")
    assert job["IamRoleArn"] == own
    assert account.aws.called("iam:GetRole") == [{"RoleName": "BackupRole-1"}]
    assert backups.role_of(environment_of(account)) == ""


@pytest.mark.parametrize(
    ("selected", "told"),
    [
        ([TABLE, COPY], f"AWS Backup backs {COPY} up from now on."),
        (
            [TABLE],
            f"AWS Backup does not back {COPY} up: `payment-infra drift --suffix dev` shows why.",
        ),
    ],
)
def test_a_report_says_whether_the_backups_follow_the_table(
    account: Account, selected: list[str], told: str
) -> None:
    account.aws.answers |= {
        "backup:ListBackupSelections": {"BackupSelectionsList": [{"SelectionId": "one"}]},
        "backup:GetBackupSelection": {
            "CreationDate": START,
            "BackupSelection": {
                "SelectionName": "x",
                "IamRoleArn": "y",
                "Resources": [f"{TABLE_ARNS}/{it}" for it in selected],
            },
        },
    }
    environment = environment_of(account, BackupPlan="plan-1")
    assert backups.backed_up_lines(environment, COPY) == [told]
    assert account.aws.called("backup:GetBackupSelection") == [
        {"BackupPlanId": "plan-1", "SelectionId": "one"}
    ]
    assert backups.backed_up_lines(environment_of(account), COPY) == []
    account.aws.errors["backup:ListBackupSelections"] = Refused("AccessDeniedException")
    [line] = backups.backed_up_lines(environment, COPY)
    assert line.startswith(f"Whether AWS Backup backs {COPY} up could not be read: ")


def environment_of(account: Account, **resources: str) -> Environment:
    """Return an environment whose stack has these resources, logical id to physical id."""
    made = dict.fromkeys(resources, "CREATE_COMPLETE")
    stack = FakeStack("payment-infra-dev", resources=made, physical_ids=resources)
    account.aws.stacks[stack.name] = stack
    client = account.session.client("cloudformation")
    found = Stack(client, stack.name, account.sleep, "--suffix dev")
    state = found.state()
    assert state is not None
    return Environment(account.session, found, state)


@pytest.mark.parametrize("status", ["ABORTED", "FAILED"])
def test_a_restore_job_that_fails_says_why(account: Account, status: str) -> None:
    account.points = [point(START)]
    account.job_statuses = ["PENDING", status, "", ""]
    with pytest.raises(AwsError) as failed:
        begin(account.session, choose(account.find(), POINT), COPY, Encryption(), account.sleep)
    message = str(failed.value)
    assert f"is {status}: the role may not be assumed; AWS Backup works with the role" in message
    assert COPY not in account.tables.tables


def test_no_other_table_is_taken_for_the_copy_of_a_recovery_point(account: Account) -> None:
    account.points = [point(START)]
    account.tables.add(COPY)
    with pytest.raises(AwsError, match=f"there is a table {COPY} already"):
        begin(account.session, choose(account.find(), POINT), COPY, Encryption(), account.sleep)
    assert account.aws.called("backup:StartRestoreJob") == []


def test_a_copy_of_a_standing_table_gets_its_recovery_period(account: Account) -> None:
    account.own.recovery_days = 7
    account.tables.make_copy(account.own, COPY, START).become("ACTIVE")
    copy.bring_back(account.client, TABLE, COPY, Encryption(), account.sleep)
    made = account.tables.tables[COPY]
    assert (made.recovery_since is not None, made.recovery_days) == (True, 7)


def template(**settings: Any) -> Mapping[str, Any]:
    config = StackConfig(suffix="dev", **settings)
    found: Mapping[str, Any] = document(build_template(config, code_keys()))
    return found


def test_what_the_template_says_of_the_table_is_put_back_where_its_source_is_gone(
    account: Account,
) -> None:
    account.tables.back_up(account.own)
    account.delete()
    begin(account.session, choose(account.find(), "latest"), COPY, Encryption(), account.sleep)
    account.tables.tables[COPY].become("ACTIVE")
    described = template(deletion_protection=True, tags={"Team": "payments"})
    values = {"EnvironmentSuffix": "dev"}
    backups.bring_back_from_template(
        account.client, described, values, COPY, Encryption(), account.sleep
    )
    made = account.tables.tables[COPY]
    assert made.tags == {"Environment": "dev", "Team": "payments"}
    assert (made.protected, made.recovery_since is not None, made.recovery_days) == (True, True, 35)


def test_a_tag_that_cloudformation_does_not_answer_whole_is_left_out() -> None:
    described = template(tags={"Team": "Z?rich", "?quipe": "a", "Note": "ü"})
    assert backups.settings_of_template(described, {"EnvironmentSuffix": "dev"}).tags == {
        "Environment": "dev",
        "Note": "ü",
    }


def test_a_recovery_period_of_the_template_is_put_back() -> None:
    table = {"PointInTimeRecoverySpecification": {"RecoveryPeriodInDays": 9}}
    described = {"Resources": {"TransactionsTable": {"Properties": table}}}
    assert backups.settings_of_template(described, {}) == copy.Settings(recovery_days=9)


def test_moments_are_in_utc(account: Account) -> None:
    account.tables.back_up(account.own)
    account.points = [point(START + HOUR)]
    assert [one.made_at.tzinfo for one in account.find()] == [UTC, UTC]
