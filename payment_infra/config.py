"""The stack's configuration: every field with its rule, and the presets."""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

# The longest names that AWS allows for what carries the suffix, by base name (the services' quotas
# pages; API Gateway's and DynamoDB's limits are far longer).
NAME_LIMITS = {
    "payment-validation": 64,
    "payment-processing": 64,
    "payment-retry": 64,
    "payment-dependencies": 140,
    "health-monitor": 64,
    "health-monitor-schedule": 64,
    "failed-transactions": 80,
    "failed-transactions-dlq": 80,
    "payment-alarms": 256,
    "payment-dashboard": 255,
    "transactions": 255,
    "dynamodb-index-throttle": 255,
    "health-monitor-throttles": 255,
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
# Amazon S3, "General purpose bucket naming rules".
BUCKET_PATTERN = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
EMAIL_PATTERN = r"^$|^[^@\s]+@[^@\s]+\.[^@\s]+$"
# A class of the handlers: the module's dotted name, and its own.
GATEWAY_PATTERN = r"^handlers\.shared(\.[a-z_][a-z0-9_]*)+:[A-Z][A-Za-z0-9]*$"
SIMULATED_GATEWAY = "handlers.shared.gateway:SimulatedGateway"
# What a person may call a gateway instead of its class.
GATEWAY_NAMES = {"simulated": SIMULATED_GATEWAY}
NO_NAMES: Mapping[str, str] = {}
# AWS Secrets Manager, "Determine access to secrets": an ARN ends in six random characters.
SECRET_ARN_PATTERN = (
    r"^$|^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\w/+=.@-]+-[A-Za-z0-9]{6}$"
)
# Tag restrictions of AWS: "Tag naming limits and requirements".
TAG_PATTERN = r"^[\w .:/=+@-]*$"
MAX_TAGS = 40
# A slip of the keyboard is caught here; the account's own quota is what really limits.
MAX_LIMIT = 1_000_000

Tags = Mapping[str, str]
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


def _one_of(*allowed: object) -> Rule:
    def check(value: object) -> str | None:
        return None if value in allowed else f"must be one of {', '.join(map(str, allowed))}"

    return check


def _check_limit(value: int) -> str | None:
    return None if 1 <= value <= MAX_LIMIT else f"must be from 1 to {MAX_LIMIT}"


def _matching(pattern: str, meaning: str) -> Rule:
    def check(value: str) -> str | None:
        return None if re.fullmatch(pattern, value) else f"must be {meaning}"

    return check


def _check_tags(tags: Tags) -> str | None:
    for key, value in tags.items():
        if key == "Environment" or key.lower().startswith("aws:") or not 1 <= len(key) <= 128:
            return f"has the key {key!r}: 1 to 128 characters, not Environment, not aws:..."
        if len(value) > 256 or not re.fullmatch(TAG_PATTERN, key + value):
            return f"has {key}={value}: letters, digits, spaces and _ . : / = + - @, at most 256"
    return None if len(tags) <= MAX_TAGS else f"has {len(tags)} tags, at most {MAX_TAGS} fit"


def gateway_name(gateway: str) -> str:
    """Return what a person calls a gateway class: simulated, or the class itself."""
    return next((name for name, path in GATEWAY_NAMES.items() if path == gateway), gateway)


def _setting(
    default: object,
    meaning: str,
    rule: Rule | None = None,
    *,
    kept: bool = False,
    names: Mapping[str, str] = NO_NAMES,
) -> Any:
    return field(default=default, metadata=_metadata(meaning, rule, kept=kept, names=names))


def _metadata(
    meaning: str,
    rule: Rule | None = None,
    *,
    kept: bool = False,
    names: Mapping[str, str] = NO_NAMES,
) -> Mapping[str, object]:
    """Return what is known of a setting.

    Args:
        meaning: the flag's help.
        rule: says what is wrong with a value, or None.
        kept: whether money, access or protection hang on it: an update never takes it back to a
            default that nobody named.
        names: what a value may be called, to the value.
    """
    return {"help": meaning, "rule": rule, "kept": kept, "names": names}


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """Everything that shapes the template; the defaults are the preset `development`.

    preset says where the values come from that nobody gave; it is recorded, and changes nothing.
    """

    preset: str = "development"
    suffix: str = _setting("", "Environment suffix: part of every physical name.", check_suffix)
    bucket: str = _setting(
        "",
        "S3 bucket that holds the zips.",
        _matching(BUCKET_PATTERN, "a bucket name: 3 to 63 lower-case letters, digits, dots, -"),
    )
    authorization: str = _setting(
        "iam",
        "Who may call the POST methods: iam (SigV4) or none.",
        _one_of("iam", "none"),
        kept=True,
    )
    payment_access: str = _setting(
        "caller",
        "Who may process a payment: the caller that validated it, or any principal of its account.",
        _one_of("caller", "account"),
        kept=True,
    )
    runtime: str = _setting("python3.13", "Lambda runtime.", _one_of(*RUNTIMES))
    architecture: str = _setting("arm64", "Lambda architecture.", _one_of(*ARCHITECTURES))
    gateway: str = _setting(
        SIMULATED_GATEWAY,
        "Class of the payment gateway, or simulated.",
        _matching(GATEWAY_PATTERN, "simulated, or handlers.shared.MODULE:CLASS"),
        kept=True,
        names=GATEWAY_NAMES,
    )
    gateway_secret: str = _setting(
        "",
        "ARN of the secret that the payment gateway is given.",
        _matching(SECRET_ARN_PATTERN, "the whole ARN of a secret of AWS Secrets Manager"),
        kept=True,
    )
    alarm_email: str = _setting(
        "", "Address subscribed to the alarms.", _matching(EMAIL_PATTERN, "an email address")
    )
    throttle_rate_limit: int = _setting(
        1000, "Requests a second that the API admits.", _check_limit
    )
    throttle_burst_limit: int = _setting(
        2000, "Requests that the API admits at once.", _check_limit
    )
    log_retention_days: int = _setting(7, "Days that logs are kept.", _one_of(*RETENTION_DAYS))
    manage_api_gateway_account: bool = _setting(
        True, "Make the region's CloudWatch role for API Gateway."
    )
    retain_data: bool = _setting(
        False, "Keep table, queues and logs when the stack is deleted.", kept=True
    )
    deletion_protection: bool = _setting(False, "Refuse to delete the table.", kept=True)
    termination_protection: bool = _setting(
        False, "Refuse to delete the stack (on `deploy`).", kept=True
    )
    tags: Tags = field(
        default_factory=dict,
        metadata=_metadata("Tag for every resource: KEY=VALUE.", _check_tags),
    )


PRESETS: Mapping[str, Mapping[str, object]] = {
    "development": {},
    "production": {
        "log_retention_days": 365,
        "retain_data": True,
        "deletion_protection": True,
        "termination_protection": True,
    },
}
# The settings: what has a flag, a variable and a key of its own.
FIELDS: Mapping[str, "Field[Any]"] = {f.name: f for f in fields(StackConfig) if f.name != "preset"}
KEPT = tuple(name for name, spec in FIELDS.items() if spec.metadata["kept"])
