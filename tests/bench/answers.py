"""The AWS of the warm comparison: every call is answered just before it would be sent."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from botocore.awsrequest import AWSResponse

from handlers.shared.money import Money
from handlers.shared.transactions import fingerprint

Body = dict[str, Any]

# What the yardstick stores of a payment, and what else the handlers do.
YARDSTICK_ROW = {
    "amount": {"S": "100.50"},
    "currency": {"S": "USD"},
    "customer_id": {"S": "cust-12345"},
    "status": {"S": "validated"},
    "created_at": {"S": "2026-11-22T21:27:00.000000+00:00"},
    "updated_at": {"S": "2026-11-22T21:27:00.000000+00:00"},
}
ROW = YARDSTICK_ROW | {
    "amount_minor": {"N": "10050"},
    "fingerprint": {"S": fingerprint(Money(10050, "USD"), "cust-12345")},
    "caller": {"S": "arn:aws:sts::123456789012:assumed-role/checkout"},
}
# What a payment has besides that is charged at Stripe.
DETAILS = {"payment_method": "pm_card_visa", "return_url": "https://shop.example/back"}
ROW_AT_STRIPE = (
    ROW
    | {name: {"S": value} for name, value in DETAILS.items()}
    | {
        "details_fingerprint": {
            "S": fingerprint(Money(10050, "USD"), "cust-12345", DETAILS),
        }
    }
)
ASSIGNMENT = re.compile(r"(#?\w+) = (?:if_not_exists\(\w+, )?(:\w+)")


class CannedAws:
    """The answers of a system that is well: a botocore `before-send` handler.

    operations are those that were called, in order; seconds is the CPU time spent here, which is
    no handler's. secret is the text of the gateway's, row what the table holds of each payment.
    """

    def __init__(self) -> None:
        self.secret, self.row = "", ROW
        self.operations: list[str] = []
        self.seconds = 0.0

    def __call__(self, *, request: Any, event_name: str, **_: Any) -> Any:
        """Answer a call in its protocol, which has to be JSON."""
        start = time.process_time()
        operation = event_name.rpartition(".")[2]
        self.operations.append(operation)
        if "X-Amz-Target" not in request.headers:
            raise ValueError(f"{operation} is not called in a JSON protocol")
        content = json.dumps(self._body(operation, json.loads(request.body))).encode()
        headers: Any = {
            "Server": "Server",
            "Date": "Sun, 22 Nov 2026 21:27:00 GMT",
            "Content-Type": request.headers["Content-Type"],
            "Content-Length": str(len(content)),
            "Connection": "keep-alive",
            "x-amzn-RequestId": "VE5EXAMPLE0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
            "x-amz-crc32": str(crc32(content)),
        }
        response = AWSResponse(request.url, 200, headers, _Raw(content))
        self.seconds += time.process_time() - start
        return response

    def _body(self, operation: str, request: Body) -> Body:
        match operation:
            case "PutItem":
                return {}
            case "GetItem":
                return {"Item": _looked_up(request)}
            case "UpdateItem":
                return _updated(request, self.row)
            case "GetSecretValue":
                return {"SecretString": self.secret}
            case "GetLogEvents":
                return {"events": [_report_event(request)], "nextBackwardToken": "b/1"}
            case "GetMetricStatistics":
                [statistic] = request["Statistics"]
                point = {"Timestamp": request["StartTime"], statistic: 0.0, "Unit": "Count"}
                return {"Label": request["MetricName"], "Datapoints": [point]}
        raise ValueError(f"no handler is expected to call {operation}")


class _Raw:
    """A body that has arrived."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def _looked_up(request: Body) -> Body:
    """Return the attributes of the row that are asked for; all of the yardstick's, if none is."""
    key: Body = request["Key"]
    if "ProjectionExpression" not in request:
        return YARDSTICK_ROW | key
    row = ROW | key
    return {name: row[name] for name in request["ExpressionAttributeNames"].values() if name in row}


def _report_event(request: Body) -> Body:
    """Return what the scheduled run has stored a minute after the first moment asked for."""
    made = datetime.fromtimestamp(request["startTime"] / 1000 + 60, UTC)
    resources = ("payment-api", "transactions", "in-flight-index", "failed")
    checks = [
        {
            "service": "DynamoDB",
            "metric": "throttles",
            "resource": f"{resource}-bench",
            "value": 0.0,
            "threshold": 10,
            "status": "healthy",
        }
        for resource in resources
        for _ in range(3)
    ]
    report = {"timestamp": made.isoformat(), "overall_status": "healthy", "checks": checks}
    line = {"level": "INFO", "message": "health report", "report": report}
    milliseconds = int(made.timestamp() * 1000)
    return {"timestamp": milliseconds, "ingestionTime": milliseconds, "message": json.dumps(line)}


def _updated(request: Body, row: Body) -> Body:
    """Return the row as it was, or as the request's assignments leave it, if that is asked for."""
    row = row | request["Key"]
    match request.get("ReturnValues"):
        case "ALL_OLD":
            return {"Attributes": row}
        case "ALL_NEW":
            names = request["ExpressionAttributeNames"]
            values = request["ExpressionAttributeValues"]
            changes = {
                names.get(name, name): values[value]
                for name, value in ASSIGNMENT.findall(request["UpdateExpression"])
            }
            return {"Attributes": row | changes}
    return {}
