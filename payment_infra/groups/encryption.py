"""The customer-managed key that encrypts what the stack stores, and who may use it."""

from dataclasses import dataclass

from awacs import kms
from awacs.aws import (
    Allow,
    ArnLike,
    Bool,
    Condition,
    ConditionElement,
    PolicyDocument,
    Principal,
    Statement,
    StringEquals,
)
from troposphere import AccountId, Sub
from troposphere.kms import Alias, Key

from payment_infra.config import StackConfig
from payment_infra.groups.retention import stateful
from payment_infra.names import ENCRYPTION_KEY, ENCRYPTION_KEY_NAME, KEY_NAME, STAGE_NAME
from payment_infra.naming import ALARM_ARNS, arn_of, suffixed

# The longest that there is: until then a deletion can be cancelled (KMS API, ScheduleKeyDeletion).
PENDING_WINDOW_DAYS = 30
# Who may do these can always give themselves the rest: without them the key could become
# unmanageable (KMS, "Default key policy", "Allows key administrators to administer the KMS key").
MANAGEMENT = (
    *(kms.CancelKeyDeletion, kms.CreateAlias, kms.DeleteAlias, kms.DescribeKey, kms.DisableKey),
    *(kms.DisableKeyRotation, kms.EnableKey, kms.EnableKeyRotation, kms.GetKeyPolicy),
    *(kms.GetKeyRotationStatus, kms.ListGrants, kms.ListKeyPolicies, kms.ListKeyRotations),
    *(kms.ListResourceTags, kms.PutKeyPolicy, kms.RetireGrant, kms.RevokeGrant),
    *(kms.RotateKeyOnDemand, kms.ScheduleKeyDeletion, kms.TagResource, kms.UntagResource),
    *(kms.UpdateAlias, kms.UpdateKeyDescription),
)
# What a service does with a key for data (Amazon DynamoDB, "DynamoDB encryption at rest usage
# notes", "Authorizing use of your customer managed key", without the wildcards).
USE = (
    *(kms.Decrypt, kms.DescribeKey, kms.Encrypt, kms.GenerateDataKey),
    *(kms.GenerateDataKeyWithoutPlaintext, kms.ReEncryptFrom, kms.ReEncryptTo),
)
# Who publishes to a topic (Amazon SNS, "Managing Amazon SNS encryption keys and costs"), or sends
# to a queue (Amazon SQS, "Key management").
SEND = (kms.Decrypt, kms.GenerateDataKey)
# The services that use the key for whoever calls them. Those that keep using it when nobody calls
# have a grant for that: DynamoDB, Lambda for the variables of its functions, and AWS Backup for
# what is in its vault ("Encryption for backups in AWS Backup").
SERVICES = ("backup", "dynamodb", "lambda", "sns", "sqs")
GRANTED_SERVICES = ("backup", "dynamodb", "lambda")
# The stack's log groups that have a suffixed name.
LOG_GROUPS = (
    *("/aws/lambda/payment-validation", "/aws/lambda/payment-processing"),
    *("/aws/lambda/payment-lookup", "/aws/lambda/payment-cancellation"),
    *("/aws/lambda/payment-retry", "/aws/lambda/health-monitor"),
    *("/aws/apigateway/payment-api", "aws-waf-logs-payment-api"),
)
# That of a function which a stack need not have.
GATEWAY_EVENTS_LOG_GROUP = "/aws/lambda/payment-gateway-events"


@dataclass(frozen=True)
class Encryption:
    """The key and its alias; without them, what is stored is encrypted with keys of AWS.

    So it is with them, too, where encrypts is False.
    """

    key: Key | None
    alias: Alias | None
    encrypts: bool = True

    def by(self, name: str) -> dict[str, object]:
        """Return the property of this name that takes the ARN of the key, none if it encrypts
        nothing."""
        return {name: self.key.get_att("Arn")} if self.key and self.encrypts else {}


def build_encryption(config: StackConfig, *, encrypts: bool = True) -> Encryption:
    """Build the key, if it is asked for: rotated every year, and kept wherever data is kept.

    Its alias is how it is found again once the stack is gone, and is kept for that.

    Args:
        config: says whether there is a key.
        encrypts: whether it is used yet. The rollback of an update deletes a key that the update
            has made, and takes back who may use it: nothing may be encrypted with it by then.
    """
    if not config.customer_key:
        return Encryption(None, None)
    key = Key(
        ENCRYPTION_KEY,
        **stateful(config),
        Description=Sub("Encrypts what ${AWS::StackName} stores."),
        EnableKeyRotation=True,
        PendingWindowInDays=PENDING_WINDOW_DAYS,
        KeyPolicy=PolicyDocument(
            Version="2012-10-17",
            Statement=[*_account_statements(), _alarms_statement(), _logs_statement(config)],
        ),
    )
    alias = Alias(
        ENCRYPTION_KEY_NAME,
        **stateful(config),
        AliasName=suffixed(KEY_NAME),
        TargetKeyId=key.ref(),
    )
    return Encryption(key, alias, encrypts)


def _account_statements() -> tuple[Statement, ...]:
    """What the account's own policies may allow its principals: to manage the key, and to use it
    through a service, never by itself."""
    account = Principal("AWS", Sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root"))
    return (
        _allow("ManageKey", account, MANAGEMENT),
        _allow("UseThroughServices", account, USE, _through(SERVICES)),
        # "Allows key users to use the key with AWS services" (KMS, "Default key policy").
        _allow(
            "GrantToServices",
            account,
            (kms.CreateGrant,),
            Bool("kms:GrantIsForAWSResource", "true"),
            _through(GRANTED_SERVICES),
        ),
    )


def _through(services: tuple[str, ...]) -> StringEquals:
    """Return what holds for a call that one of these services makes for the account's caller (KMS,
    "AWS KMS condition keys", kms:ViaService; AWS managed keys have both, too)."""
    return StringEquals(
        {
            "kms:CallerAccount": AccountId,
            "kms:ViaService": [service_name(service) for service in services],
        }
    )


def service_name(service: str) -> Sub:
    """Return how a service in this region is called, for a principal or kms:ViaService."""
    return Sub(f"{service}.${{AWS::Region}}.${{AWS::URLSuffix}}")


def _alarms_statement() -> Statement:
    """Amazon SNS, "Managing Amazon SNS encryption keys and costs", "Enable compatibility between
    event sources from AWS services and encrypted topics"."""
    return _allow(
        "AlarmsOfThisAccount",
        Principal("Service", "cloudwatch.amazonaws.com"),
        SEND,
        StringEquals("aws:SourceAccount", AccountId),
        ArnLike("aws:SourceArn", Sub(ALARM_ARNS)),
    )


def _logs_statement(config: StackConfig) -> Statement:
    """Amazon CloudWatch Logs, "Encrypt log data in CloudWatch Logs using AWS KMS".

    The execution log is named for the API, whichever that is: a key that outlives its stack is
    imported by the next one as it is, before there is an API.
    """
    execution_log = Sub(
        "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:"
        f"API-Gateway-Execution-Logs_*/{STAGE_NAME}"
    )
    own = (*LOG_GROUPS, *([GATEWAY_EVENTS_LOG_GROUP] if config.gateway_events else []))
    groups = [*(arn_of("logs", f"log-group:{name}") for name in own), execution_log]
    return _allow(
        "LogGroupsOfThisStack",
        Principal("Service", service_name("logs")),
        USE,
        ArnLike("kms:EncryptionContext:aws:logs:arn", groups),
    )


def _allow(
    sid: str, principal: Principal, actions: tuple[object, ...], *conditions: ConditionElement
) -> Statement:
    """Return a statement of the key's policy, in which "*" is the key ("Key policies in KMS")."""
    when = {"Condition": Condition(list(conditions))} if conditions else {}
    return Statement(
        Sid=sid, Effect=Allow, Principal=principal, Action=list(actions), Resource=["*"], **when
    )
