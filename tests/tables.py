"""DynamoDB in memory, behind real boto3 clients: tables that know what they held at any moment.

It answers as the DynamoDB API Reference and "Point-in-time recovery: How it works" say: a restore
gives the rows and the indexes of a moment, and loses recovery, tags and deletion protection. So
does one from a backup, which the deletion of a table with recovery leaves ("Using DynamoDB backup
and restore").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.expressions import Item
from tests.items import IN_FLIGHT, NUMBERS, ItemCalls
from tests.stacks import ACCOUNT, REGION, Answer, Refused

# When what was written for a key; None: its row was deleted.
Write = tuple[datetime, str, Item | None]

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
# How far the newest moment is behind.
BEHIND = timedelta(minutes=5)
KEPT = timedelta(days=35)
# The key that AWS manages for DynamoDB in the account.
AWS_MANAGED = "arn:aws:kms:eu-central-1:123456789012:key/aws-dynamodb"


@dataclass
class FakeTable(ItemCalls):
    """A table. `looks` is how often its status is still seen, `unseen` how often nothing."""

    name: str
    indexes: list[Answer] = field(default_factory=lambda: [IN_FLIGHT])
    tags: dict[str, str] = field(default_factory=dict)
    # What is read of the tags, which may be what they were before.
    seen: dict[str, str] = field(default_factory=dict)
    stale: int = 0
    key: str = "transaction_id"
    range_key: str = ""
    protected: bool = False
    recovery_since: datetime | None = None
    recovery_days: int = 35
    # The ARN of a key of AWS KMS, "" for a key of DynamoDB's own.
    encrypted_by: str = ""
    source: str = ""
    status: str = "ACTIVE"
    looks: int = 0
    unseen: int = 0
    too_early: int = 0  # requests for its recovery, for which it is not ready
    history: list[Write] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: START

    @property
    def arn(self) -> str:
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.name}"

    def encrypt(self, specification: Answer) -> None:
        """Encrypt the table as a request says: with this key, or the one that AWS manages."""
        self.encrypted_by = (
            specification.get("KMSMasterKeyId", AWS_MANAGED) if specification["Enabled"] else ""
        )

    def encryption(self) -> Answer:
        """Return what DescribeTable says of it: nothing of a key that is DynamoDB's own."""
        if not self.encrypted_by:
            return {}
        return {
            "SSEDescription": {
                "Status": "ENABLED",
                "SSEType": "KMS",
                "KMSMasterKeyArn": self.encrypted_by,
            }
        }

    def write(self, at: datetime, key: str, row: Item | None) -> None:
        """Have a row since a moment; None: not any more."""
        self.history.append((at, key, row))

    def store(self, name: str, item: Item | None) -> None:
        self.write(self.clock(), name, item)

    def visible(self, *, consistent: bool) -> dict[str, Item]:
        """Return all rows, or for a read that is not consistent, what was before the last write."""
        return self.rows() if consistent else _replayed(self.history[:-1])

    def rows(self, at: datetime | None = None) -> dict[str, Item]:
        """Return the rows of a moment, by their keys."""
        if at is None:
            return _replayed(self.history)
        return _replayed([one for one in self.history if one[0] <= at])

    def become(self, status: str, looks: int = 1) -> None:
        self.status, self.looks = status, looks


@dataclass
class FakeBackup:
    """A backup of DynamoDB's own; `number` is the order in which they are listed."""

    table: FakeTable
    made_at: datetime
    number: int
    kind: str = "USER"
    status: str = "AVAILABLE"

    @property
    def arn(self) -> str:
        return (
            f"{self.table.arn}/backup/{int(self.made_at.timestamp() * 1000):014}-{self.number:08}"
        )

    def summary(self) -> Answer:
        """Return it as ListBackups has it."""
        return {
            "TableName": self.table.name,
            "TableArn": self.table.arn,
            "BackupArn": self.arn,
            "BackupName": f"{self.table.name}$DeletedTableBackup",
            "BackupCreationDateTime": self.made_at,
            "BackupStatus": self.status,
            "BackupType": self.kind,
            "BackupSizeBytes": 100 * len(self.table.rows(self.made_at)),
        }


@dataclass
class FakeTables:
    """The service. Every second read of a batch leaves half of it for another call."""

    now: datetime = START
    tables: dict[str, FakeTable] = field(default_factory=dict)
    backups: list[FakeBackup] = field(default_factory=list)
    names_per_page: int = 100
    rows_per_page: int = 3
    # What a new copy is like.
    creation_looks: int = 2
    unseen: int = 0
    too_early: int = 1
    _batches: int = 0

    def add(self, name: str, **more: Any) -> FakeTable:
        self.tables[name] = FakeTable(name, clock=lambda: self.now, **more)
        return self.tables[name]

    def back_up(self, table: FakeTable, kind: str = "USER", **more: Any) -> FakeBackup:
        """Make a backup of a table, as it is now."""
        made = FakeBackup(table, self.now, len(self.backups), kind, **more)
        self.backups.append(made)
        return made

    def remove(self, name: str) -> FakeBackup | None:
        """Take a table away; return the backup that its deletion leaves, None if it leaves none."""
        table = self.tables.pop(name)
        return self.back_up(table, "SYSTEM") if table.recovery_since else None

    def standing(self) -> dict[str, FakeTable]:
        """Return the tables that are not being deleted."""
        return {name: one for name, one in self.tables.items() if one.status != "DELETING"}

    def answers(self) -> Mapping[str, Callable[[Answer], Answer]]:
        """Return what FakeAws is to answer with."""
        return {
            "dynamodb:CreateTable": self._create,
            "dynamodb:ListTables": self._list,
            "dynamodb:DescribeTable": self._describe,
            "dynamodb:DescribeContinuousBackups": self._describe_recovery,
            "dynamodb:UpdateContinuousBackups": self._update_recovery,
            "dynamodb:RestoreTableToPointInTime": self._restore,
            "dynamodb:ListBackups": self._list_backups,
            "dynamodb:DescribeBackup": self._describe_backup,
            "dynamodb:RestoreTableFromBackup": self._restore_from_backup,
            "dynamodb:UpdateTable": self._update,
            "dynamodb:DeleteTable": self._delete,
            "dynamodb:ListTagsOfResource": self._list_tags,
            "dynamodb:TagResource": self._tag,
            "dynamodb:UntagResource": self._untag,
            "dynamodb:Scan": self._scan,
            "dynamodb:GetItem": self._get,
            "dynamodb:BatchGetItem": self._batch_get,
            "dynamodb:PutItem": self._put,
            "dynamodb:UpdateItem": self._update_item,
            "dynamodb:DeleteItem": self._delete_item,
            "dynamodb:Query": self._query,
        }

    def _find(self, name: str, *, usable: bool = False) -> FakeTable:
        table = self.tables.get(name)
        if table is None or (usable and table.status in {"CREATING", "DELETING"}):
            raise Refused("ResourceNotFoundException", f"Table: {name} not found")
        return table

    def _of_arn(self, params: Answer, *, usable: bool = False) -> FakeTable:
        return self._find(params["ResourceArn"].rpartition("/")[2], usable=usable)

    def _create(self, params: Answer) -> Answer:
        if params["TableName"] in self.tables:
            raise Refused("ResourceInUseException", "Table already exists")
        keys = {one["KeyType"]: one["AttributeName"] for one in params["KeySchema"]}
        table = self.add(
            params["TableName"],
            indexes=[],
            key=keys["HASH"],
            range_key=keys.get("RANGE", ""),
            protected=params.get("DeletionProtectionEnabled", False),
            tags={one["Key"]: one["Value"] for one in params.get("Tags", [])},
            unseen=self.unseen,
            too_early=self.too_early,
        )
        table.become("CREATING", self.creation_looks)
        return {}

    def _list(self, params: Answer) -> Answer:
        after = params.get("ExclusiveStartTableName", "")
        names = [name for name in sorted(self.tables) if name > after]
        page = names[: self.names_per_page]
        last = {"LastEvaluatedTableName": page[-1]} if len(names) > len(page) else {}
        return {"TableNames": page, **last}

    def _describe(self, params: Answer) -> Answer:
        table = self._find(params["TableName"])
        if table.unseen:
            table.unseen -= 1
            raise Refused("ResourceNotFoundException", "Requested resource not found")
        if table.looks:
            table.looks -= 1
        elif table.status == "DELETING":
            self.remove(table.name)
            raise Refused("ResourceNotFoundException", "Requested resource not found")
        else:
            table.status = "ACTIVE"
        description: Answer = {
            "TableName": table.name,
            "TableArn": table.arn,
            "TableStatus": table.status,
            "KeySchema": [
                {"AttributeName": name, "KeyType": kind}
                for name, kind in zip(table.keys, ("HASH", "RANGE"), strict=False)
            ],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": "N" if name in NUMBERS else "S"}
                for name in table.key_attributes()
            ],
            "GlobalSecondaryIndexes": [
                {**one, "IndexStatus": "ACTIVE", "ItemCount": 0} for one in table.indexes
            ],
            "DeletionProtectionEnabled": table.protected,
            **table.encryption(),
            "ItemCount": 0,
            "TableSizeBytes": 0,
        }
        if table.source:
            arn = FakeTable(table.source).arn
            description["RestoreSummary"] = {"SourceTableArn": arn, "RestoreInProgress": False}
        return {"Table": description}

    def window(self, table: FakeTable) -> tuple[datetime, datetime]:
        """Return the first and the last moment to which a table can be restored."""
        assert table.recovery_since is not None
        earliest = max(table.recovery_since, self.now - KEPT)
        return earliest, max(earliest, self.now - BEHIND)

    def _describe_recovery(self, params: Answer) -> Answer:
        if params["TableName"] not in self.tables:
            raise Refused("TableNotFoundException", f"Table not found: {params['TableName']}")
        table = self.tables[params["TableName"]]
        recovery: Answer = {"PointInTimeRecoveryStatus": "DISABLED"}
        if table.recovery_since:
            earliest, latest = self.window(table)
            recovery = {
                "PointInTimeRecoveryStatus": "ENABLED",
                "RecoveryPeriodInDays": table.recovery_days,
                "EarliestRestorableDateTime": earliest,
                "LatestRestorableDateTime": latest,
            }
        status = {"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery}
        return {"ContinuousBackupsDescription": status}

    def _update_recovery(self, params: Answer) -> Answer:
        table = self._find(params["TableName"], usable=True)
        if table.too_early:
            table.too_early -= 1
            raise Refused("ContinuousBackupsUnavailableException", "Backups are being enabled")
        wanted = params["PointInTimeRecoverySpecification"]
        if wanted["PointInTimeRecoveryEnabled"]:
            table.recovery_since = table.recovery_since or self.now
            table.recovery_days = wanted.get("RecoveryPeriodInDays", 35)
        return {}

    def _restore(self, params: Answer) -> Answer:
        source, name = self.tables[params["SourceTableName"]], params["TargetTableName"]
        at = params["RestoreDateTime"]
        self._check_free(name)
        if source.recovery_since is None:
            raise Refused("PointInTimeRecoveryUnavailableException", "not enabled")
        earliest, latest = self.window(source)
        if not earliest <= at <= latest:
            raise Refused("InvalidRestoreTimeException", f"{at} is not within the window")
        self.make_copy(source, name, at).encrypt(params["SSESpecificationOverride"])
        return {}

    def _check_free(self, name: str) -> None:
        if name in self.tables:
            raise Refused("TableAlreadyExistsException", f"Table already exists: {name}")

    def make_copy(self, source: FakeTable, name: str, at: datetime) -> FakeTable:
        """Begin to make a table of what another one held at a moment."""
        copy = self.add(
            name,
            indexes=list(source.indexes),
            key=source.key,
            range_key=source.range_key,
            source=source.name,
            unseen=self.unseen,
            too_early=self.too_early,
        )
        copy.become("CREATING", self.creation_looks)
        copy.history = [(self.now, key, row) for key, row in source.rows(at).items()]
        return copy

    def _list_backups(self, params: Answer) -> Answer:
        wanted = {"ALL": {"USER", "SYSTEM"}}.get(params["BackupType"], {params["BackupType"]})
        after = params.get("ExclusiveStartBackupArn")
        found = [
            one
            for one in self.backups
            if one.table.name == params["TableName"] and one.kind in wanted
        ]
        start = next((place for place, one in enumerate(found, 1) if one.arn == after), 0)
        page = found[start : start + self.rows_per_page]
        last = {"LastEvaluatedBackupArn": page[-1].arn} if found[start:] != page else {}
        return {"BackupSummaries": [one.summary() for one in page], **last}

    def _find_backup(self, params: Answer) -> FakeBackup:
        for one in self.backups:
            if one.arn == params["BackupArn"]:
                return one
        raise Refused("BackupNotFoundException", f"Backup not found: {params['BackupArn']}")

    def _describe_backup(self, params: Answer) -> Answer:
        found = self._find_backup(params)
        names = ("TableName", "TableArn")
        summary = found.summary()
        details = {key: value for key, value in summary.items() if key not in names}
        source = {key: summary[key] for key in names}
        return {"BackupDescription": {"BackupDetails": details, "SourceTableDetails": source}}

    def _restore_from_backup(self, params: Answer) -> Answer:
        backup, name = self._find_backup(params), params["TargetTableName"]
        self._check_free(name)
        if backup.status != "AVAILABLE":
            raise Refused("BackupInUseException", f"Backup is {backup.status}")
        copy = self.make_copy(backup.table, name, backup.made_at)
        copy.encrypt(params["SSESpecificationOverride"])
        return {}

    def _update(self, params: Answer) -> Answer:
        table = self._settled(params["TableName"])
        if "SSESpecification" in params:
            table.encrypt(params["SSESpecification"])
        else:
            table.protected = params["DeletionProtectionEnabled"]
        table.become("UPDATING")
        return {}

    def _delete(self, params: Answer) -> Answer:
        table = self._settled(params["TableName"])
        if table.protected:
            raise Refused("ValidationException", "Deletion protection is enabled")
        table.become("DELETING", 5)
        return {}

    def _settled(self, name: str) -> FakeTable:
        table = self._find(name)
        if table.status != "ACTIVE":
            raise Refused("ResourceInUseException", f"Table is being {table.status}: {name}")
        return table

    def _list_tags(self, params: Answer) -> Answer:
        table, start = self._of_arn(params), int(params.get("NextToken", "0"))
        if not start:
            table.seen = table.seen if table.stale else dict(table.tags)
            table.stale = max(0, table.stale - 1)
        tags = table.seen
        page = [{"Key": key, "Value": tags[key]} for key in sorted(tags)[start : start + 3]]
        return {"Tags": page, **({"NextToken": str(start + 3)} if len(tags) > start + 3 else {})}

    def _tag(self, params: Answer) -> Answer:
        table = self._of_arn(params, usable=True)
        table.stale = 2
        for tag in params["Tags"]:
            if tag["Key"].startswith("aws:"):
                raise Refused("ValidationException", "aws: prefixed tag key names are not allowed")
            table.tags[tag["Key"]] = tag["Value"]
        return {}

    def _untag(self, params: Answer) -> Answer:
        table = self._of_arn(params, usable=True)
        table.stale = 2
        for key in params["TagKeys"]:
            table.tags.pop(key, None)
        return {}

    def _scan(self, params: Answer) -> Answer:
        return self._usable(params).scan(params, self.rows_per_page)

    def _query(self, params: Answer) -> Answer:
        return self._usable(params).query(params, self.rows_per_page)

    def _get(self, params: Answer) -> Answer:
        return self._usable(params).get_item(params)

    def _put(self, params: Answer) -> Answer:
        return self._usable(params).put_item(params)

    def _update_item(self, params: Answer) -> Answer:
        return self._usable(params).update_item(params)

    def _delete_item(self, params: Answer) -> Answer:
        return self._usable(params).delete_item(params)

    def _batch_get(self, params: Answer) -> Answer:
        [(name, wanted)] = params["RequestItems"].items()
        keys = wanted["Keys"]
        assert 1 <= len(keys) <= 100
        self._batches += 1
        now = keys[: (len(keys) + 1) // 2] if self._batches % 2 else keys
        table = self._find(name, usable=True)
        found = table.get_items(now, consistent=wanted.get("ConsistentRead", False))
        left = {name: {**wanted, "Keys": keys[len(now) :]}} if len(now) < len(keys) else {}
        return {"Responses": {name: found}, "UnprocessedKeys": left}

    def _usable(self, params: Answer) -> FakeTable:
        return self._find(params["TableName"], usable=True)


def _replayed(history: list[Write]) -> dict[str, Item]:
    """Return the rows after these writes, by their keys."""
    found = {key: row for _, key, row in sorted(history, key=lambda one: one[0])}
    return {key: row for key, row in found.items() if row is not None}
