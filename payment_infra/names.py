"""What a deployed environment's things are called: plain strings.

The template gives these names; a test holds the two together.
"""

# An environment's stack is called so, with its suffix.
STACK_NAME_PREFIX = "payment-infra"
# The table that all environments of an account and region share; no stack makes it.
OPERATIONS_TABLE = "payment-infra-operations"
STAGE_NAME = "prod"
# The alias of a function that is published.
LIVE = "live"

# Physical base names, each of which the suffix follows (see `physical`).
TRANSACTIONS = "transactions"
PROCESSING = "payment-processing"
FAILED_TRANSACTIONS = "failed-transactions"
DEAD_LETTERS = "failed-transactions-dlq"
ALARMS = "payment-alarms"
PROCESSING_ERRORS = "processing-errors"
KEY_NAME = "alias/payment-infra"
# The index of the payments that are not settled, and all keys under which it has them: in process
# and pending, by shard, pending for long, and set aside until somebody looks after them.
IN_FLIGHT_INDEX = "in-flight-index"
IN_FLIGHT_KEYS = (
    *(f"{status}#{shard}" for status in ("processing", "pending") for shard in range(16)),
    *("overdue", "stuck", "mismatched", "unreadable"),
)
# The path below which the API tells where a payment stands.
LOOKUP_PATH = "transactions"
# Where the gateway tells what has become of payments.
GATEWAY_EVENTS_PATH = "gateway-events"
# The stage's variable that says that payments are stopped: then the gateway is to tell it later.
STOPPED_VARIABLE = "paymentsStopped"
CANCEL_PATH = "cancel"
# What the name of a function's log group begins with; the function's follows.
LOG_GROUPS = "/aws/lambda/"

# Parameters.
ENVIRONMENT_SUFFIX = "EnvironmentSuffix"
ARTIFACT_BUCKET = "ArtifactBucket"
ALARM_EMAIL = "AlarmEmail"
THROTTLE_RATE_LIMIT = "ThrottleRateLimit"
THROTTLE_BURST_LIMIT = "ThrottleBurstLimit"
LOG_RETENTION_DAYS = "LogRetentionDays"
VALIDATION_CONCURRENCY = "ValidationConcurrency"
PROCESSING_CONCURRENCY = "ProcessingConcurrency"
LOOKUP_CONCURRENCY = "LookupConcurrency"
CANCELLATION_CONCURRENCY = "CancellationConcurrency"
GATEWAY_EVENTS_CONCURRENCY = "GatewayEventsConcurrency"
RETRY_CONCURRENCY = "RetryConcurrency"
HEALTH_CONCURRENCY = "HealthConcurrency"
TRANSACTIONS_TABLE_OVERRIDE = "TransactionsTableOverride"
MANAGE_API_GATEWAY_ACCOUNT = "ManageApiGatewayAccount"
DELETION_PROTECTION = "DeletionProtection"
# Whether an update shifts traffic to new versions bit by bit, or at once; given with each.
TRAFFIC_SHIFTING = "TrafficShifting"
CANARY = "canary"
AT_ONCE = "at-once"
# Those that take their value from a field of the configuration.
PARAMETER_FIELDS = {
    ENVIRONMENT_SUFFIX: "suffix",
    ARTIFACT_BUCKET: "bucket",
    ALARM_EMAIL: "alarm_email",
    THROTTLE_RATE_LIMIT: "throttle_rate_limit",
    THROTTLE_BURST_LIMIT: "throttle_burst_limit",
    LOG_RETENTION_DAYS: "log_retention_days",
    MANAGE_API_GATEWAY_ACCOUNT: "manage_api_gateway_account",
    VALIDATION_CONCURRENCY: "validation_concurrency",
    PROCESSING_CONCURRENCY: "processing_concurrency",
    LOOKUP_CONCURRENCY: "lookup_concurrency",
    CANCELLATION_CONCURRENCY: "cancellation_concurrency",
    GATEWAY_EVENTS_CONCURRENCY: "gateway_events_concurrency",
    RETRY_CONCURRENCY: "retry_concurrency",
    HEALTH_CONCURRENCY: "health_concurrency",
}

# Outputs: of the bucket's own stack, and of an environment's.
ARTIFACT_BUCKET_OUTPUT = "ArtifactBucketName"
TABLE_OUTPUT = "TransactionsTableName"
API_OUTPUT = "APIEndpoint"

# Logical ids.
TRANSACTIONS_TABLE = "TransactionsTable"
ENCRYPTION_KEY = "EncryptionKey"
ENCRYPTION_KEY_NAME = "EncryptionKeyAlias"
BACKUP_PLAN = "BackupPlan"
BACKUP_ROLE = "BackupRole"
FAILED_QUEUE = "FailedTransactionsQueue"
DEAD_LETTER_QUEUE = "FailedTransactionsDLQ"
FAILED_RUNS_QUEUE = "FailedRunsQueue"
ALARM_TOPIC = "AlarmTopic"
VALIDATION_FUNCTION = "ValidationFunction"
PROCESSING_FUNCTION = "ProcessingFunction"
LOOKUP_FUNCTION = "LookupFunction"
CANCELLATION_FUNCTION = "CancellationFunction"
RETRY_FUNCTION = "RetryFunction"
HEALTH_FUNCTION = "HealthMonitorFunction"
GATEWAY_EVENTS_FUNCTION = "GatewayEventsFunction"
VALIDATION_ALIAS = "ValidationAlias"
PROCESSING_ALIAS = "ProcessingAlias"
LOOKUP_ALIAS = "LookupAlias"
CANCELLATION_ALIAS = "CancellationAlias"
RETRY_ALIAS = "RetryAlias"
HEALTH_ALIAS = "HealthMonitorAlias"
GATEWAY_EVENTS_ALIAS = "GatewayEventsAlias"
# A function to the parameter of its reserved concurrency. A template has it only where the
# configuration reserves something.
CONCURRENCIES = {
    VALIDATION_FUNCTION: VALIDATION_CONCURRENCY,
    PROCESSING_FUNCTION: PROCESSING_CONCURRENCY,
    LOOKUP_FUNCTION: LOOKUP_CONCURRENCY,
    CANCELLATION_FUNCTION: CANCELLATION_CONCURRENCY,
    GATEWAY_EVENTS_FUNCTION: GATEWAY_EVENTS_CONCURRENCY,
    RETRY_FUNCTION: RETRY_CONCURRENCY,
    HEALTH_FUNCTION: HEALTH_CONCURRENCY,
}
RETRY_EVENT_SOURCE = "RetryEventSource"
HEALTH_SCHEDULE = "HealthMonitorSchedule"
REST_API = "PaymentAPI"
DOMAIN = "PaymentDomain"
STAGE = "PaymentAPIStage"
FIREWALL_ASSOCIATION = "PaymentAPIFirewallAssociation"
PROCESS_METHOD = "ProcessMethod"
HEALTH_METHOD = "HealthMethod"
PROCESSING_ROLE = "ProcessingRole"
CALLER_POLICY = "PaymentCallerPolicy"
DASHBOARD = "PaymentDashboard"
VALIDATION_LOG_GROUP = "ValidationLogGroup"
PROCESSING_LOG_GROUP = "ProcessingLogGroup"
LOOKUP_LOG_GROUP = "LookupLogGroup"
CANCELLATION_LOG_GROUP = "CancellationLogGroup"
RETRY_LOG_GROUP = "RetryLogGroup"
HEALTH_LOG_GROUP = "HealthMonitorLogGroup"
GATEWAY_EVENTS_LOG_GROUP = "GatewayEventsLogGroup"
ACCESS_LOG_GROUP = "PaymentAPIAccessLogGroup"
# What a stack need not have: that of an earlier release, or one whose gateway does not notify.
NEED_NOT_BE = frozenset(
    {
        *(LOOKUP_FUNCTION, LOOKUP_LOG_GROUP, CANCELLATION_FUNCTION, CANCELLATION_LOG_GROUP),
        *(GATEWAY_EVENTS_FUNCTION, GATEWAY_EVENTS_LOG_GROUP),
    }
)

# What ends a canary: of the API, and of each function that gets a new version by one.
CANARY_ALARMS = (
    "CanaryServerErrorAlarm",
    *("ValidationCanaryErrorAlarm", "ValidationCanaryFailureAlarm"),
    *("ProcessingCanaryErrorAlarm", "ProcessingCanaryFailureAlarm"),
)

# Function to the alias that names its published version, where it is published.
LIVE_ALIASES = {
    VALIDATION_FUNCTION: VALIDATION_ALIAS,
    PROCESSING_FUNCTION: PROCESSING_ALIAS,
    LOOKUP_FUNCTION: LOOKUP_ALIAS,
    CANCELLATION_FUNCTION: CANCELLATION_ALIAS,
    RETRY_FUNCTION: RETRY_ALIAS,
    HEALTH_FUNCTION: HEALTH_ALIAS,
    GATEWAY_EVENTS_FUNCTION: GATEWAY_EVENTS_ALIAS,
}


def physical(base: str, suffix: str) -> str:
    """Return the physical name of an environment's resource."""
    return f"{base}-{suffix}"


def own_table(suffix: str) -> str:
    """Return the name of the table that an environment's stack makes."""
    return physical(TRANSACTIONS, suffix)


def naming_flags(suffix: str, stack_name: str) -> str:
    """Return the flags that name an environment in a command for a person to repeat.

    suffix is "" where the stack's name alone is known.
    """
    if stack_name == f"{STACK_NAME_PREFIX}-{suffix}":
        return f"--suffix {suffix}"
    named = f"--stack-name {stack_name}"
    return f"--suffix {suffix} {named}" if suffix else named


# Where the bucket has the zip of an entry module, as a regular expression: people see the first 12
# digits of the digest.
ARTIFACT_KEY = r"payment-infra/(?P<module>[^/]+)/(?P<digest>[0-9a-f]{12})[0-9a-f]*\.zip"
