"""The stage of the API: throttles, logs and traces, and the account setting that logs need."""

import json
from dataclasses import dataclass

from awacs.helpers.trust import make_simple_assume_policy
from troposphere import Condition, Equals, If, Sub
from troposphere.apigateway import (
    AccessLogSetting,
    Account,
    ClientCertificate,
    MethodSetting,
    RestApi,
    Stage,
)
from troposphere.iam import Role
from troposphere.logs import LogGroup

from payment_infra.config import StackConfig
from payment_infra.groups.api import Api
from payment_infra.groups.encryption import Encryption
from payment_infra.groups.logs import build_log_group, destination_arn
from payment_infra.groups.retention import RETAIN
from payment_infra.names import (
    CANCEL_PATH,
    GATEWAY_EVENTS_PATH,
    LOOKUP_PATH,
    MANAGE_API_GATEWAY_ACCOUNT,
    STAGE_NAME,
    THROTTLE_BURST_LIMIT,
    THROTTLE_RATE_LIMIT,
)
from payment_infra.naming import filled, parameter, suffixed

ACCOUNT_CONDITION = "ManagesApiGatewayAccount"
HEALTH_RATE_LIMIT = 10
HEALTH_BURST_LIMIT = 20

# One JSON object a request; no body, no query string (API Gateway, "$context variables for
# access logging").
ACCESS_LOG_FIELDS = {
    "requestId": "$context.requestId",
    "requestTime": "$context.requestTime",
    "httpMethod": "$context.httpMethod",
    "resourcePath": "$context.resourcePath",
    "status": "$context.status",
    "errorType": "$context.error.responseType",
    "responseLength": "$context.responseLength",
    "responseLatency": "$context.responseLatency",
    "integrationLatency": "$context.integrationLatency",
    "integrationStatus": "$context.integration.status",
    "caller": "$context.identity.userArn",
    "sourceIp": "$context.identity.sourceIp",
    "xrayTraceId": "$context.xrayTraceId",
}


@dataclass(frozen=True)
class ApiStage:
    """The stage, its log groups and certificate, and the region's CloudWatch role for API Gateway.

    certificate is what the stage shows to a backend that asks for one; arn is the stage's.
    """

    account_role: Role
    account: Account
    access_log: LogGroup
    execution_log: LogGroup
    certificate: ClientCertificate | None
    stage: Stage
    arn: Sub
    conditions: dict[str, Condition]


def build_stage(config: StackConfig, encryption: Encryption, api: Api) -> ApiStage:
    """Build the stage that serves the API's deployment."""
    rest_api = api.rest_api
    account_role, account = _build_account(rest_api)
    access_log = build_log_group(
        config, encryption, "PaymentAPIAccessLogGroup", suffixed("/aws/apigateway/payment-api")
    )
    execution_log = build_log_group(
        config,
        encryption,
        "PaymentAPIExecutionLogGroup",
        filled(f"API-Gateway-Execution-Logs_${{Api}}/{STAGE_NAME}", Api=rest_api.ref()),
    )
    certificate = (
        ClientCertificate("PaymentAPICertificate", Description="Shown by the stage of the API.")
        if config.client_certificate
        else None
    )
    stage = Stage(
        "PaymentAPIStage",
        # Before API Gateway would make the log group itself, without retention.
        DependsOn=execution_log.title,
        # The account's role must be there before the stage switches logging on. A DependsOn
        # cannot name a resource that has a condition, but a reference inside an If can.
        Description=If(
            ACCOUNT_CONDITION,
            filled("Logs through ${Account}", Account=account.ref()),
            "Logs through the region's role",
        ),
        RestApiId=rest_api.ref(),
        DeploymentId=api.deployment.ref(),
        StageName=STAGE_NAME,
        MethodSettings=[
            _settings(
                config,
                "/*",
                "*",
                ThrottlingRateLimit=parameter(THROTTLE_RATE_LIMIT),
                ThrottlingBurstLimit=parameter(THROTTLE_BURST_LIMIT),
                MetricsEnabled=True,
            ),
            _settings(
                config,
                "/~1health",
                "GET",
                ThrottlingRateLimit=HEALTH_RATE_LIMIT,
                ThrottlingBurstLimit=HEALTH_BURST_LIMIT,
                # Nothing reads the metrics of this method; the stage's own have its requests.
                MetricsEnabled=False,
            ),
            *([] if config.latency_alarms else _unmeasured(config)),
            *([_notifications(config)] if config.gateway_events else []),
        ],
        AccessLogSetting=AccessLogSetting(
            DestinationArn=destination_arn(access_log),
            Format=json.dumps(ACCESS_LOG_FIELDS, separators=(",", ":")),
        ),
        TracingEnabled=True,
        **({"ClientCertificateId": certificate.ref()} if certificate else {}),
    )
    return ApiStage(
        account_role=account_role,
        account=account,
        access_log=access_log,
        execution_log=execution_log,
        certificate=certificate,
        stage=stage,
        arn=filled(
            "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${Api}/stages/${Stage}",
            Api=rest_api.ref(),
            Stage=stage.ref(),
        ),
        conditions={ACCOUNT_CONDITION: Equals(parameter(MANAGE_API_GATEWAY_ACCOUNT), "true")},
    )


def _build_account(rest_api: RestApi) -> tuple[Role, Account]:
    """Build the region's CloudWatch role for API Gateway. It serves every API of the account
    and region, so it stays when this stack goes."""
    role = Role(
        "PaymentAPICloudWatchRole",
        Condition=ACCOUNT_CONDITION,
        DeletionPolicy=RETAIN,
        UpdateReplacePolicy=RETAIN,
        Description="Lets API Gateway write the logs of this region's APIs.",
        AssumeRolePolicyDocument=make_simple_assume_policy("apigateway.amazonaws.com"),
        ManagedPolicyArns=[
            Sub(
                "arn:${AWS::Partition}:iam::aws:policy"
                "/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
            )
        ],
    )
    account = Account(
        "PaymentAPIAccount",
        Condition=ACCOUNT_CONDITION,
        DeletionPolicy=RETAIN,
        UpdateReplacePolicy=RETAIN,
        # In an account that never had an API, the setting can be made only after the first one
        # (CloudFormation, AWS::ApiGateway::Account).
        DependsOn=rest_api.title,
        CloudWatchRoleArn=role.get_att("Arn"),
    )
    return role, account


def _unmeasured(config: StackConfig) -> list[MethodSetting]:
    """Build the settings of the methods whose metrics no alarm reads: the stage's, without."""
    return [
        _settings(
            config,
            path,
            verb,
            ThrottlingRateLimit=parameter(THROTTLE_RATE_LIMIT),
            ThrottlingBurstLimit=parameter(THROTTLE_BURST_LIMIT),
            MetricsEnabled=False,
        )
        for path, verb in (
            (f"/~1{LOOKUP_PATH}~1{{transaction_id}}", "GET"),
            (f"/~1{CANCEL_PATH}", "POST"),
        )
    ]


def _notifications(config: StackConfig) -> MethodSetting:
    """Build the settings of what the gateway tells: nothing reads the metrics of that either."""
    return _settings(
        config,
        f"/~1{GATEWAY_EVENTS_PATH}",
        "POST",
        ThrottlingRateLimit=config.gateway_events_rate_limit,
        ThrottlingBurstLimit=2 * config.gateway_events_rate_limit,
        MetricsEnabled=False,
    )


def _settings(config: StackConfig, path: str, verb: str, **properties: object) -> MethodSetting:
    """A method's settings replace the stage's as a whole, so each states all of them."""
    return MethodSetting(
        ResourcePath=path,
        HttpMethod=verb,
        LoggingLevel=config.execution_log_level.upper(),
        DataTraceEnabled=False,
        **properties,
    )
