"""The REST API: its methods, what is checked before them, its deployment, who may call it."""

import hashlib
import json
from dataclasses import dataclass

from awacs import execute_api
from awacs.aws import Allow, PolicyDocument, Statement
from troposphere import Condition, Sub
from troposphere.apigateway import (
    Deployment,
    EndpointConfiguration,
    GatewayResponse,
    Integration,
    Method,
    Model,
    RequestValidator,
    Resource,
    RestApi,
)
from troposphere.awslambda import Permission
from troposphere.iam import ManagedPolicy

from payment_infra.config import StackConfig
from payment_infra.groups.access import build_policy
from payment_infra.groups.function_parts import FunctionParts
from payment_infra.groups.functions import Functions
from payment_infra.groups.refusals import build_refusals
from payment_infra.groups.tls import CONDITIONS, endpoint_type, enhanced
from payment_infra.names import CANCEL_PATH, GATEWAY_EVENTS_PATH, STAGE_NAME
from payment_infra.naming import filled, suffixed

# What API Gateway waits for an integration that names no other time (AWS::ApiGateway::Method
# Integration, TimeoutInMillis), and its own maximum without a quota increase.
INTEGRATION_TIMEOUT_MILLISECONDS = 29_000


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
    transactions: Resource
    endpoints: tuple[Endpoint, ...]
    refusals: tuple[GatewayResponse, ...]
    deployment: Deployment
    caller_policy: ManagedPolicy
    monitor_policy: ManagedPolicy | None
    url: Sub
    conditions: dict[str, Condition]


def build_rest_api(config: StackConfig) -> RestApi:
    """Build the REST API itself, which a function looks at."""
    policy = build_policy(config)
    return RestApi(
        "PaymentAPI",
        Name=suffixed("payment-api"),
        Description="Payment Processing API with disaster recovery",
        EndpointConfiguration=EndpointConfiguration(
            Types=[endpoint_type(config)],
            **({"VpcEndpointIds": list(config.vpc_endpoints)} if config.vpc_endpoints else {}),
        ),
        **enhanced(config),
        **({"Policy": policy} if policy else {}),
        **({} if config.execute_api_endpoint else {"DisableExecuteApiEndpoint": True}),
    )


def build_api(config: StackConfig, rest_api: RestApi, functions: Functions) -> Api:
    """Build what the API consists of, in front of the functions."""
    validator = RequestValidator(
        "PaymentAPIBodyValidator",
        RestApiId=rest_api.ref(),
        Name="body",
        ValidateRequestBody=True,
    )
    model = Model(
        "PaymentAPIJSONObject",
        RestApiId=rest_api.ref(),
        Name="JSONObject",
        ContentType="application/json",
        Schema={"$schema": "http://json-schema.org/draft-04/schema#", "type": "object"},
    )
    # It would make the schema a text of JSON, which is no object to who includes the template in a
    # CDK app (CfnInclude).
    model.no_validation()
    signed = "AWS_IAM" if config.authorization == "iam" else "NONE"
    payment = {
        "AuthorizationType": signed,
        "RequestValidatorId": validator.ref(),
        # Whatever the content type: with a model for JSON alone, a body sent as anything else would
        # pass unchecked (API Gateway, "Request validation for REST APIs", $default).
        "RequestModels": {"$default": model.ref()},
    }
    transactions = _build_resource(rest_api, "TransactionsResource", "transactions")
    endpoints: tuple[Endpoint, ...] = (
        _build_endpoint(rest_api, "Validate", "POST", "validate", functions.validation, payment),
        _build_endpoint(rest_api, "Process", "POST", "process", functions.processing, payment),
        _build_endpoint(
            rest_api,
            "Lookup",
            "GET",
            "{transaction_id}",
            functions.lookup,
            {"AuthorizationType": signed},
            above=transactions,
        ),
        _build_endpoint(rest_api, "Cancel", "POST", CANCEL_PATH, functions.cancellation, payment),
        _build_endpoint(
            rest_api,
            "Health",
            "GET",
            "health",
            functions.health_monitor,
            # Load balancers and uptime probes cannot sign.
            {"AuthorizationType": "AWS_IAM" if config.health_access == "closed" else "NONE"},
        ),
    )
    if functions.gateway_events:
        # A gateway signs by its own secret, and the body as it is.
        endpoints += (
            _build_endpoint(
                rest_api,
                "GatewayEvents",
                "POST",
                GATEWAY_EVENTS_PATH,
                functions.gateway_events,
                {"AuthorizationType": "NONE"},
            ),
        )
    refusals = build_refusals(rest_api)
    deployment = _build_deployment(
        rest_api, validator, model, transactions, endpoints, refusals, published=config.versions
    )
    return Api(
        rest_api=rest_api,
        validator=validator,
        model=model,
        transactions=transactions,
        endpoints=endpoints,
        refusals=refusals,
        deployment=deployment,
        caller_policy=_build_invoke_policy(
            "PaymentCallerPolicy",
            "Lets those who have it call the payment methods of the API.",
            "CallPayments",
            _execution_arn(rest_api, "POST", "validate"),
            _execution_arn(rest_api, "POST", "process"),
            _execution_arn(rest_api, "GET", "transactions/*"),
            _execution_arn(rest_api, "POST", CANCEL_PATH),
        ),
        # Whoever watches the system pays nothing, and who pays need not watch it.
        monitor_policy=_build_invoke_policy(
            "PaymentMonitorPolicy",
            "Lets those who have it ask the API how it is.",
            "AskHealth",
            _execution_arn(rest_api, "GET", "health"),
        )
        if config.health_access == "closed"
        else None,
        url=filled(
            "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}/" + STAGE_NAME + "/",
            Api=rest_api.ref(),
        ),
        conditions=CONDITIONS,
    )


def _build_endpoint(
    rest_api: RestApi,
    prefix: str,
    verb: str,
    part: str,
    function: FunctionParts,
    properties: dict[str, object],
    *,
    above: Resource | None = None,
) -> Endpoint:
    """Build an endpoint, at this part of a path below the root or what is `above`."""
    resource = _build_resource(rest_api, f"{prefix}Resource", part, above)
    # What a path has in the place of a parameter is "*" in an ARN ("Control access for invoking an
    # API").
    path = f"{above.PathPart}/*" if above else part
    method = Method(
        f"{prefix}Method",
        RestApiId=rest_api.ref(),
        ResourceId=resource.ref(),
        HttpMethod=verb,
        Integration=Integration(
            Type="AWS_PROXY",
            IntegrationHttpMethod="POST",
            Uri=filled(
                "arn:${AWS::Partition}:apigateway:${AWS::Region}:lambda:path"
                "/2015-03-31/functions/${Function}/invocations",
                Function=function.invoked_arn,
            ),
        ),
        **properties,
    )
    permission = Permission(
        f"{prefix}Permission",
        Action="lambda:InvokeFunction",
        FunctionName=function.invoked,
        Principal="apigateway.amazonaws.com",
        SourceArn=_execution_arn(rest_api, verb, path),
    )
    return Endpoint(resource=resource, method=method, permission=permission)


def _build_resource(
    rest_api: RestApi, title: str, part: str, above: Resource | None = None
) -> Resource:
    return Resource(
        title,
        RestApiId=rest_api.ref(),
        ParentId=above.ref() if above else rest_api.get_att("RootResourceId"),
        PathPart=part,
    )


def _execution_arn(rest_api: RestApi, verb: str, path: str) -> Sub:
    return filled(
        "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}"
        f"/{STAGE_NAME}/{verb}/{path}",
        Api=rest_api.ref(),
    )


def _build_deployment(
    rest_api: RestApi,
    validator: RequestValidator,
    model: Model,
    transactions: Resource,
    endpoints: tuple[Endpoint, ...],
    refusals: tuple[GatewayResponse, ...],
    *,
    published: bool,
) -> Deployment:
    """Build the deployment; its logical id changes with what it is a snapshot of, since
    CloudFormation would not make another one for the same id.

    What the API itself says of its endpoint and its policy reaches the stage by a deployment too
    ("How to change a security policy": "Redeploy your API for the changes to take effect").
    """
    resources = [transactions, *(endpoint.resource for endpoint in endpoints)]
    # Where methods begin to invoke an alias, that may not be invoked before.
    permissions = [endpoint.permission for endpoint in endpoints] if published else []
    methods = [endpoint.method for endpoint in endpoints]
    snapshot = {
        resource.title: resource.to_dict()
        for resource in (rest_api, validator, model, *resources, *methods, *refusals)
    }
    canonical = json.dumps(snapshot, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    return Deployment(
        f"PaymentAPIDeployment{digest}",
        DependsOn=[resource.title for resource in (*methods, *permissions, *refusals)],
        RestApiId=rest_api.ref(),
    )


def _build_invoke_policy(title: str, description: str, sid: str, *methods: Sub) -> ManagedPolicy:
    return ManagedPolicy(
        title,
        Description=description,
        PolicyDocument=PolicyDocument(
            Version="2012-10-17",
            Statement=[
                Statement(
                    Sid=sid,
                    Effect=Allow,
                    Action=[execute_api.Invoke],
                    Resource=list(methods),
                )
            ],
        ),
    )
