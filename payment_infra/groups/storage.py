"""The transactions table, and the table that is active: this one, or one that was restored."""

from dataclasses import dataclass

from troposphere import Condition, Equals, If, Not, Sub
from troposphere.dynamodb import (
    AttributeDefinition,
    GlobalSecondaryIndex,
    KeySchema,
    PointInTimeRecoverySpecification,
    Projection,
    SSESpecification,
    Table,
)

from payment_infra.config import StackConfig
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.retention import stateful
from payment_infra.names import (
    DELETION_PROTECTION,
    IN_FLIGHT_INDEX,
    TRANSACTIONS,
    TRANSACTIONS_TABLE_OVERRIDE,
)
from payment_infra.naming import arn_of, parameter, suffixed

OVERRIDE_CONDITION = "Restored"
PROTECTION_CONDITION = "Protected"


@dataclass(frozen=True)
class Storage:
    """The stack's own table, and the name and ARNs of the one that everything else works on.

    made_arn is arn for what comes after the table, as its backups do: it refers to the resource.
    """

    table: Table
    conditions: dict[str, Condition]
    name: If
    arn: If
    made_arn: If
    index_arn: Sub


def build_storage(config: StackConfig, encryption: Encryption) -> Storage:
    """Build the table: on-demand, recoverable to a point in time, with the index of payments
    that are in flight (sparse: only such items have the key).

    Where it is to be protected, a parameter says from when: a rollback cannot delete a table that
    is ("Using deletion protection"), and one that a failed creation left would keep its name.
    """
    by_key = encryption.by("KMSMasterKeyId")
    encrypted = (
        {"SSESpecification": SSESpecification(SSEEnabled=True, SSEType="KMS", **by_key)}
        if by_key
        else {}
    )
    table = Table(
        "TransactionsTable",
        **stateful(config),
        TableName=suffixed(TRANSACTIONS),
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            AttributeDefinition(AttributeName="transaction_id", AttributeType="S"),
            AttributeDefinition(AttributeName="in_flight", AttributeType="S"),
            AttributeDefinition(AttributeName="lease_expires_at", AttributeType="N"),
        ],
        KeySchema=[KeySchema(AttributeName="transaction_id", KeyType="HASH")],
        GlobalSecondaryIndexes=[
            GlobalSecondaryIndex(
                IndexName=IN_FLIGHT_INDEX,
                KeySchema=[
                    KeySchema(AttributeName="in_flight", KeyType="HASH"),
                    KeySchema(AttributeName="lease_expires_at", KeyType="RANGE"),
                ],
                Projection=Projection(ProjectionType="KEYS_ONLY"),
            )
        ],
        PointInTimeRecoverySpecification=PointInTimeRecoverySpecification(
            PointInTimeRecoveryEnabled=True, RecoveryPeriodInDays=config.recovery_days
        ),
        DeletionProtectionEnabled=(
            If(PROTECTION_CONDITION, True, False) if config.deletion_protection else False
        ),
        **encrypted,
    )
    override = parameter(TRANSACTIONS_TABLE_OVERRIDE)
    override_arn = Sub(
        "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}"
        f":table/${{{TRANSACTIONS_TABLE_OVERRIDE}}}"
    )
    conditions = {OVERRIDE_CONDITION: Not(Equals(override, ""))}
    if config.deletion_protection:
        conditions[PROTECTION_CONDITION] = Equals(parameter(DELETION_PROTECTION), "true")
    # By its name where grants have to be there before the table changes (see `template.py`).
    own_arn = (
        arn_of("dynamodb", f"table/{TRANSACTIONS}") if encryption.key else table.get_att("Arn")
    )
    arn = If(OVERRIDE_CONDITION, override_arn, own_arn)
    made_arn = If(OVERRIDE_CONDITION, override_arn, table.get_att("Arn"))
    return Storage(
        table=table,
        conditions=conditions,
        name=If(OVERRIDE_CONDITION, override, table.ref()),
        arn=arn,
        made_arn=made_arn,
        index_arn=Sub(f"${{TableArn}}/index/{IN_FLIGHT_INDEX}", TableArn=arn),
    )
