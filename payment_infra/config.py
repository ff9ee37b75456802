"""The stack's configuration: every field with its rule, and the presets."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from payment_infra.gateway_names import (
    GATEWAY_NAMES,
    SIMULATED_GATEWAY,
    is_own_gateway,
)
from payment_infra.names import CONCURRENCIES, GATEWAY_EVENTS_FUNCTION, PARAMETER_FIELDS
from payment_infra.rules import (
    ACCOUNT_PATTERN,
    ARCHITECTURES,
    BUCKET_PATTERN,
    CERTIFICATE_ARN_PATTERN,
    DOMAIN_PATTERN,
    EMAIL_PATTERN,
    FILE_PATTERN,
    FIREWALL_LIMITS,
    GATEWAY_PATTERN,
    MAX_BACKUP_DAYS,
    MAX_CANARY_MINUTES,
    MAX_LIMIT,
    MIN_CANARY_MINUTES,
    POLICY_ARN_PATTERN,
    RETENTION_DAYS,
    RETRIES_AT_ONCE,
    ROLE_PREFIX_PATTERN,
    RUNTIMES,
    SAMPLING_RULE_PATTERN,
    SECRET_ARN_PATTERN,
    SECURITY_GROUP_PATTERN,
    SUBNET_PATTERN,
    TRUSTSTORE_PATTERN,
    VAULT_ARN_PATTERN,
    VPC_ENDPOINT_PATTERN,
    Rule,
    Tags,
    between,
    check_cidr,
    check_limit,
    check_role_path,
    check_suffix,
    check_tag_key,
    check_tags,
    each,
    matching,
    nothing_or,
    one_of,
)

# How far back DynamoDB's point-in-time recovery reaches, at most and by default (DynamoDB API,
# PointInTimeRecoverySpecification).
RECOVERY_DAYS = 35
# What a reserved concurrency costs (Lambda, "Configuring reserved concurrency for a function").
RESERVES = "The account's other functions may run so many fewer at once, and this one no more."
NO_NAMES: Mapping[str, str] = {}


def _setting(
    default: object,
    meaning: str,
    rule: Rule | None = None,
    *,
    kept: bool = False,
    names: Mapping[str, str] = NO_NAMES,
    costs: str = "",
    is_path: Callable[[str], bool] | None = None,
) -> Any:
    """Return a setting.

    Args:
        default: what the preset `development` has.
        meaning: the flag's help.
        rule: says what is wrong with a value, or None.
        kept: whether money, access or protection hang on it: an update never takes it back to a
            default that nobody named.
        names: what a value may be called, to the value.
        costs: one sentence: what it costs, in money, time or freedom, "" for nothing to speak of.
        is_path: whether a value is the path of a file, which is relative to the configuration file
            that gives it. None: no value is.
    """
    return field(default=default, metadata=_metadata(meaning, rule, kept, names, costs, is_path))


def _metadata(
    meaning: str,
    rule: Rule | None,
    kept: bool = False,
    names: Mapping[str, str] = NO_NAMES,
    costs: str = "",
    is_path: Callable[[str], bool] | None = None,
) -> Mapping[str, object]:
    return {
        "help": meaning,
        "rule": rule,
        "kept": kept,
        "names": names,
        "costs": costs,
        "is_path": is_path,
    }


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
        matching(BUCKET_PATTERN, "a bucket name: 3 to 63 lower-case letters, digits, dots, -"),
    )

    # Who may call, and how.
    authorization: str = _setting(
        "iam",
        "Who may call the POST methods: iam (SigV4) or none.",
        one_of("iam", "none"),
        kept=True,
    )
    payment_access: str = _setting(
        "caller",
        "Who may process a payment: the caller that validated it, or any principal of its account.",
        one_of("caller", "account"),
        kept=True,
    )
    endpoint_type: str = _setting(
        "edge",
        "Where the API's endpoint is: edge (CloudFront), regional or private (a VPC).",
        one_of("edge", "regional", "private"),
        kept=True,
        costs="private needs VPC endpoints, each 0.01 USD an hour and Availability Zone, and "
        "0.01 USD a GB.",
    )
    endpoint_access_mode: str = _setting(
        "basic",
        "Whether a request must come in by the API's own endpoint and name: basic or strict.",
        one_of("basic", "strict"),
        kept=True,
        costs="With strict the endpoint's type cannot change, and the way back to basic takes the "
        "API away for some 15 minutes.",
    )
    allowed_accounts: tuple[str, ...] = _setting(
        (),
        "Accounts whose principals may call, too, if they are granted it there.",
        each(matching(ACCOUNT_PATTERN, "the 12 digits of an AWS account")),
        kept=True,
    )
    allowed_vpc_endpoints: tuple[str, ...] = _setting(
        (),
        "VPC endpoints, and no others, by which a private API may be called.",
        each(matching(VPC_ENDPOINT_PATTERN, "the id of a VPC endpoint, vpce-...")),
        kept=True,
    )
    vpc_endpoints: tuple[str, ...] = _setting(
        (),
        "VPC endpoints that get names for a private API, for VPCs without private DNS.",
        each(matching(VPC_ENDPOINT_PATTERN, "the id of a VPC endpoint, vpce-...")),
        kept=True,
    )
    allowed_cidrs: tuple[str, ...] = _setting(
        (),
        "Ranges of addresses, and no others, from which the API may be called.",
        each(check_cidr),
        kept=True,
    )
    domain_name: str = _setting(
        "",
        "Domain name of the API, as pay.example.com.",
        matching(DOMAIN_PATTERN, "a domain name in lower case, as pay.example.com"),
        kept=True,
    )
    domain_certificate: str = _setting(
        "",
        "ARN of the domain name's certificate: of the stack's region, of us-east-1 for edge.",
        matching(CERTIFICATE_ARN_PATTERN, "the ARN of a certificate of AWS Certificate Manager"),
        kept=True,
    )
    domain_truststore: str = _setting(
        "",
        "Certificates of those who sign clients' certificates (mutual TLS), as s3://BUCKET/KEY.",
        matching(TRUSTSTORE_PATTERN, "an object in S3, as s3://BUCKET/KEY"),
        kept=True,
        costs="The domain name takes the policy TLS_1_2, and no post-quantum key exchange.",
    )
    execute_api_endpoint: bool = _setting(
        True,
        "Let the API be called by API Gateway's own name, too.",
        kept=True,
    )
    health_access: str = _setting(
        "open",
        "Who may GET /health: everybody (open), the same without names (status), or signed "
        "requests of who is granted it (closed).",
        one_of("open", "status", "closed"),
        kept=True,
    )
    firewall: bool = _setting(
        False,
        "Filter the API's requests by AWS WAF.",
        kept=True,
        costs="10.00 USD a month, and 0.60 USD for a million requests.",
    )
    client_certificate: bool = _setting(
        False,
        "Give the stage a client certificate.",
        costs="API Gateway's certificate expires after a year, and is then made anew by hand.",
    )

    # Load.
    throttle_rate_limit: int = _setting(1000, "Requests a second that the API admits.", check_limit)
    throttle_burst_limit: int = _setting(2000, "Requests that the API admits at once.", check_limit)
    gateway_events_rate_limit: int = _setting(
        100,
        "Notifications of the gateway a second that the API admits, and twice as many at once.",
        check_limit,
    )
    firewall_rate_limit: int = _setting(
        650_000,
        "Requests in five minutes that the firewall admits from one address.",
        between(*FIREWALL_LIMITS),
        kept=True,
        costs="What an address sends beyond it is answered with 429.",
    )
    firewall_health_rate_limit: int = _setting(
        300,
        "Of these, requests to /health.",
        between(*FIREWALL_LIMITS),
        costs="What an address sends beyond it is answered with 429.",
    )

    # Payments.
    gateway: str = _setting(
        SIMULATED_GATEWAY,
        "Class of the payment gateway, as FILE.py:CLASS, or stripe, simulated or scripted.",
        matching(
            GATEWAY_PATTERN,
            "simulated, scripted, stripe, FILE.py:CLASS or handlers.shared.MODULE:CLASS",
        ),
        kept=True,
        names=GATEWAY_NAMES,
        is_path=is_own_gateway,
    )
    gateway_requirements: str = _setting(
        "",
        "File that pins what the gateway's own file imports, with hashes.",
        matching(FILE_PATTERN, "the path of a file"),
        kept=True,
        is_path=bool,
    )
    gateway_secret: str = _setting(
        "",
        "ARN of the secret that the payment gateway is given.",
        matching(SECRET_ARN_PATTERN, "the whole ARN of a secret of AWS Secrets Manager"),
        kept=True,
        costs="0.40 USD a month for the secret, and 0.05 USD for 10,000 reads of it.",
    )
    gateway_events: bool = _setting(
        False,
        "Take what the payment gateway tells by itself, at POST /gateway-events.",
        kept=True,
        costs="Each notification is a request and two writes; 0.10 USD a month for an alarm, two "
        "where concurrency_alarms are set.",
    )

    # Data.
    retain_data: bool = _setting(
        False,
        "Keep table, queues and logs when the stack is deleted.",
        kept=True,
        costs="What is kept costs as before, and has to be deleted by hand.",
    )
    recovery_days: int = _setting(
        RECOVERY_DAYS,
        "Days that point-in-time recovery reaches back.",
        between(1, RECOVERY_DAYS),
    )
    customer_key: bool = _setting(
        False,
        "Encrypt what is stored with a key of your own.",
        kept=True,
        costs="1 USD a month for the key, 3 from its second rotation on, 0.03 USD for 10,000 uses.",
    )
    deletion_protection: bool = _setting(False, "Refuse to delete the table.", kept=True)
    replacement_protection: bool = _setting(
        False,
        "Refuse updates that replace or delete what holds data (on `deploy`).",
        kept=True,
        costs="An update that has to needs `--allow replace`.",
    )
    termination_protection: bool = _setting(
        False, "Refuse to delete the stack (on `deploy`).", kept=True
    )
    backup: bool = _setting(
        False,
        "Back the table up every day by AWS Backup.",
        kept=True,
        costs="0.10 USD a month for a GB of each backup, each of the whole table.",
    )
    backup_days: int = _setting(
        35, "Days that a backup is kept.", between(1, MAX_BACKUP_DAYS), kept=True
    )
    backup_lock_days: int = _setting(
        0,
        "Days before which nobody may delete a backup (vault lock); 0 locks nothing.",
        between(0, MAX_BACKUP_DAYS),
        kept=True,
        costs="What is locked cannot be deleted, and is paid for, as long as that.",
    )
    backup_copy_vault: str = _setting(
        "",
        "ARN of a vault of another region or account that backups are copied to.",
        matching(VAULT_ARN_PATTERN, "the whole ARN of a backup vault"),
        kept=True,
        costs="The copies cost as backups do there, and 0.02 USD for a GB that leaves a region.",
    )

    # Functions.
    runtime: str = _setting("python3.13", "Lambda runtime.", one_of(*RUNTIMES))
    architecture: str = _setting("arm64", "Lambda architecture.", one_of(*ARCHITECTURES))
    versions: bool = _setting(
        False, "Publish each function as a version, which the alias live names."
    )
    snap_start: bool = _setting(
        False,
        "Start functions from a snapshot (Lambda SnapStart).",
        costs="For a version of all functions 5.85 USD a month, and two are kept; 0.14 USD for"
        " 1,000 GB restored; some minutes for each update.",
    )
    subnets: tuple[str, ...] = _setting(
        (),
        "Subnets of the VPC that the functions are connected to.",
        each(matching(SUBNET_PATTERN, "the id of a subnet")),
        kept=True,
        costs="A NAT gateway is 0.045 USD an hour and 0.045 USD a GB, a VPC endpoint 0.01 USD an"
        " hour and Availability Zone and 0.01 USD a GB.",
    )
    security_groups: tuple[str, ...] = _setting(
        (),
        "Security groups of the functions in the VPC.",
        each(matching(SECURITY_GROUP_PATTERN, "the id of a security group")),
        kept=True,
    )
    failed_runs: bool = _setting(
        False,
        "Keep the scheduled runs that failed in a queue, and alarm and tell of them.",
        costs="0.10 USD a month for the alarm.",
    )
    canary_percent: int = _setting(
        0,
        "Requests in a hundred that a new version gets at first; 0: all at once.",
        between(0, 99),
        costs="0.50 USD a month for its alarms; each update takes the canary's minutes longer.",
    )
    canary_minutes: int = _setting(
        MIN_CANARY_MINUTES,
        "Minutes until a new version gets all requests.",
        between(MIN_CANARY_MINUTES, MAX_CANARY_MINUTES),
    )
    validation_concurrency: int = _setting(
        0,
        "Requests to validate that are served at once, reserved; 0 reserves nothing.",
        nothing_or(1, MAX_LIMIT),
        costs=RESERVES,
    )
    processing_concurrency: int = _setting(
        0,
        "Requests to process that are served at once, reserved; 0 reserves nothing.",
        nothing_or(1, MAX_LIMIT),
        costs=RESERVES,
    )
    lookup_concurrency: int = _setting(
        0,
        "Requests to look up a payment that are served at once, reserved; 0 reserves nothing.",
        nothing_or(1, MAX_LIMIT),
        costs=RESERVES,
    )
    cancellation_concurrency: int = _setting(
        0,
        "Requests to cancel a payment that are served at once, reserved; 0 reserves nothing.",
        nothing_or(1, MAX_LIMIT),
        costs=RESERVES,
    )
    gateway_events_concurrency: int = _setting(
        0,
        "Notifications of the gateway that are taken at once, reserved; 0 reserves nothing.",
        nothing_or(1, MAX_LIMIT),
        costs=RESERVES,
    )
    retry_concurrency: int = _setting(
        0,
        "Retries that run at once, reserved; 0 reserves nothing.",
        nothing_or(RETRIES_AT_ONCE, MAX_LIMIT),
        costs=RESERVES,
    )
    health_concurrency: int = _setting(
        0,
        "Runs of the health monitor at once, reserved; 0 reserves nothing.",
        nothing_or(1, MAX_LIMIT),
        costs=RESERVES,
    )

    # Logs and alarms.
    alarm_email: str = _setting(
        "", "Address subscribed to the alarms.", matching(EMAIL_PATTERN, "an email address")
    )
    latency_alarms: bool = _setting(
        False,
        "Alarm when one in a hundred payments is very slow.",
        costs="0.40 USD a month for four alarms.",
    )
    concurrency_alarms: bool = _setting(
        False,
        "Alarm when a function is throttled, or comes near its reserved concurrency.",
        costs=(
            "0.10 USD a month for each function that has some reserved, 0.60 for those that are"
            " throttled, and 0.20 for the errors of look-ups and cancellations."
        ),
    )
    log_retention_days: int = _setting(
        7,
        "Days that logs are kept.",
        one_of(*RETENTION_DAYS),
        costs="0.03 USD a month for a GB that is kept.",
    )
    execution_log_level: str = _setting(
        "info",
        "What API Gateway logs of how it carries a request out: info (of each), error or off.",
        one_of("info", "error", "off"),
        costs="With info 0.50 USD for a GB, some 3 KB a request.",
    )
    platform_logs: str = _setting(
        "info",
        "What Lambda logs of its own: info (of each invocation) or warn (of those that fail).",
        one_of("info", "warn"),
        costs="With info 0.50 USD for a GB, some 0.4 KB an invocation; with warn no line has the "
        "memory that an invocation took.",
    )
    mask_logs: bool = _setting(
        False,
        "Mask card data, keys and email addresses in the logs.",
        costs="0.12 USD for a GB that is logged; only who may logs:Unmask sees what is masked.",
    )
    trace_percent: int = _setting(
        -1,
        "Percent of the requests that X-Ray records; -1: by its default rule.",
        between(-1, 100),
        costs="5.00 USD for a million requests that are recorded.",
    )
    sampling_rule_name: str = _setting(
        "",
        "Name of X-Ray's sampling rule; none: p-SUFFIX.",
        matching(SAMPLING_RULE_PATTERN, "at most 32 letters, digits, dashes and the like"),
    )
    sampling_priority: int = _setting(
        1000, "Priority of X-Ray's sampling rule: the lowest number wins.", between(1, 9999)
    )

    # The account.
    manage_api_gateway_account: bool = _setting(
        True, "Make the region's CloudWatch role for API Gateway."
    )
    permissions_boundary: str = _setting(
        "",
        "ARN of the policy that bounds what every role may do.",
        matching(POLICY_ARN_PATTERN, "the ARN of a managed policy of IAM"),
        kept=True,
    )
    role_path: str = _setting("/", "Path of every role.", check_role_path, kept=True)
    role_prefix: str = _setting(
        "",
        "What every role's name begins with.",
        matching(ROLE_PREFIX_PATTERN, "1 to 24 letters, digits and _ + = , . @ -"),
        kept=True,
    )
    suppressions: bool = _setting(
        False,
        "Say in the template which checkers' rules do not fit a resource, and why.",
        costs="Nothing but a longer template.",
    )
    environment_tag: str = _setting(
        "Environment", "Key of the tag that has the suffix.", check_tag_key, kept=True
    )
    tags: Tags = field(
        default_factory=dict,
        metadata=_metadata("Tag for every resource: KEY=VALUE.", check_tags),
    )

    @property
    def reserved(self) -> dict[str, int]:
        """The concurrency that is reserved for each function that there is, by its parameter."""
        return {
            name: value
            for function, name in CONCURRENCIES.items()
            if (value := getattr(self, PARAMETER_FIELDS[name]))
            and (function != GATEWAY_EVENTS_FUNCTION or self.gateway_events)
        }

    @property
    def capability(self) -> str:
        """What whoever deploys acknowledges: more where roles have names of one's own
        (CloudFormation API, CreateStack)."""
        return "CAPABILITY_NAMED_IAM" if self.role_prefix else "CAPABILITY_IAM"


PRESETS: Mapping[str, Mapping[str, object]] = {
    "development": {},
    "production": {
        # Who may call, and how.
        "endpoint_type": "regional",
        "health_access": "status",
        "firewall": True,
        "client_certificate": True,
        # Load.
        # Data.
        "retain_data": True,
        "customer_key": True,
        "deletion_protection": True,
        "replacement_protection": True,
        "termination_protection": True,
        "backup": True,
        # Functions.
        "versions": True,
        "snap_start": True,
        "canary_percent": 10,
        "failed_runs": True,
        # The throttle's 1,000 requests a second at 0.1 s each to validate or to look up, 0.4 s to
        # process; one in twenty of them canceled, at 1 s; the 100 notifications that are admitted
        # in a second, at 0.5 s, where any are; twice the retries that the queue gives at once; what
        # /health admits at once, and the schedule.
        "validation_concurrency": 100,
        "processing_concurrency": 400,
        "lookup_concurrency": 100,
        "cancellation_concurrency": 50,
        "gateway_events_concurrency": 50,
        "retry_concurrency": 10,
        "health_concurrency": 25,
        # Logs and alarms.
        "latency_alarms": True,
        "concurrency_alarms": True,
        "log_retention_days": 365,
        "execution_log_level": "error",
        "platform_logs": "warn",
        "trace_percent": 5,
        # The account.
        "suppressions": True,
    },
}
# The settings: what has a flag, a variable and a key of its own.
FIELDS: Mapping[str, "Field[Any]"] = {f.name: f for f in fields(StackConfig) if f.name != "preset"}
KEPT = tuple(name for name, spec in FIELDS.items() if spec.metadata["kept"])
# Title of a section to its first setting; the next section's begins where it ends.
_FIRST = {
    "The environment": "suffix",
    "Who may call, and how": "authorization",
    "Load": "throttle_rate_limit",
    "Payments": "gateway",
    "Data": "retain_data",
    "Functions": "runtime",
    "Logs and alarms": "alarm_email",
    "The account": "manage_api_gateway_account",
}


def _sections() -> Mapping[str, tuple[str, ...]]:
    names = tuple(FIELDS)
    begins = [names.index(first) for first in _FIRST.values()]
    ends = [*begins[1:], len(names)]
    return {title: names[begin:end] for title, begin, end in zip(_FIRST, begins, ends, strict=True)}


# Title to the settings of a section, as they are grouped for a person.
SECTIONS = _sections()
