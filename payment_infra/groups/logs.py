"""Log groups, with retention, made by the stack so that they go when it goes."""

from troposphere import Sub
from troposphere.logs import LogGroup

from payment_infra.config import StackConfig
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.retention import stateful
from payment_infra.names import LOG_RETENTION_DAYS
from payment_infra.naming import filled, parameter

# CloudWatch Logs, "CloudWatch Logs managed data identifiers for sensitive data types". No names,
# addresses and numbers of an IP: what tells callers apart is to be seen.
MASKED = (
    *("CreditCardNumber", "CreditCardExpiration", "CreditCardSecurityCode"),
    *("AwsSecretKey", "PkcsPrivateKey", "EmailAddress"),
)


def build_log_group(config: StackConfig, encryption: Encryption, title: str, name: Sub) -> LogGroup:
    """Build one log group; `name` is its physical name, which the key's policy has to admit.

    Its class is the default, STANDARD. The other one extracts no metrics from the functions' logs,
    and a class cannot be changed (Amazon CloudWatch Logs, "Log classes").
    """
    return LogGroup(
        title,
        **stateful(config),
        LogGroupName=name,
        RetentionInDays=parameter(LOG_RETENTION_DAYS),
        **({"DataProtectionPolicy": _protection()} if config.mask_logs else {}),
        **encryption.by("KmsKeyId"),
    )


def destination_arn(log_group: LogGroup) -> Sub:
    """Return the ARN of a log group as API Gateway and AWS WAF store it.

    The log group's own attribute ends in ":*". API Gateway drops that, and every detection of drift
    would find a difference (aws-cdk, "LogGroupLogDestination emits log group ARN with trailing
    `:*`, causing permanent Stage CFN drift").
    """
    return filled(
        "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${Group}",
        Group=log_group.ref(),
    )


def _protection() -> dict[str, object]:
    """Return the policy that masks what is sensitive and counts it in a metric: one statement each,
    with the same identifiers (CloudWatch Logs, "Understanding data protection policies")."""
    identifiers = [
        Sub(f"arn:${{AWS::Partition}}:dataprotection::aws:data-identifier/{name}")
        for name in MASKED
    ]
    operations: dict[str, object] = {
        "Audit": {"Audit": {"FindingsDestination": {}}},
        "Mask": {"Deidentify": {"MaskConfig": {}}},
    }
    return {
        "Name": "mask",
        "Version": "2021-06-01",
        "Statement": [
            {"Sid": sid, "DataIdentifier": identifiers, "Operation": operation}
            for sid, operation in operations.items()
        ],
    }
