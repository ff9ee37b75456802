"""Which rules of checkers do not fit which resource, and why: the template says it in the Metadata
of that one resource, by each checker's own key.

No rule is suppressed for all resources, and none about encryption, logging or backups. Of the rules
about least privilege, only what AWS itself leaves no narrower way for is suppressed, finding by
finding. `make audit` shows that each one suppresses a finding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from payment_infra.config import StackConfig
from payment_infra.names import (
    CALLER_POLICY,
    CANCELLATION_FUNCTION,
    DEAD_LETTER_QUEUE,
    FAILED_RUNS_QUEUE,
    GATEWAY_EVENTS_FUNCTION,
    HEALTH_FUNCTION,
    HEALTH_SCHEDULE,
    LOOKUP_FUNCTION,
    PROCESS_METHOD,
    PROCESSING_FUNCTION,
    REST_API,
    RETRY_EVENT_SOURCE,
    RETRY_FUNCTION,
    STAGE,
    VALIDATION_FUNCTION,
)

FUNCTIONS = (
    *(VALIDATION_FUNCTION, PROCESSING_FUNCTION, LOOKUP_FUNCTION),
    *(CANCELLATION_FUNCTION, RETRY_FUNCTION, HEALTH_FUNCTION, GATEWAY_EVENTS_FUNCTION),
)
CANARY_ALARMS = (
    "CanaryServerErrorAlarm",
    *("ValidationCanaryErrorAlarm", "ValidationCanaryFailureAlarm"),
    *("ProcessingCanaryErrorAlarm", "ProcessingCanaryFailureAlarm"),
)
# What the ids of cdk-nag's rules begin with, pack by pack (cdk-nag, "Rules").
AWS_SOLUTIONS = "AwsSolutions"
PCI_DSS = "PCI.DSS.321"
NIST_R4 = "NIST.800.53.R4"
NIST_R5 = "NIST.800.53.R5"
HIPAA = "HIPAA.Security"
SERVERLESS = "Serverless"
COMPLIANCE = (PCI_DSS, NIST_R4, NIST_R5, HIPAA)


def _always(_: StackConfig) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A rule that does not fit some resources, as the checkers call it.

    Attributes:
        resources: logical ids; one that a template does not have is passed over.
        reason: one sentence.
        nag: ids of cdk-nag's rules; "RULE[FINDING]" is one finding of a rule that makes several.
        checkov: ids of checkov's checks.
        trivy: ids of trivy's checks.
        when: whether the rule does not fit under a configuration.
    """

    resources: tuple[str, ...]
    reason: str
    nag: tuple[str, ...] = ()
    checkov: tuple[str, ...] = ()
    trivy: tuple[str, ...] = ()
    when: Callable[[StackConfig], bool] = _always


def _in_packs(packs: tuple[str, ...], rule: str) -> tuple[str, ...]:
    return tuple(f"{pack}-{rule}" for pack in packs)


SIGNED = "Callers are services that sign their requests with IAM, not users of Cognito."
SUPPRESSIONS = (
    Suppression(
        resources=FUNCTIONS,
        # Lambda, "Supported runtimes": patched until June 2029.
        reason=(
            "AWS patches python3.13 until 2029, and no newer runtime is one that the handlers are"
            " tested with."
        ),
        nag=(f"{AWS_SOLUTIONS}-L1", f"{SERVERLESS}-LambdaLatestVersion"),
        when=lambda config: config.runtime == "python3.13",
    ),
    Suppression(
        resources=FUNCTIONS,
        reason=(
            "The function calls AWS's public endpoints alone, each call signed and by TLS, and"
            " nothing in a VPC; the setting subnets puts it into one."
        ),
        nag=_in_packs(COMPLIANCE, "LambdaInsideVPC"),
        checkov=("CKV_AWS_117",),
        when=lambda config: not config.subnets,
    ),
    Suppression(
        resources=(
            *(VALIDATION_FUNCTION, PROCESSING_FUNCTION),
            *(LOOKUP_FUNCTION, CANCELLATION_FUNCTION),
        ),
        reason=(
            "API Gateway invokes the function synchronously, so Lambda would never use a"
            " dead-letter queue; of a payment that fails, the function itself queues a message."
        ),
        nag=_in_packs((NIST_R5, HIPAA, SERVERLESS), "LambdaDLQ"),
        checkov=("CKV_AWS_116",),
    ),
    Suppression(
        resources=(GATEWAY_EVENTS_FUNCTION,),
        reason=(
            "API Gateway invokes the function synchronously, so Lambda would never use a"
            " dead-letter queue; the gateway itself sends again what was not answered with 200."
        ),
        nag=_in_packs((NIST_R5, HIPAA, SERVERLESS), "LambdaDLQ"),
        checkov=("CKV_AWS_116",),
    ),
    Suppression(
        resources=(RETRY_FUNCTION,),
        reason=(
            "SQS gives the function its messages, and the queue moves what fails to its own"
            " dead-letter queue, as Lambda documents for this event source."
        ),
        nag=_in_packs((NIST_R5, HIPAA, SERVERLESS), "LambdaDLQ"),
        checkov=("CKV_AWS_116",),
    ),
    Suppression(
        resources=(RETRY_EVENT_SOURCE,),
        reason=(
            "Lambda takes no failure destination for SQS: the queue moves what fails to its own"
            " dead-letter queue."
        ),
        nag=(f"{SERVERLESS}-LambdaEventSourceMappingDestination",),
    ),
    Suppression(
        resources=(DEAD_LETTER_QUEUE, FAILED_RUNS_QUEUE),
        reason="It is a dead-letter queue, where messages end; an alarm watches it.",
        nag=(f"{SERVERLESS}-SQSRedrivePolicy",),
    ),
    Suppression(
        resources=("AlarmEmailSubscription",),
        reason=(
            "Nobody would read a queue of mails that could not be delivered; the alarm keeps its"
            " state, which status shows."
        ),
        nag=(f"{SERVERLESS}-SNSRedrivePolicy",),
    ),
    Suppression(
        resources=(HEALTH_SCHEDULE,),
        reason=(
            "The next event is the same, five minutes later, so nothing is lost with one that"
            " reaches no function; an alarm tells when none comes."
        ),
        nag=(f"{SERVERLESS}-EventBusDLQ",),
    ),
    Suppression(
        resources=CANARY_ALARMS,
        reason=(
            "CodeDeploy reads the alarm, which looks at a new version alone, and takes that back by"
            " it; people are told by the alarms beside it."
        ),
        nag=_in_packs((NIST_R4, NIST_R5, HIPAA), "CloudWatchAlarmAction"),
    ),
    Suppression(
        resources=(STAGE,),
        reason=(
            "Answers about payments must be today's, and GET /health is answered from a report"
            " that is there already, so a cache would hold old states of payments or nothing."
        ),
        nag=_in_packs(COMPLIANCE, "APIGWCacheEnabledAndEncrypted"),
        checkov=("CKV_AWS_120",),
        trivy=("AVD-AWS-0190",),
    ),
    Suppression(
        resources=(REST_API,),
        reason=(
            "The API's validator checks every body by its schema; of the one parameter, a part of a"
            " path, it could check only that it is there, which it always is."
        ),
        nag=(f"{AWS_SOLUTIONS}-APIG2",),
    ),
    Suppression(
        resources=("ValidateMethod", PROCESS_METHOD, "LookupMethod", "CancelMethod"),
        reason=SIGNED,
        nag=(f"{AWS_SOLUTIONS}-COG4",),
        when=lambda config: config.authorization == "iam",
    ),
    Suppression(
        resources=("HealthMethod",),
        reason=SIGNED,
        nag=(f"{AWS_SOLUTIONS}-COG4",),
        when=lambda config: config.health_access == "closed",
    ),
    Suppression(
        resources=("HealthMethod",),
        reason=(
            "Load balancers and uptime probes cannot sign; the answer holds no payments, and the"
            " method has a low throttle of its own."
        ),
        nag=(f"{AWS_SOLUTIONS}-APIG4", f"{AWS_SOLUTIONS}-COG4"),
        checkov=("CKV_AWS_59",),
        when=lambda config: config.health_access != "closed",
    ),
    Suppression(
        resources=("GatewayEventsMethod",),
        reason=(
            "A payment gateway cannot sign as AWS has it: the function refuses what the gateway's"
            " own secret has not signed, and the method has a throttle of its own."
        ),
        nag=(f"{AWS_SOLUTIONS}-APIG4", f"{AWS_SOLUTIONS}-COG4"),
        checkov=("CKV_AWS_59",),
    ),
    Suppression(
        resources=FUNCTIONS,
        reason=(
            "The function's reserved concurrency is a parameter, whose value this checker does not"
            " compute; production's is over 0."
        ),
        nag=tuple(
            f"CdkNagValidationFailure[{rule}]"
            for rule in _in_packs((NIST_R5, HIPAA), "LambdaConcurrency")
        ),
    ),
    Suppression(
        resources=("TracingPolicy",),
        reason=(
            "X-Ray has no resource-level permission for PutTraceSegments and PutTelemetryRecords."
        ),
        nag=(f"{AWS_SOLUTIONS}-IAM5[Resource::*]",),
    ),
    Suppression(
        resources=("HealthMonitorPolicy",),
        reason=(
            "CloudWatch has no resource-level permission for GetMetricData; all other statements"
            " name their resources."
        ),
        nag=(f"{AWS_SOLUTIONS}-IAM5[Resource::*]",),
    ),
    Suppression(
        resources=(CALLER_POLICY,),
        reason=(
            "In the place of a path's parameter, * stands for the ids of payments; the function"
            " tells a caller of its own alone."
        ),
        nag=(
            f"{AWS_SOLUTIONS}-IAM5[Resource::arn:<AWS::Partition>:execute-api:<AWS::Region>:"
            "<AWS::AccountId>:<PaymentAPI>/prod/GET/transactions/*]",
        ),
    ),
    Suppression(
        resources=("PaymentAPICloudWatchRole",),
        reason=(
            "The role serves all APIs of the region, and this policy is the one that AWS documents"
            " for it; the stack leaves the role out where the region has one."
        ),
        nag=(
            f"{AWS_SOLUTIONS}-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs]",
        ),
    ),
)


def suppressed(config: StackConfig) -> Mapping[str, Mapping[str, object]]:
    """Return the Metadata of each resource, by its logical id, for what does not fit it.

    cdk-nag reads `cdk_nag` (its README, "Suppressing a Rule"), checkov reads `checkov` (
    "Suppressing and Skipping Policies" in its documentation).
    """
    chosen = [
        suppression
        for suppression in SUPPRESSIONS
        if config.suppressions and suppression.when(config)
    ]
    metadata: dict[str, dict[str, object]] = {}
    for resource in dict.fromkeys(name for suppression in chosen for name in suppression.resources):
        of_resource = [suppression for suppression in chosen if resource in suppression.resources]
        nag = [
            _nag_entry(rule, suppression.reason)
            for suppression in of_resource
            for rule in suppression.nag
        ]
        skip = [
            {"id": rule, "comment": suppression.reason}
            for suppression in of_resource
            for rule in suppression.checkov
        ]
        ignore = [
            {"id": rule, "reason": suppression.reason}
            for suppression in of_resource
            for rule in suppression.trivy
        ]
        metadata[resource] = {
            **({"cdk_nag": {"rules_to_suppress": nag}} if nag else {}),
            **({"checkov": {"skip": skip}} if skip else {}),
            **({"trivy": {"ignore": ignore}} if ignore else {}),
        }
    return metadata


def _nag_entry(rule: str, reason: str) -> dict[str, object]:
    name, bracket, finding = rule.partition("[")
    only = {"applies_to": [finding.removesuffix("]")]} if bracket else {}
    return {"id": name, "reason": reason, **only}
