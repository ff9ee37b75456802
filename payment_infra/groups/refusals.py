"""What API Gateway refuses by itself, answered in the shape of the handlers' answers."""

import json

from troposphere.apigateway import GatewayResponse, RestApi

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
    ("THROTTLED", "429", "Too many requests", None),
    (
        "INTEGRATION_TIMEOUT",
        "504",
        "Timeout",
        "The answer did not come in time; the outcome of the request is unknown",
    ),
    ("DEFAULT_4XX", None, "Request refused", None),
    ("DEFAULT_5XX", None, "Service unavailable", None),
)


def build_refusals(rest_api: RestApi) -> tuple[GatewayResponse, ...]:
    """Build the answer to each refusal: error, message, and the request id as a header."""
    return tuple(_build_refusal(rest_api, *refusal) for refusal in REFUSALS)


def _build_refusal(
    rest_api: RestApi, response_type: str, status: str | None, error: str, message: str | None
) -> GatewayResponse:
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
            "application/json": f'{{"error":{json.dumps(error)},"message":{quoted}}}'
        },
        **({"StatusCode": status} if status else {}),
    )
