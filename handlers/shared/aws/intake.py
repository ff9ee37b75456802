"""Whether payments are let in, or somebody has stopped them, as a restore does for a while.

They are stopped by a throttle of zero on a method of the stage, or by switching off what gives
payment-retry its messages; and what the gateway tells by itself, by a variable of the stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from handlers.shared.aws import logs
from handlers.shared.failures import error_code

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_lambda import LambdaClient

# The stage's settings, by "resource/METHOD", that say how many payments come in.
PAYMENT_SETTINGS = ("*/*", "validate/POST", "process/POST", "cancel/POST")
# The setting of a stage that takes what the gateway tells, and the stage's variable that stops it.
NOTIFICATION_SETTING = "gateway-events/POST"
STOPPED_VARIABLE = "paymentsStopped"
# States of an event source mapping (Lambda API, GetEventSourceMapping).
SWITCHED_OFF = frozenset({"Disabled", "Disabling"})


def stopped(
    gateway: APIGatewayClient, functions: LambdaClient, api: str, stage: str, source: str
) -> bool | None:
    """Return whether payments, or a part of them, are stopped.

    Args:
        gateway: the client of API Gateway's own API.
        functions: the client of Lambda's.
        api: id of the REST API.
        stage: its stage.
        source: UUID of the event source mapping of payment-retry.

    Returns:
        None if it cannot be told, which is logged.
    """
    answers = (_closed(gateway, api, stage), _switched_off(functions, source))
    if True in answers:
        return True
    return None if None in answers else False


def _closed(client: APIGatewayClient, api: str, stage: str) -> bool | None:
    try:
        found = client.get_stage(restApiId=api, stageName=stage)
    except (BotoCoreError, ClientError) as error:
        logs.error("throttles unknown", code=error_code(error))
        return None
    settings = {
        key.replace("~1", "/").strip("/"): value
        for key, value in found.get("methodSettings", {}).items()
    }
    if NOTIFICATION_SETTING in settings and STOPPED_VARIABLE in found.get("variables", {}):
        return True
    limits = [
        settings[name].get(limit)
        for name in PAYMENT_SETTINGS
        if name in settings
        for limit in ("throttlingRateLimit", "throttlingBurstLimit")
    ]
    return 0 in limits


def _switched_off(client: LambdaClient, source: str) -> bool | None:
    try:
        return client.get_event_source_mapping(UUID=source)["State"] in SWITCHED_OFF
    except (BotoCoreError, ClientError) as error:
        logs.error("event source unknown", code=error_code(error))
        return None
