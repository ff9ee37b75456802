"""Tracing: which of the requests X-Ray records."""

from dataclasses import dataclass

from troposphere.xray import SamplingRule, SamplingRuleProperty

from payment_infra.config import StackConfig
from payment_infra.groups.stage import ApiStage
from payment_infra.naming import filled, suffixed

ANY = "*"


@dataclass(frozen=True)
class Tracing:
    """The rule by which X-Ray samples the API's requests."""

    sampling_rule: SamplingRule


def build_tracing(config: StackConfig, stage: ApiStage) -> Tracing | None:
    """Build the sampling rule, None where X-Ray's own default rule holds.

    It matches the stage alone, by the name and ARN that API Gateway gives it (API Gateway,
    "Configure AWS X-Ray sampling rules for API Gateway APIs"), and has no reservoir, which would
    record a request of every second. The functions do as the stage has decided; the sampling of
    what has no stage before it, the schedule and the queue, cannot be set (Lambda, "Visualize
    Lambda function invocations using AWS X-Ray").
    """
    if config.trace_percent < 0:
        return None
    rule = SamplingRule(
        "PaymentAPISamplingRule",
        SamplingRule=SamplingRuleProperty(
            # At most 32 characters, of which a suffix may take 30.
            RuleName=config.sampling_rule_name or suffixed("p"),
            Priority=config.sampling_priority,
            FixedRate=config.trace_percent / 100,
            ReservoirSize=0,
            ServiceName=filled(
                "${Name}/${Stage}", Name=suffixed("payment-api"), Stage=stage.stage.ref()
            ),
            ServiceType="AWS::ApiGateway::Stage",
            ResourceARN=stage.arn,
            Host=ANY,
            HTTPMethod=ANY,
            URLPath=ANY,
            Version=1,
        ),
    )
    return Tracing(sampling_rule=rule)
