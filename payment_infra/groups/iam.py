"""Grants, each a statement, and the execution roles that are made of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from awacs import (
    apigateway,
    awslambda,
    cloudwatch,
    dynamodb,
    ec2,
    kms,
    logs,
    secretsmanager,
    sns,
    sqs,
    xray,
)
from awacs.aws import (
    Action,
    Allow,
    ArnEquals,
    Bool,
    Deny,
    PolicyDocument,
    Principal,
    Statement,
    StringEquals,
)
from awacs.aws import Condition as When
from awacs.helpers.trust import get_lambda_assumerole_policy
from troposphere import Join, Select, Split, StackId, Sub
from troposphere.apigateway import RestApi
from troposphere.awslambda import EventSourceMapping
from troposphere.iam import ManagedPolicy, Role
from troposphere.logs import LogGroup
from troposphere.sns import Topic
from troposphere.sqs import Queue

from payment_infra.config import StackConfig
from payment_infra.groups.encryption import SEND, USE, Encryption, service_name
from payment_infra.groups.storage import Storage
from payment_infra.names import STAGE_NAME
from payment_infra.naming import arn_of, filled

# What a function does with what the key encrypts, to the service that it does that through, and
# what that needs of the key in the function's name. Where Lambda takes messages from a queue for a
# function, that is the function's role ("Using Lambda with Amazon SQS"); so it is for its variables
# ("Securing Lambda environment variables"). The rest: see `encryption.py`.
KEY_USES = {
    "Table": ("dynamodb", USE),
    "Sending": ("sqs", SEND),
    "Receiving": ("sqs", (kms.Decrypt,)),
    "Publishing": ("sns", SEND),
    "Variables": ("lambda", (kms.Decrypt,)),
}


@dataclass(frozen=True)
class ExecutionRole:
    """A function's role and the managed policy that says what it may do."""

    role: Role
    policy: ManagedPolicy


def execution_role(
    function: str, *grants: Statement, shared: Sequence[ManagedPolicy] = ()
) -> ExecutionRole:
    """Build the role that only the function with this logical id prefix assumes.

    Args:
        function: the prefix.
        grants: what this function alone may do.
        shared: the policies of what others may do as well.
    """
    policy = ManagedPolicy(
        f"{function}Policy",
        # Another one, or none, would replace the policy (AWS::IAM::ManagedPolicy).
        Description=f"What the {function} function may do.",
        PolicyDocument=PolicyDocument(Version="2012-10-17", Statement=list(grants)),
    )
    role = Role(
        f"{function}Role",
        AssumeRolePolicyDocument=get_lambda_assumerole_policy(),
        ManagedPolicyArns=[policy.ref(), *(each.ref() for each in shared)],
    )
    return ExecutionRole(role=role, policy=policy)


def build_tracing_policy() -> ManagedPolicy:
    """Build the policy of what every function may do, to send traces; it is the only one of theirs
    that is not about the stack's own resources."""
    return ManagedPolicy(
        "TracingPolicy",
        Description="What every function may do.",
        PolicyDocument=PolicyDocument(Version="2012-10-17", Statement=[send_traces()]),
    )


def under_account_rules(role: Role, config: StackConfig) -> None:
    """Give a role what the account asks of every role: boundary, path, and a name with its prefix.

    A name has a part of the stack's id, since roles are the account's and not a region's, and since
    a role that an earlier stack has kept still has its own. It has a digest of the path as well:
    CloudFormation makes a role anew in another path before it deletes the old one (AWS::IAM::Role,
    Path), and an account has no two roles of one name.
    """
    place: list[str] = []
    if config.permissions_boundary:
        role.PermissionsBoundary = config.permissions_boundary
    if config.role_path != "/":
        role.Path = config.role_path
        place = [hashlib.sha256(config.role_path.encode()).hexdigest()[:4]]
    if config.role_prefix:
        # The id's UUID begins with eight characters of the time at which the stack was made.
        own = Select(0, Split("-", Select(2, Split("/", StackId))))
        role.RoleName = Join("-", [f"{config.role_prefix}{role.title}", *place, own])


def record_payments(storage: Storage) -> Statement:
    """Grant putting new transactions into the active table."""
    return _allow("RecordPayments", [dynamodb.PutItem], storage.arn)


def claim_and_finish(storage: Storage) -> Statement:
    """Grant moving transactions of the active table through their states."""
    return _allow("ClaimAndFinishPayments", [dynamodb.UpdateItem], storage.arn)


def record_and_finish(storage: Storage) -> Statement:
    """Grant putting new transactions into the active table, and moving them through their
    states."""
    actions = [dynamodb.PutItem, dynamodb.UpdateItem]
    return _allow("RecordAndFinishPayments", actions, storage.arn)


def look_up_payments(storage: Storage) -> Statement:
    """Grant reading one transaction of the active table at a time."""
    return _allow("LookUpPayments", [dynamodb.GetItem], storage.arn)


def find_in_flight(storage: Storage) -> Statement:
    """Grant looking up in the index which payments are in flight."""
    return _allow("FindPaymentsInFlight", [dynamodb.Query], storage.index_arn)


def recover_payments(storage: Storage) -> Statement:
    """Grant moving the expired lease of a payment forward, and finding those without one."""
    return _allow("RecoverPayments", [dynamodb.Scan, dynamodb.UpdateItem], storage.arn)


def use_key(encryption: Encryption, *uses: str) -> Iterator[Statement]:
    """Grant using the key, if there is one, for these KEY_USES, and through their service only."""
    if encryption.key is None:
        return
    for use in uses:
        service, actions = KEY_USES[use]
        yield Statement(
            Sid=f"UseKeyFor{use}",
            Effect=Allow,
            Action=list(actions),
            Resource=[encryption.key.get_att("Arn")],
            Condition=When(StringEquals("kms:ViaService", service_name(service))),
        )


def read_secret(arn: str) -> Statement:
    """Grant reading one secret."""
    return _allow("ReadGatewaySecret", [secretsmanager.GetSecretValue], arn)


def receive_from(queue_arn: object) -> Statement:
    """Grant what Lambda needs to take messages from a queue for the function."""
    return _allow(
        "TakeFailedTransactions",
        [sqs.ReceiveMessage, sqs.DeleteMessage, sqs.GetQueueAttributes],
        queue_arn,
    )


def send_to(queue_arn: object) -> Statement:
    """Grant sending messages to a queue."""
    return _allow("QueueFailedTransactions", [sqs.SendMessage], queue_arn)


def keep_failed_runs(queue: Queue) -> Statement:
    """Grant what Lambda needs to put events into a queue that the function has failed to handle."""
    return _allow("KeepFailedRuns", [sqs.SendMessage], queue.get_att("Arn"))


def use_network_interfaces(function: str) -> tuple[Statement, ...]:
    """Grant what Lambda needs to connect a function to a VPC, and nothing of it to its code.

    As documented, with the resources that are documented (Lambda, "Giving Lambda functions access
    to resources in an Amazon VPC": required permissions, and denying them to the function's code).

    Args:
        function: the function's base name.
    """
    describes = [ec2.DescribeNetworkInterfaces, ec2.DescribeSubnets]
    changes = [
        ec2.CreateNetworkInterface,
        ec2.DeleteNetworkInterface,
        ec2.AssignPrivateIpAddresses,
        ec2.UnassignPrivateIpAddresses,
    ]
    every = Sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:*/*")
    return (
        # Amazon EC2 has no resource-level permission for what only describes.
        _allow("DescribeNetwork", describes, "*"),
        _allow("UseNetworkInterfaces", changes, every),
        Statement(
            Sid="NotForCode",
            Effect=Deny,
            Action=[*describes, *changes],
            Resource=["*"],
            Condition=When(
                ArnEquals("lambda:SourceFunctionArn", arn_of("lambda", f"function:{function}"))
            ),
        ),
    )


def publish_to(topic: Topic) -> Statement:
    """Grant publishing to a topic."""
    return _allow("PublishAlerts", [sns.Publish], topic.ref())


def read_metrics() -> Statement:
    """Grant reading metrics."""
    # CloudWatch has no resource-level permission for GetMetricData.
    return _allow("ReadMetrics", [cloudwatch.GetMetricData], "*")


def read_alarm(name: str) -> Statement:
    """Grant reading the state of the alarm with this base name."""
    return _allow("ReadAlarms", [cloudwatch.DescribeAlarms], arn_of("cloudwatch", f"alarm:{name}"))


def read_stage(rest_api: RestApi) -> Statement:
    """Grant reading the settings of the API's stage."""
    arn = "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${Api}/stages/" + STAGE_NAME
    return _allow("ReadStage", [apigateway.GET], filled(arn, Api=rest_api.ref()))


def read_event_source(mapping: EventSourceMapping) -> Statement:
    """Grant reading whether what gives a function its messages is on."""
    arn = mapping.get_att("EventSourceMappingArn")
    return _allow("ReadEventSource", [awslambda.GetEventSourceMapping], arn)


def read_log_stream(log_group: str, stream: str) -> Statement:
    """Grant reading one stream of the log group with this base name."""
    arn = arn_of("logs", f"log-group:{log_group}", f":log-stream:{stream}")
    return _allow("ReadLatestReport", [logs.GetLogEvents], arn)


def write_logs(log_group: LogGroup) -> Statement:
    """Grant writing to the streams of one log group, which the stack has made."""
    # The log group's Arn attribute ends in ":*", which stands for its streams.
    return _allow("WriteLogs", [logs.CreateLogStream, logs.PutLogEvents], log_group.get_att("Arn"))


def send_traces() -> Statement:
    """Grant sending traces."""
    # X-Ray has no resource-level permission for what a tracer sends.
    return _allow("SendTraces", [xray.PutTraceSegments, xray.PutTelemetryRecords], "*")


def require_tls(action: Action, resource: object) -> Statement:
    """Refuse whoever does not use TLS; a service that acts for itself does, or does not say (IAM,
    "AWS global condition context keys", aws:SecureTransport)."""
    return Statement(
        Effect=Deny,
        Principal=Principal("*"),
        Action=[action],
        Resource=[resource],
        Condition=When(Bool("aws:SecureTransport", "false")),
    )


def _allow(sid: str, actions: Sequence[Action], resource: object) -> Statement:
    return Statement(Sid=sid, Effect=Allow, Action=list(actions), Resource=[resource])
