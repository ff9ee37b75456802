"""The daily backups of the active table by AWS Backup: vault, plan, what it selects, and the role.

They are kept apart from the table: what deletes that, or its account's DynamoDB backups, does not
reach them. A plan needs AWS Backup's advanced features for DynamoDB, and opts the account in to
them by itself; continuous backups are not for DynamoDB, whose point-in-time recovery goes on beside
this ("Advanced DynamoDB backup", "Feature availability by resource").
"""

from dataclasses import dataclass

from awacs import backup, dynamodb, kms, sts
from awacs.aws import (
    Allow,
    Bool,
    Condition,
    ForAnyValueStringEquals,
    PolicyDocument,
    Principal,
    Statement,
    StringEquals,
)
from troposphere import Join, Select, Split, StackId, Sub
from troposphere.backup import (
    BackupPlan,
    BackupPlanResourceType,
    BackupRuleResourceType,
    BackupSelection,
    BackupSelectionResourceType,
    BackupVault,
    CopyActionResourceType,
    LifecycleResourceType,
    LockConfigurationType,
)
from troposphere.iam import ManagedPolicy, Role

from payment_infra.config import StackConfig
from payment_infra.groups.encryption import USE, Encryption, service_name
from payment_infra.groups.retention import RETAIN, RETAIN_EXCEPT_ON_CREATE
from payment_infra.groups.storage import Storage
from payment_infra.names import TRANSACTIONS
from payment_infra.naming import arn_of, suffixed

# Every day at 03:00 UTC; a job that has not begun an hour later is given up (AWS Backup's own
# windows are 8 hours to begin and 7 days to end).
SCHEDULE = "cron(0 3 * * ? *)"
START_MINUTES = 60
# How the copy that a restore makes is named: by its moment (see `copy_name` of the journal).
OF_A_MOMENT = "-????????T??????Z"
# How AWS Backup names a backup that is not continuous: a UUID (API, DescribeRecoveryPoint).
RECOVERY_POINT = "-".join("?" * length for length in (8, 4, 4, 4, 12))
# This region and account, as ARNs have them.
HERE = "${AWS::Region}:${AWS::AccountId}"


@dataclass(frozen=True)
class Backup:
    """What makes the backups, and what keeps them."""

    vault: BackupVault
    role: Role
    policy: ManagedPolicy
    plan: BackupPlan
    selection: BackupSelection


def build_backup(config: StackConfig, encryption: Encryption, storage: Storage) -> Backup | None:
    """Build the backups of the active table, None where there are to be none."""
    if not config.backup:
        return None
    vault = _build_vault(config, encryption)
    policy = _build_policy(config, encryption, storage, vault)
    role = Role(
        "BackupRole",
        # Without a condition, as AWS Backup documents none for this call: what it says of
        # aws:SourceAccount ("Cross-service confused deputy prevention") is of topics and keys, and
        # a role can be passed within its own account only (IAM, "Grant a user permissions to pass a
        # role to an AWS service").
        AssumeRolePolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                Statement(
                    Effect=Allow,
                    Principal=Principal("Service", "backup.amazonaws.com"),
                    Action=[sts.AssumeRole],
                )
            ],
        ),
        ManagedPolicyArns=[policy.ref()],
    )
    plan = BackupPlan(
        "BackupPlan",
        BackupPlan=BackupPlanResourceType(
            BackupPlanName=suffixed("payment-backups"),
            BackupPlanRule=[_build_rule(config, vault)],
        ),
    )
    return Backup(
        vault=vault,
        role=role,
        policy=policy,
        plan=plan,
        selection=BackupSelection(
            "PaymentBackupSelection",
            BackupPlanId=plan.ref(),
            # Another table makes another selection: none of its properties can be changed.
            BackupSelection=BackupSelectionResourceType(
                SelectionName=suffixed(TRANSACTIONS),
                IamRoleArn=role.get_att("Arn"),
                Resources=[storage.made_arn],
            ),
        ),
    )


def _build_vault(config: StackConfig, encryption: Encryption) -> BackupVault:
    """Build the vault, which is kept with what is in it whatever becomes of the stack.

    Its name ends in a part of the stack's id, so that one that was kept is in nobody's way: backups
    are found by their table, in any vault. It begins with another word where the key is the
    stack's: a vault takes no other key, and another vault takes another name.
    """
    own = Select(0, Split("-", Select(2, Split("/", StackId))))
    by_key, lock = {}, {}
    if encryption.key:
        # From its beginning: a vault cannot come to a key later (AWS::Backup::BackupVault,
        # EncryptionKeyArn). A new one has nothing that a rollback could make unreadable.
        by_key["EncryptionKeyArn"] = encryption.key.get_att("Arn")
    if config.backup_lock_days:
        # Without a ChangeableForDays who may can take it away again ("AWS Backup Vault Lock").
        lock["LockConfiguration"] = LockConfigurationType(MinRetentionDays=config.backup_lock_days)
    return BackupVault(
        "BackupVault",
        DeletionPolicy=RETAIN_EXCEPT_ON_CREATE,
        UpdateReplacePolicy=RETAIN,
        BackupVaultName=Join("-", [suffixed("vault" if encryption.key else "backups"), own]),
        **by_key,
        **lock,
    )


def _build_rule(config: StackConfig, vault: BackupVault) -> BackupRuleResourceType:
    lifecycle = LifecycleResourceType(DeleteAfterDays=config.backup_days)
    copies = {}
    if config.backup_copy_vault:
        copies["CopyActions"] = [
            CopyActionResourceType(
                DestinationBackupVaultArn=config.backup_copy_vault, Lifecycle=lifecycle
            )
        ]
    return BackupRuleResourceType(
        RuleName="daily",
        TargetBackupVault=vault.ref(),
        ScheduleExpression=SCHEDULE,
        StartWindowMinutes=START_MINUTES,
        Lifecycle=lifecycle,
        **copies,
    )


def _build_policy(
    config: StackConfig, encryption: Encryption, storage: Storage, vault: BackupVault
) -> ManagedPolicy:
    """Build what AWS Backup may do: of its own policies AWSBackupServiceRolePolicyForBackup and
    AWSBackupServiceRolePolicyForRestores what DynamoDB needs, for this environment's tables.

    Left out is what is for backups without the advanced features, which DynamoDB makes and restores
    itself (CreateBackup, DescribeBackup, DeleteBackup, RestoreTableFromBackup), and GetResources,
    which finds resources by their tags ("Troubleshooting AWS Backup").
    """
    copies = arn_of("dynamodb", f"table/{TRANSACTIONS}", OF_A_MOMENT)
    target = config.backup_copy_vault
    statements = [
        Statement(
            Sid="BackUpPayments",
            Effect=Allow,
            Action=[
                dynamodb.DescribeTable,
                dynamodb.ListTagsOfResource,
                dynamodb.StartAwsBackupJob,
            ],
            Resource=[storage.arn],
        ),
        # A job fails without it where the table has tags ("Troubleshooting AWS Backup",
        # "Troubleshoot creating resources"): a backup has those of its table.
        Statement(
            Sid="TagBackups",
            Effect=Allow,
            Action=[backup.TagResource],
            Resource=[_recovery_points(place) for place in (HERE, *_places(target))],
        ),
        Statement(
            Sid="ReadVaults",
            Effect=Allow,
            Action=[backup.DescribeBackupVault],
            Resource=[vault.get_att("BackupVaultArn"), *([target] if target else [])],
        ),
        Statement(
            Sid="RestorePayments",
            Effect=Allow,
            Action=[
                dynamodb.RestoreTableFromAwsBackup,
                dynamodb.BatchWriteItem,
                dynamodb.DeleteItem,
                dynamodb.DescribeTable,
                dynamodb.GetItem,
                dynamodb.PutItem,
                dynamodb.Query,
                dynamodb.Scan,
                dynamodb.UpdateItem,
            ],
            Resource=[copies],
        ),
        *_use_key(encryption),
        *_copy_into(target, encryption),
    ]
    return ManagedPolicy(
        "BackupPolicy",
        # Another one, or none, would replace the policy (AWS::IAM::ManagedPolicy).
        Description="What AWS Backup may do with the payments.",
        PolicyDocument=PolicyDocument(Version="2012-10-17", Statement=statements),
    )


def _places(vault: str) -> tuple[str, ...]:
    """Return the region and account of a vault's ARN as ARNs have them, none for no vault."""
    return (":".join(vault.split(":")[3:5]),) if vault else ()


def _recovery_points(place: str) -> Sub:
    return Sub(f"arn:${{AWS::Partition}}:backup:{place}:recovery-point:{RECOVERY_POINT}")


def _use_key(encryption: Encryption) -> list[Statement]:
    """What AWS Backup needs of the key of tables and vault, as its own policies have it.

    The two make their conditions for data and grants; DescribeKey, which tells of the key, has
    none. The key's own policy wants grants to be made by a service (`encryption.py`).
    """
    if encryption.key is None:
        return []
    key = encryption.key.get_att("Arn")
    services = [service_name("backup"), service_name("dynamodb")]
    return [
        Statement(
            Sid="DescribeKey",
            Effect=Allow,
            Action=[kms.DescribeKey],
            Resource=[key],
        ),
        Statement(
            Sid="UseKey",
            Effect=Allow,
            Action=[action for action in USE if action != kms.DescribeKey],
            Resource=[key],
            Condition=Condition(StringEquals("kms:ViaService", services)),
        ),
        Statement(
            Sid="GrantKeyToServices",
            Effect=Allow,
            Action=[kms.CreateGrant],
            Resource=[key],
            Condition=Condition(Bool("kms:GrantIsForAWSResource", "true")),
        ),
    ]


def _copy_into(vault: str, encryption: Encryption) -> list[Statement]:
    """What AWS Backup needs to copy into a vault with a key that only the vault's owner knows
    ("Encryption for copies of a backup to a different account or AWS Region").

    A copy to another region begins with the key of the vault here, which is AWS Backup's own where
    the stack has none ("AWS Backup permissions, grants, and deny statements").
    """
    if not vault:
        return []
    keys = [Sub(f"arn:${{AWS::Partition}}:kms:{place}:key/*") for place in _places(vault)]
    own = Statement(
        Sid="DescribeKeyOfAWSBackup",
        Effect=Allow,
        Action=[kms.DescribeKey],
        Resource=[Sub(f"arn:${{AWS::Partition}}:kms:{HERE}:key/*")],
        Condition=Condition(
            ForAnyValueStringEquals("kms:ResourceAliases", "alias/aws/backup"),
        ),
    )
    return [
        *([] if encryption.key else [own]),
        Statement(
            Sid="CopyBackupsInto",
            Effect=Allow,
            Action=[backup.CopyIntoBackupVault],
            Resource=[vault],
        ),
        # AWS Backup's own policy has this for every resource.
        Statement(
            Sid="CopyBackupsFrom",
            Effect=Allow,
            Action=[backup.CopyFromBackupVault],
            Resource=["*"],
        ),
        Statement(
            Sid="DescribeKeyOfCopies",
            Effect=Allow,
            Action=[kms.DescribeKey],
            Resource=keys,
        ),
        Statement(
            Sid="GrantKeyOfCopiesToServices",
            Effect=Allow,
            Action=[kms.CreateGrant],
            Resource=keys,
            Condition=Condition(Bool("kms:GrantIsForAWSResource", "true")),
        ),
    ]
