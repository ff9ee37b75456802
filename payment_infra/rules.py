"""What a setting's value may be: patterns and limits, each with its source, and rules made of them.

A rule returns what is wrong with a value, or None.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from typing import Any

# The longest names that AWS allows for what carries the suffix, by base name (the services' quotas
# pages; API Gateway's and DynamoDB's limits are far longer).
NAME_LIMITS = {
    "payment-validation": 64,
    "payment-processing": 64,
    "payment-lookup": 64,
    "payment-cancellation": 64,
    "payment-retry": 64,
    "payment-gateway-events": 64,
    "payment-dependencies": 140,
    "health-monitor": 64,
    "health-monitor-schedule": 64,
    "failed-transactions": 80,
    "failed-transactions-dlq": 80,
    "payment-alarms": 256,
    "payment-dashboard": 255,
    "transactions": 255,
    "dynamodb-index-throttle": 255,
    "payment-infra": 128,
}
MAX_SUFFIX_LENGTH = min(30, *(limit - len(base) - 1 for base, limit in NAME_LIMITS.items()))
SUFFIX_PATTERN = r"^[a-z0-9](-?[a-z0-9])*$"

# The values that a log group's RetentionInDays takes (CloudWatch Logs API, PutRetentionPolicy).
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
# Lambda's Python runtimes that the handlers are written for.
RUNTIMES = ("python3.11", "python3.12", "python3.13", "python3.14")
ARCHITECTURES = ("arm64", "x86_64")
# The parts of a host's name, as botocore has it (`botocore.utils.validate_region_name`).
REGION_PATTERN = r"^$|^(?![0-9]+$)(?!-)[a-zA-Z0-9-]{1,63}(?<!-)$"
# CloudFormation API, CreateChangeSet, StackName.
STACK_NAME_PATTERN = r"^[a-zA-Z][-a-zA-Z0-9]{0,127}$"
# Amazon S3, "General purpose bucket naming rules".
BUCKET_PATTERN = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
EMAIL_PATTERN = r"^$|^[^@\s]+@[^@\s]+\.[^@\s]+$"
# A class of the handlers: the module's dotted name, and its own. Or one of a file's, which is a
# module, too.
GATEWAY_PATTERN = (
    r"(?a)^handlers\.shared(\.[a-z_][a-z0-9_]*)+:[A-Z][A-Za-z0-9]*$"
    r"|^([^\x00-\x1f\x7f]*[/\\])?[A-Za-z_]\w*\.py:[A-Za-z_]\w*$"
)
FILE_PATTERN = r"^[^\x00-\x1f\x7f]*$"
# AWS Secrets Manager, "Determine access to secrets": an ARN ends in six random characters.
SECRET_ARN_PATTERN = (
    r"(?a)^$|^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\w/+=.@-]+-[A-Za-z0-9]{6}$"
)
# IAM, "IAM identifiers": a policy of the account, or one that AWS manages.
POLICY_ARN_PATTERN = r"(?a)^$|^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[\w+=,.@/-]{1,512}$"
# IAM API, CreateRole: a path has 512 characters at most.
ROLE_PATH_PATTERN = r"^/$|^/[!-.0-~]+(/[!-.0-~]+)*/$"
MAX_ROLE_PATH_LENGTH = 512
# IAM API, CreateRole: a name has 64 characters at most. What follows the prefix takes up to 40.
ROLE_PREFIX_PATTERN = r"(?a)^$|^[\w+=,.@-]{1,24}$"
ACCOUNT_PATTERN = r"^[0-9]{12}$"
# Amazon EC2: an id is its prefix with 8 or 17 hexadecimal digits ("Resource IDs").
VPC_ENDPOINT_PATTERN = r"^vpce-[0-9a-f]{8}([0-9a-f]{9})?$"
SUBNET_PATTERN = r"^subnet-[0-9a-f]{8}([0-9a-f]{9})?$"
SECURITY_GROUP_PATTERN = r"^sg-[0-9a-f]{8}([0-9a-f]{9})?$"
# RFC 1035, and API Gateway, "Custom domain name for public REST APIs": lower case only.
DOMAIN_PATTERN = r"^$|^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$"
CERTIFICATE_ARN_PATTERN = r"^$|^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$"
# API Gateway, "How to turn on mutual TLS authentication for your REST APIs".
TRUSTSTORE_PATTERN = r"^$|^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S+$"
# AWS Backup API, CreateBackupVault: a vault's name has 2 to 50 characters.
VAULT_ARN_PATTERN = (
    r"^$|^arn:aws[a-z-]*:backup:[a-z0-9-]+:[0-9]{12}:backup-vault:[a-zA-Z0-9_.-]{2,50}$"
)
# AWS Backup API, PutBackupVaultLockConfiguration: the longest retention that can be asked for.
MAX_BACKUP_DAYS = 36_500
# The strictest of the services: the pattern is IAM's (API, Tag), which reserves aws: for keys and
# values ("Tags for IAM resources"); an alarm and a dashboard take no empty value (CloudFormation's
# schemas). A resource has 50 tags at most; some are left to the tags of the stack itself.
TAG_PATTERN = r"^[\w .:/=+@-]+$"
MAX_TAG_KEY_LENGTH = 128
MAX_TAG_VALUE_LENGTH = 256
MAX_TAGS = 40
# How many retries the queue's event source lets run at once. What is reserved for the function is
# not to be less (Lambda, "Configuring maximum concurrency for SQS event sources").
RETRIES_AT_ONCE = 5
# As long as a canary's alarms need to fire, until a period is over, measured and evaluated; and
# as long as CodeDeploy lets one last ("CodeDeploy quotas", Lambda canary).
MIN_CANARY_MINUTES = 5
MAX_CANARY_MINUTES = 2880
# A slip of the keyboard is caught here; the account's own quota is what really limits.
MAX_LIMIT = 1_000_000
# AWS X-Ray API, SamplingRule: a name has 1 to 32 characters.
SAMPLING_RULE_PATTERN = r"^[A-Za-z0-9_.-]{0,32}$"
# What a rate-based rule of AWS WAF counts over, by default, and the least and most that it takes as
# its limit (AWS re:Post, "How do I use AWS WAF to apply rate-based rules on an API Gateway REST
# API?").
FIREWALL_WINDOW_SECONDS = 300
FIREWALL_LIMITS = (10, 2_000_000_000)

Tags = Mapping[str, str]
# Several values of one setting, in the order in which they were given.
Values = tuple[str, ...]
Rule = Callable[[Any], str | None]


def check_suffix(value: str) -> str | None:
    """Say what is wrong with an environment suffix, or None."""
    if not value:
        return "must not be empty"
    if len(value) > MAX_SUFFIX_LENGTH:
        return (
            f"has {len(value)} characters, at most {MAX_SUFFIX_LENGTH} are allowed"
            " (it becomes part of names that AWS limits)"
        )
    if not re.fullmatch(SUFFIX_PATTERN, value):
        return "must be lower-case letters and digits, with single dashes between them"
    return None


def one_of(*allowed: object) -> Rule:
    """Return the rule that a value is one of these."""

    def check(value: object) -> str | None:
        return None if value in allowed else f"must be one of {', '.join(map(str, allowed))}"

    return check


def check_limit(value: int) -> str | None:
    """Say what is wrong with a number of requests, or None."""
    return None if 1 <= value <= MAX_LIMIT else f"must be from 1 to {MAX_LIMIT}"


def between(low: int, high: int) -> Rule:
    """Return the rule that a number is not outside of these."""

    def check(value: int) -> str | None:
        return None if low <= value <= high else f"must be from {low} to {high}"

    return check


def nothing_or(low: int, high: int) -> Rule:
    """Return the rule that a number is 0, which means off, or not outside of these."""

    def check(value: int) -> str | None:
        return None if value == 0 or low <= value <= high else f"must be 0, or from {low} to {high}"

    return check


def each(rule: Rule) -> Rule:
    """Return the rule that each of several values keeps a rule, and none comes twice."""

    def check(values: Values) -> str | None:
        if len(set(values)) < len(values):
            return "has the same value twice"
        return next((f"has {v!r}, which {rule(v)}" for v in values if rule(v)), None)

    return check


def matching(pattern: str, meaning: str) -> Rule:
    """Return the rule that a text matches a pattern, which means this."""

    def check(value: str) -> str | None:
        return None if re.fullmatch(pattern, value) else f"must be {meaning}"

    return check


def check_profile(name: str) -> str | None:
    """Say what is wrong with the name of a profile, or None."""
    return None if name == name.strip() and name.isprintable() else "must be a profile's name"


def check_role_path(path: str) -> str | None:
    """Say what is wrong with the path of the roles, or None."""
    if len(path) > MAX_ROLE_PATH_LENGTH:
        return f"has {len(path)} characters, at most {MAX_ROLE_PATH_LENGTH} are allowed"
    if not re.fullmatch(ROLE_PATH_PATTERN, path, re.ASCII):
        return "must begin and end with a slash, such as /payments/"
    return None


def check_cidr(value: str) -> str | None:
    """Say what is wrong with a range of addresses, or None."""
    problem = "must be a range of addresses, such as 203.0.113.0/24 or 2001:db8::/32"
    if "/" not in value:
        return problem
    try:
        ip_network(value)
    except ValueError as error:
        return f"{problem} ({error})" if "host bits" in str(error) else problem
    return None


def check_tag_key(key: str) -> str | None:
    """Say what is wrong with the key of a tag, or None."""
    if len(key) > MAX_TAG_KEY_LENGTH or not _is_tag_text(key):
        return (
            "must be 1 to 128 letters, digits, spaces and _ . : / = + - @, not all of them spaces, "
            "and not begin with aws:"
        )
    return None


def check_tags(tags: Tags) -> str | None:
    """Say what is wrong with the tags for every resource, or None."""
    for key, value in tags.items():
        if problem := check_tag_key(key):
            return f"has the key {key!r}, which {problem}"
        if len(value) > MAX_TAG_VALUE_LENGTH or not _is_tag_text(value):
            return (
                f"has {key}={value}: a value has 1 to 256 letters, digits, spaces and "
                "_ . : / = + - @, not all of them spaces, and does not begin with aws:"
            )
    if alike := same_key(tags, ()):
        return f"has the keys {' and '.join(alike)}, which are one to IAM; give one of them"
    return None if len(tags) <= MAX_TAGS else f"has {len(tags)} tags, at most {MAX_TAGS} fit"


def same_key(keys: Iterable[str], others: Iterable[str]) -> tuple[str, str] | None:
    """Return two of these keys of tags, or one and another, that differ in case alone.

    To IAM they are one ("Tags for IAM resources": case sensitivity), and a role that has both is
    refused: "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    """
    seen = {key.casefold(): key for key in others}
    for key in keys:
        first = seen.setdefault(key.casefold(), key)
        if first != key:
            return first, key
    return None


def _is_tag_text(text: str) -> bool:
    taken = re.fullmatch(TAG_PATTERN, text) and text.strip()
    return bool(taken) and not text.casefold().startswith("aws:")
