"""The AWS clients and the gateway: each made when it is first needed.

How long a call may take is part of the time budget in deadline.py. /health reads CloudWatch, which
is slower, for longer: 2 x (0.5 s + 5 s) + 1 s = 12 s.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache, partial
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import botocore
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.aws import logs
from handlers.shared.aws.store import Store
from handlers.shared.aws.table import Table
from handlers.shared.callers import Claimant
from handlers.shared.deadline import (
    CONNECT_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    TOTAL_ATTEMPTS,
)
from handlers.shared.failures import error_code, is_failure
from handlers.shared.gateway import GatewayUnavailable
from handlers.shared.retry_messages import RetryQueue
from handlers.shared.transactions import LEASE_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

    from handlers.shared.gateway import AnyGateway, RenewableGateway

METRICS_READ_TIMEOUT_SECONDS = 5.0
SIMULATED = "handlers.shared.gateway:SimulatedGateway"
SECRET_SECONDS = 300


def time_budget(
    read_timeout_seconds: float = READ_TIMEOUT_SECONDS, attempts: int = TOTAL_ATTEMPTS
) -> Config:
    """Return the client configuration that keeps one call within its share of the budget."""
    return Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        # botocore would make the text of its own anew for every call, a tenth of a warm request.
        user_agent=f"payment-infra Botocore/{botocore.__version__}",
        # Every call is built from values that were parsed; the services check them once more.
        parameter_validation=False,
    )


@cache
def _session() -> botocore.session.Session:
    return botocore.session.Session()


def _client(service: str, config: Config) -> Any:
    # boto3's clients are these; boto3 itself would add the import of its S3 transfer manager to
    # every cold start.
    return _session().create_client(service, config=config)


@cache
def dynamodb() -> DynamoDBClient:
    """The DynamoDB client."""
    client: DynamoDBClient = _client("dynamodb", time_budget())
    return client


@cache
def sqs() -> SQSClient:
    """The SQS client, which only a failure needs."""
    client: SQSClient = _client("sqs", time_budget())
    return client


@cache
def cloudwatch() -> CloudWatchClient:
    """The CloudWatch client."""
    client: CloudWatchClient = _client("cloudwatch", time_budget(METRICS_READ_TIMEOUT_SECONDS))
    return client


@cache
def sns() -> SNSClient:
    """The SNS client, which only a degraded system needs."""
    client: SNSClient = _client("sns", time_budget())
    return client


@cache
def secrets() -> SecretsManagerClient:
    """The Secrets Manager client, which only a gateway with a secret needs."""
    client: SecretsManagerClient = _client("secretsmanager", time_budget(attempts=1))
    return client


@cache
def cloudwatch_logs() -> CloudWatchLogsClient:
    """The CloudWatch Logs client, for the latest health report.

    One attempt, 2 s, since a report can be had without it. The longest GET /health finds none
    (2 s), makes one (12 s), and stores it in a stream that it has to create (3 x 2 s): 20 s.
    """
    client: CloudWatchLogsClient = _client("logs", time_budget(attempts=1))
    return client


@cache
def apigateway() -> APIGatewayClient:
    """The client of API Gateway's own API, which only the scheduled run needs."""
    client: APIGatewayClient = _client("apigateway", time_budget())
    return client


@cache
def aws_lambda() -> LambdaClient:
    """The Lambda client, which only the scheduled run needs."""
    client: LambdaClient = _client("lambda", time_budget())
    return client


def gateway() -> AnyGateway:
    """The gateway of `gateway_class`.

    It is made with the text of the secret GATEWAY_SECRET_ARN, or with None; with a secret it is
    made anew every SECRET_SECONDS, so that a rotated one gets in. One that has `fetch_secret` is
    given a function that returns the secret as it is now.

    Raises GatewayUnavailable if there is no secret to be had, or the class cannot be made, whatever
    that is due to; the log says what and where.
    """
    arn = os.environ.get("GATEWAY_SECRET_ARN")
    return _gateway(gateway_class(), arn, int(monotonic() // SECRET_SECONDS) if arn else 0)


def gateway_class() -> type[AnyGateway]:
    """The class that GATEWAY names, as "module:Class", which says what it needs of a payment, and
    needs no secret for that.

    Raises GatewayUnavailable if it cannot be had, whatever that is due to; the log says what and
    where.
    """
    return _class(os.environ.get("GATEWAY", SIMULATED))


@lru_cache(maxsize=1)
def _class(name: str) -> type[AnyGateway]:
    module, _, class_name = name.partition(":")
    try:
        found: type[AnyGateway] = getattr(import_module(module), class_name)
    except BaseException as error:  # the module is not ours, and may raise anything
        if not is_failure(error):
            raise
        logs.unexpected(error, gateway=name)
        raise GatewayUnavailable(error_code(error)) from error
    return found


@lru_cache(maxsize=1)
def _gateway(make: Any, secret_arn: str | None, _period: int) -> AnyGateway:
    secret = _secret(secret_arn) if secret_arn else None
    try:
        made: AnyGateway = make(secret)
        if secret_arn and hasattr(make, "fetch_secret"):
            cast("RenewableGateway", made).fetch_secret = partial(_secret, secret_arn)
    except BaseException as error:  # the class is not ours, and may raise anything
        if not is_failure(error):
            raise
        logs.unexpected(error, gateway=f"{make.__module__}:{make.__qualname__}")
        raise GatewayUnavailable(error_code(error)) from error
    return made


def _secret(arn: str) -> str | None:
    """Return the text of a secret, None if it has none. Raises GatewayUnavailable."""
    try:
        return secrets().get_secret_value(SecretId=arn).get("SecretString")
    except (BotoCoreError, ClientError) as error:
        raise GatewayUnavailable(error_code(error)) from error


def claimant(caller: str | None) -> Claimant:
    """Who asks for a payment, with the access that PAYMENT_ACCESS gives; None is the system."""
    account = os.environ.get("PAYMENT_ACCESS") == "account"
    return Claimant(caller, "account" if account else "caller")


def configured_gateway() -> str:
    """Whom the settings have payments charged by: GATEWAY, and the name of its secret, if any.

    Another secret may be another account's. Neither is asked for anything here.
    """
    secret = os.environ.get("GATEWAY_SECRET_ARN", "").rpartition(":")[2]
    return f"{os.environ.get('GATEWAY', SIMULATED)} {secret}".rstrip()


def store() -> Store:
    """The table named by TRANSACTIONS_TABLE; LEASE_SECONDS is for tests that cannot wait."""
    lease_seconds = int(os.environ.get("LEASE_SECONDS", LEASE_SECONDS))
    table = Table(dynamodb(), os.environ["TRANSACTIONS_TABLE"])
    return Store(table, configured_gateway(), lease_seconds)


def retry_queue() -> RetryQueue:
    """The queue named by FAILED_QUEUE_URL."""
    return RetryQueue(sqs(), os.environ["FAILED_QUEUE_URL"])
