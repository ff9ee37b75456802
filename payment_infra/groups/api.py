"""The REST API: methods, validation, refusals, deployment, stage, logs, and who may call it."""

import hashlib
import json
from dataclasses import dataclass

from awacs import execute_api
from awacs.aws import Allow, PolicyDocument, Statement
from awacs.helpers.trust import make_simple_assume_policy
from troposphere import Condition, Equals, If, Sub
from troposphere.apigateway import (
    AccessLogSetting,
    Account,
    Deployment,
    EndpointConfiguration,
    GatewayResponse,
    Integration,
    Method,
    MethodSetting,
    Model,
    RequestValidator,
    Resource,
    RestApi,
    Stage,
)
from troposphere.awslambda import Function, Permission
from troposphere.iam import ManagedPolicy, Role
from troposphere.logs import LogGroup

from payment_infra.config import StackConfig
from payment_infra.groups.functions import Functions
from payment_infra.groups.logs import build_log_group
from payment_infra.groups.retention import RETAIN
from payment_infra.naming import (
    MANAGE_API_GATEWAY_ACCOUNT,
    STAGE_NAME,
    THROTTLE_BURST_LIMIT,
    THROTTLE_RATE_LIMIT,
    parameter,
    suffixed,
)

ACCOUNT_CONDITION = "ManagesApiGatewayAccount"
HEALTH_RATE_LIMIT = 10
HEALTH_BURST_LIMIT = 20
# API Gateway's own maximum for an integration that is not changed by a quota increase.
INTEGRATION_TIMEOUT_MILLISECONDS = 29_000

# What the gateway refuses by itself: response type, status, error, message. None as a message
# passes the gateway's own on. (API Gateway, "Gateway response types".)
REFUSALS = (
    ("BAD_REQUEST_BODY", "400", "Invalid body", "The body must be a JSON object"),
    (
        "MISSING_AUTHENTICATION_TOKEN",
        "403",
        "Forbidden",
        "There is no such endpoint, or the request is not signed (AWS Signature Version 4)",
    ),
    ("ACCESS_DENIED", "403", "Forbidden", None),
    ("INVALID_SIGNATURE", "403", "Forbidden", None),
    ("EXPIRED_TOKEN", "403", "Forbidden", None),
    ("REQUEST_TOO_LARGE", "413", "Request too large", None),
    ("UNSUPPORTED_MEDIA_TYPE", "415", "Unsupported media type", None),
    ("THROTTLED", "429", "Too many requests", None),
    (
        "INTEGRATION_TIMEOUT",
        "504",
        "Timeout",
        "The answer did not come in time; the outcome of the request is unknown",
    ),
    ("INTEGRATION_FAILURE", "504", "Service unavailable", None),
    ("DEFAULT_4XX", None, "Request refused", None),
    ("DEFAULT_5XX", None, "Service unavailable", None),
)

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
class Endpoint:
    """One path of the API, its method, and the permission to invoke the function behind it."""

    resource: Resource
    method: Method
    permission: Permission


@dataclass(frozen=True)
class Api:
    """The REST API with everything that belongs to it, in the order in which it is built."""

    rest_api: RestApi
    validator: RequestValidator
    model: Model
    endpoints: tuple[Endpoint, ...]
    refusals: tuple[GatewayResponse, ...]
    deployment: Deployment
    account_role: Role
    account: Account
    access_log: LogGroup
    execution_log: LogGroup
    stage: Stage
    caller_policy: ManagedPolicy
    conditions: dict[str, Condition]
    url: Sub


def build_api(config: StackConfig, functions: Functions) -> Api:
    """Build the API in front of the functions."""
    rest_api = RestApi(
        "PaymentAPI",
        Name=suffixed("payment-api"),
        Description="Payment Processing API with disaster recovery",
        EndpointConfiguration=EndpointConfiguration(Types=["EDGE"]),
    )
    validator = RequestValidator(
        "PaymentAPIBodyValidator",
        RestApiId=rest_api.ref(),
        Name="body",
        ValidateRequestBody=True,
        ValidateRequestParameters=False,
    )
    model = Model(
        "PaymentAPIJSONObject",
        RestApiId=rest_api.ref(),
        Name="JSONObject",
        ContentType="application/json",
        Schema={"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"},
    )
    signed = "AWS_IAM" if config.authorization == "iam" else "NONE"
    payment = {
        "AuthorizationType": signed,
        "RequestValidatorId": validator.ref(),
        "RequestModels": {"application/json": model.ref()},
    }
    endpoints = (
        _build_endpoint(rest_api, "Validate", "POST", functions.validation.function, payment),
        _build_endpoint(rest_api, "Process", "POST", functions.processing.function, payment),
        _build_endpoint(
            rest_api,
            "Health",
            "GET",
            functions.health_monitor.function,
            # Load balancers and uptime probes cannot sign.
            {"AuthorizationType": "NONE"},
        ),
    )
    refusals = tuple(_build_refusal(rest_api, *refusal) for refusal in REFUSALS)
    deployment = _build_deployment(rest_api, validator, model, endpoints, refusals)
    account_role, account = _build_account(rest_api)
    access_log = build_log_group(
        config, "PaymentAPIAccessLogGroup", suffixed("/aws/apigateway/payment-api")
    )
    execution_log = build_log_group(
        config,
        "PaymentAPIExecutionLogGroup",
        Sub(f"API-Gateway-Execution-Logs_${{Api}}/{STAGE_NAME}", Api=rest_api.ref()),
    )
    stage = Stage(
        "PaymentAPIStage",
        # Before API Gateway would make the log group itself, without retention.
        DependsOn=execution_log.title,
        # The account's role must be there before the stage switches logging on. A DependsOn
        # cannot name a resource that has a condition, but a reference inside an If can.
        Description=Sub(
            "Logs through ${Account}",
            Account=If(ACCOUNT_CONDITION, account.ref(), "the role that the region has already"),
        ),
        RestApiId=rest_api.ref(),
        DeploymentId=deployment.ref(),
        StageName=STAGE_NAME,
        MethodSettings=[
            _settings("/*", "*", parameter(THROTTLE_RATE_LIMIT), parameter(THROTTLE_BURST_LIMIT)),
            _settings("/~1health", "GET", HEALTH_RATE_LIMIT, HEALTH_BURST_LIMIT),
        ],
        AccessLogSetting=AccessLogSetting(
            DestinationArn=access_log.get_att("Arn"), Format=json.dumps(ACCESS_LOG_FIELDS)
        ),
        TracingEnabled=True,
    )
    return Api(
        rest_api=rest_api,
        validator=validator,
        model=model,
        endpoints=endpoints,
        refusals=refusals,
        deployment=deployment,
        account_role=account_role,
        account=account,
        access_log=access_log,
        execution_log=execution_log,
        stage=stage,
        caller_policy=_build_caller_policy(rest_api),
        conditions={ACCOUNT_CONDITION: Equals(parameter(MANAGE_API_GATEWAY_ACCOUNT), "true")},
        url=Sub(
            "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/" + STAGE_NAME + "/",
            Api=rest_api.ref(),
        ),
    )


def _build_endpoint(
    rest_api: RestApi, prefix: str, verb: str, function: Function, properties: dict[str, object]
) -> Endpoint:
    path = prefix.lower()
    resource = Resource(
        f"{prefix}Resource",
        RestApiId=rest_api.ref(),
        ParentId=rest_api.get_att("RootResourceId"),
        PathPart=path,
    )
    method = Method(
        f"{prefix}Method",
        RestApiId=rest_api.ref(),
        ResourceId=resource.ref(),
        HttpMethod=verb,
        Integration=Integration(
            Type="AWS_PROXY",
            IntegrationHttpMethod="POST",
            Uri=Sub(
                "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path"
                "/2015-03-31/functions/${Function}/invocations",
                Function=function.get_att("Arn"),
            ),
            TimeoutInMillis=INTEGRATION_TIMEOUT_MILLISECONDS,
        ),
        **properties,
    )
    permission = Permission(
        f"{prefix}Permission",
        Action="lambda:InvokeFunction",
        FunctionName=function.ref(),
        Principal="apigateway.amazonaws.com",
        SourceArn=_execution_arn(rest_api, verb, path),
    )
    return Endpoint(resource=resource, method=method, permission=permission)


def _execution_arn(rest_api: RestApi, verb: str, path: str) -> Sub:
    return Sub(
        "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}"
        f"/{STAGE_NAME}/{verb}/{path}",
        Api=rest_api.ref(),
    )


def _build_refusal(
    rest_api: RestApi, response_type: str, status: str | None, error: str, message: str | None
) -> GatewayResponse:
    """Build the answer that the gateway gives by itself, in the shape of the handlers' answers."""
    # $context.error.messageString is the gateway's message with its quotes.
    quoted = json.dumps(message) if message else "$context.error.messageString"
    headers = {"gatewayresponse.header.X-Request-Id": "context.requestId"}
    if response_type == "THROTTLED":
        headers["gatewayresponse.header.Retry-After"] = "'1'"
    name = "".join(word.capitalize() for word in response_type.split("_"))
    return GatewayResponse(
        f"{name}Response",
        RestApiId=rest_api.ref(),
        ResponseType=response_type,
        ResponseParameters=headers,
        ResponseTemplates={
            "application/json": f'{{"error": {json.dumps(error)}, "message": {quoted}}}'
        },
        **({"StatusCode": status} if status else {}),
    )


def _build_deployment(
    rest_api: RestApi,
    validator: RequestValidator,
    model: Model,
    endpoints: tuple[Endpoint, ...],
    refusals: tuple[GatewayResponse, ...],
) -> Deployment:
    """Build the deployment; its logical id changes with what it is a snapshot of, since
    CloudFormation would not make another one for the same id."""
    resources = [endpoint.resource for endpoint in endpoints]
    methods = [endpoint.method for endpoint in endpoints]
    snapshot = {
        one.title: one.to_dict() for one in (validator, model, *resources, *methods, *refusals)
    }
    canonical = json.dumps(snapshot, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return Deployment(
        f"PaymentAPIDeployment{digest}",
        DependsOn=[one.title for one in (*methods, *refusals)],
        RestApiId=rest_api.ref(),
        Description="The methods, models and responses as of this template.",
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


def _settings(path: str, verb: str, rate: object, burst: object) -> MethodSetting:
    """A method's settings replace the stage's as a whole, so each states all of them."""
    return MethodSetting(
        ResourcePath=path,
        HttpMethod=verb,
        LoggingLevel="INFO",
        DataTraceEnabled=False,
        MetricsEnabled=True,
        ThrottlingRateLimit=rate,
        ThrottlingBurstLimit=burst,
    )


def _build_caller_policy(rest_api: RestApi) -> ManagedPolicy:
    return ManagedPolicy(
        "PaymentCallerPolicy",
        Description="Lets those who have it call the payment methods of the API.",
        PolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                Statement(
                    Sid="CallPayments",
                    Effect=Allow,
                    Action=[execute_api.Invoke],
                    Resource=[
                        _execution_arn(rest_api, "POST", "validate"),
                        _execution_arn(rest_api, "POST", "process"),
                    ],
                )
            ],
        ),
    )
