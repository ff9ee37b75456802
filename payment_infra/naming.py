"""CloudFormation parameters and physical names: what may differ between two deployments."""

from collections.abc import Mapping

from troposphere import AWSHelperFn, Not, Parameter, Ref, Sub

from payment_infra.config import StackConfig
from payment_infra.names import (
    ALARM_EMAIL,
    ARTIFACT_BUCKET,
    AT_ONCE,
    CANARY,
    CONCURRENCIES,
    DELETION_PROTECTION,
    ENVIRONMENT_SUFFIX,
    LOG_RETENTION_DAYS,
    MANAGE_API_GATEWAY_ACCOUNT,
    RETRY_CONCURRENCY,
    THROTTLE_BURST_LIMIT,
    THROTTLE_RATE_LIMIT,
    TRAFFIC_SHIFTING,
    TRANSACTIONS_TABLE_OVERRIDE,
)
from payment_infra.rules import (
    BUCKET_PATTERN,
    EMAIL_PATTERN,
    MAX_SUFFIX_LENGTH,
    RETENTION_DAYS,
    RETRIES_AT_ONCE,
    SUFFIX_PATTERN,
)

# Heading to parameters, in the order in which the console asks for them.
PARAMETER_GROUPS = {
    "Environment": (ENVIRONMENT_SUFFIX, ARTIFACT_BUCKET),
    "API": (THROTTLE_RATE_LIMIT, THROTTLE_BURST_LIMIT, MANAGE_API_GATEWAY_ACCOUNT),
    "Functions": tuple(CONCURRENCIES.values()),
    "Operations": (
        *(ALARM_EMAIL, LOG_RETENTION_DAYS, TRANSACTIONS_TABLE_OVERRIDE),
        TRAFFIC_SHIFTING,
    ),
    "Data": (DELETION_PROTECTION,),
}

# Every alarm of this account and region.
ALARM_ARNS = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*"


def suffixed(base: str) -> Sub:
    """Return the physical name `base-<EnvironmentSuffix>`."""
    return Sub(f"{base}-${{{ENVIRONMENT_SUFFIX}}}")


def arn_of(service: str, base: str, rest: str = "") -> Sub:
    """Return the ARN of what has the physical name `base-<EnvironmentSuffix>` in this account and
    region; the rest follows it."""
    return Sub(
        f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:"
        f"{base}-${{{ENVIRONMENT_SUFFIX}}}{rest}"
    )


def filled(text: str, **values: AWSHelperFn | str) -> Sub:
    """Return a text with values in the places of their names, `${Name}`.

    A reference stands there as the text of a Fn::Sub writes it, `${Table}` or `${Table.Arn}`, any
    other value as a variable (CloudFormation, "Fn::Sub").
    """
    variables = {}
    for name, value in values.items():
        match value if isinstance(value, str) else value.to_dict():
            case {"Ref": str(referred)}:
                text = text.replace(f"${{{name}}}", f"${{{referred}}}")
            case {"Fn::GetAtt": [str(resource), str(attribute)]}:
                text = text.replace(f"${{{name}}}", f"${{{resource}.{attribute}}}")
            case _:
                variables[name] = value
    return Sub(text, **variables)


def parameter(name: str) -> Ref:
    """Return the value of a parameter."""
    return Ref(name)


def build_parameters(config: StackConfig) -> list[Parameter]:
    """Build the parameters; suffix and bucket have a default only where the config gives one.

    A function has one for its concurrency only where the config reserves some.
    """
    return [
        Parameter(
            ENVIRONMENT_SUFFIX,
            Type="String",
            Description="Ends every physical name: environments share an account.",
            AllowedPattern=SUFFIX_PATTERN,
            MaxLength=MAX_SUFFIX_LENGTH,
            ConstraintDescription=(
                f"At most {MAX_SUFFIX_LENGTH} lower-case letters and digits, "
                "single dashes between them."
            ),
            **_default(config.suffix),
        ),
        Parameter(
            ARTIFACT_BUCKET,
            Type="String",
            Description="S3 bucket in this region with the functions' zips.",
            AllowedPattern=BUCKET_PATTERN,
            ConstraintDescription="An S3 bucket's name.",
            **_default(config.bucket),
        ),
        Parameter(
            ALARM_EMAIL,
            Type="String",
            Description="Address subscribed to the alarms. Empty: none.",
            AllowedPattern=EMAIL_PATTERN,
            ConstraintDescription="An email address, or empty.",
            Default=config.alarm_email,
        ),
        Parameter(
            THROTTLE_RATE_LIMIT,
            Type="Number",
            Description="Requests a second to a method, at most.",
            MinValue=1,
            Default=config.throttle_rate_limit,
        ),
        Parameter(
            THROTTLE_BURST_LIMIT,
            Type="Number",
            Description="Requests to a method at once, at most.",
            MinValue=1,
            Default=config.throttle_burst_limit,
        ),
        Parameter(
            LOG_RETENTION_DAYS,
            Type="Number",
            Description="Days that the logs are kept.",
            AllowedValues=list(RETENTION_DAYS),
            Default=config.log_retention_days,
        ),
        Parameter(
            TRANSACTIONS_TABLE_OVERRIDE,
            Type="String",
            Description="Table to work on after a restore. Empty: the stack's own.",
            AllowedPattern=r"^$|^[a-zA-Z0-9_.-]{3,255}$",
            ConstraintDescription="A DynamoDB table's name, or empty.",
            Default="",
        ),
        Parameter(
            MANAGE_API_GATEWAY_ACCOUNT,
            Type="String",
            Description=(
                "Make the region's CloudWatch role for API Gateway, which outlives the stack."
            ),
            AllowedValues=["true", "false"],
            Default=str(config.manage_api_gateway_account).lower(),
        ),
        *(
            Parameter(
                name,
                Type="Number",
                Description=f"Executions at once reserved for {function}. 0 means none.",
                MinValue=0,
                Default=reserved,
            )
            for function, name in CONCURRENCIES.items()
            if (reserved := config.reserved.get(name))
        ),
        *([_deletion_protection()] if config.deletion_protection else []),
        *([_traffic_shifting()] if config.versions and config.canary_percent else []),
    ]


def build_rules(config: StackConfig) -> Mapping[str, object]:
    """Build what CloudFormation asserts of parameters that have no constraint for it.

    A rule knows no numbers, only texts ("Rule functions").
    """
    if not config.retry_concurrency:
        return {}
    fewer = [str(number) for number in range(1, RETRIES_AT_ONCE)]
    taken = {
        "Assert": Not({"Fn::Contains": [fewer, parameter(RETRY_CONCURRENCY)]}),
        "AssertDescription": (
            f"{RETRY_CONCURRENCY} must be 0, or at least {RETRIES_AT_ONCE}: as many retries run at "
            "once."
        ),
    }
    return {f"Enough{RETRY_CONCURRENCY}": {"Assertions": [taken]}}


def _deletion_protection() -> Parameter:
    return Parameter(
        DELETION_PROTECTION,
        Type="String",
        Description=(
            "Whether DynamoDB refuses to delete the table: false while the stack is created, so "
            "that a creation that fails can be undone, true from then on."
        ),
        AllowedValues=["true", "false"],
        Default="false",
    )


def _traffic_shifting() -> Parameter:
    return Parameter(
        TRAFFIC_SHIFTING,
        Type="String",
        Description="Whether new versions get a part of the requests first (canary), or all.",
        AllowedValues=[CANARY, AT_ONCE],
        Default=CANARY,
    )


def _default(value: str) -> dict[str, str]:
    return {"Default": value} if value else {}
