"""The functions behind the API, invoked directly, for who cannot reach the API from here."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from payment_infra.cloud.environment.smoke import Answer, since
from payment_infra.cloud.sdk.errors import translated
from payment_infra.foreign import parsed


class Functions:
    """The functions behind the API; told says in a line why they are invoked directly."""

    def __init__(
        self, client: Any, targets: Mapping[str, Mapping[str, str]], principal: str, told: str = ""
    ) -> None:
        """Invoke nothing yet.

        Args:
            client: Lambda's.
            targets: first part of a path of the API, as `validate`, to FunctionName and, if it has
                an alias, Qualifier of the function behind it.
            principal: ARN of who asks, whose payments those are that it makes.
            told: why the API itself is not called.
        """
        self.told = told
        self._client = client
        self._targets = targets
        self._principal = principal

    def call(self, verb: str, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """Invoke the function behind a path as API Gateway does ("Input format of a Lambda function
        for proxy integration"), but for the API's id, which only its own events have.

        A function that fails is a 502, as API Gateway would have it.

        Raises:
            AwsError: it cannot be invoked.
        """
        first, _, named = path.partition("/")
        event = {
            "resource": f"/{path}",
            "path": f"/{path}",
            "httpMethod": verb,
            "headers": {"Content-Type": "application/json"},
            "queryStringParameters": None,
            "pathParameters": {"transaction_id": named} if named else None,
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "identity": {"userArn": self._principal},
            },
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
        target = self._targets[first]
        start = time.perf_counter()
        with translated(f"function {target['FunctionName']}"):
            answer = self._client.invoke(**target, Payload=json.dumps(event).encode())
            text = answer["Payload"].read().decode("utf-8", "replace")
        milliseconds = since(start)
        match parsed(text):
            case {"statusCode": int(status), "body": str(told)}:
                content = parsed(told)
                return Answer(status, told if content is None else content, milliseconds)
        return Answer(502, text, milliseconds)


def restrictions(settings: Mapping[str, object]) -> list[str]:
    """Return for what reasons the API may be out of reach from here, each a clause.

    Args:
        settings: what the deployed template says of its configuration, as far as it is known.
    """
    reasons = []
    if settings.get("endpoint_type") == "private":
        reasons.append("it is private")
    cidrs = settings.get("allowed_cidrs")
    if isinstance(cidrs, tuple) and cidrs:
        reasons.append(f"it admits {', '.join(cidrs)} only")
    if settings.get("domain_truststore"):
        reasons.append("it wants a client certificate")
    elif domain := settings.get("domain_name"):
        reasons.append(f"no DNS record may lead {domain} to it")
    return reasons
