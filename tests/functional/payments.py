"""An environment with payments, for the commands about them: rows, logs, and a payment-retry that
answers orders as it is told to."""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from payment_infra import names
from tests.aws import FakeAws, FakeStack

# When the payment was validated, 2026-11-22T21:27:00Z, in epoch milliseconds.
BEGUN = 1_795_382_820_000
TABLE = "TransactionsTable"
ID = "80a5cce8-fa68-4b23-be9e-c5cc0cdb23f2"
SECRETS = ("canary-token", "https://bank.example/canary-action", "https://shop.example/canary")
CHARGED = {"outcome": "charged", "reference": "ch_1", "id": "pay_1"}


def item(**changes: str | int | None) -> dict[str, Any]:
    values: dict[str, str | int | None] = {
        "transaction_id": ID,
        "status": "pending",
        "amount": "100.50",
        "amount_minor": 10050,
        "currency": "USD",
        "customer_id": "canary-customer",
        "created_at": "2026-11-22T21:27:00.000000+00:00",
        "updated_at": "2026-11-22T21:28:00.000000+00:00",
        "payment_method": SECRETS[0],
        "next_action": SECRETS[1],
        "return_url": SECRETS[2],
        "gateway_id": "pay_1",
        **changes,
    }
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in values.items()
        if value is not None
    }


@dataclass
class Account:
    """An environment with some payments, whose payment-retry gives these answers in turn."""

    aws: FakeAws
    items: list[dict[str, Any]] = field(default_factory=lambda: [item()])
    told: list[Any] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    targets: list[tuple[str, str | None]] = field(default_factory=list)
    stage: dict[str, Any] = field(default_factory=dict)
    page: int = 100

    @classmethod
    def made(cls, aws: FakeAws) -> Account:
        """Return the account, with its stack and what its services answer."""
        made = (
            *(names.RETRY_FUNCTION, names.REST_API, names.RETRY_EVENT_SOURCE, TABLE),
            *(names.VALIDATION_LOG_GROUP, names.PROCESSING_LOG_GROUP, names.LOOKUP_LOG_GROUP),
            *(names.HEALTH_LOG_GROUP, names.RETRY_LOG_GROUP, names.LOOKUP_FUNCTION),
        )
        stack = FakeStack(
            "payment-infra-dev",
            parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
            outputs={names.TABLE_OUTPUT: TABLE},
            resources=dict.fromkeys(made, "CREATE_COMPLETE"),
            physical_ids={names.RETRY_EVENT_SOURCE: str(uuid.UUID(int=1))},
        )
        aws.stacks[stack.name] = stack
        account = cls(aws)
        aws.answers |= {
            "lambda:Invoke": account.invoke,
            "dynamodb:GetItem": account.get,
            "dynamodb:Query": account.query,
            "dynamodb:BatchGetItem": account.batch,
            "dynamodb:Scan": account.scan,
            "apigateway:GetStage": lambda _: {"methodSettings": account.stage},
            "lambda:GetEventSourceMapping": lambda _: {"State": "Enabled"},
        }
        aws.logs = {name: [] for name in made if name.endswith("LogGroup")}
        return account

    def invoke(self, params: dict[str, Any]) -> dict[str, Any]:
        event = json.loads(params["Payload"])
        assert set(event) == {"by_hand"}
        self.orders.append(event["by_hand"])
        self.targets.append((params["FunctionName"], params.get("Qualifier")))
        told = self.told.pop(0)
        payload = told if isinstance(told, bytes) else json.dumps({"by_hand": told}).encode()
        return {"StatusCode": 200, "Payload": io.BytesIO(payload)}

    def get(self, params: dict[str, Any]) -> dict[str, Any]:
        assert params["ConsistentRead"] is True
        found = [one for one in self.items if one["transaction_id"] == _key(params)]
        return {"Item": found[0]} if found else {}

    def query(self, params: dict[str, Any]) -> dict[str, Any]:
        assert params["IndexName"] == "in-flight-index"
        key = params["ExpressionAttributeValues"][":key"]
        found = [one for one in self.items if one.get("in_flight") == key]
        found.sort(key=lambda one: int(one["lease_expires_at"]["N"]))
        kept = ("transaction_id", "in_flight", "lease_expires_at")
        return {"Items": [{name: one[name] for name in kept} for one in found]}

    def batch(self, params: dict[str, Any]) -> dict[str, Any]:
        [(table, asked)] = params["RequestItems"].items()
        keys = [key["transaction_id"] for key in asked["Keys"]]
        assert len(keys) <= 100
        # Out of order, and not all at once, as DynamoDB may answer.
        found = [one for one in reversed(self.items) if one["transaction_id"] in keys[: self.page]]
        left = {table: {**asked, "Keys": asked["Keys"][self.page :]}} if keys[self.page :] else {}
        return {
            "Responses": {table: [projected(one, asked) for one in found]},
            "UnprocessedKeys": left,
        }

    def scan(self, params: dict[str, Any]) -> dict[str, Any]:
        first = params.get("ExclusiveStartKey")
        place = 0 if first is None else int(first["transaction_id"]["S"])
        page = self.items[place : place + self.page]
        values = params["ExpressionAttributeValues"]
        wanted = [value for name, value in values.items() if name.startswith(":status")]
        assert params["ConsistentRead"] is True
        answer: dict[str, Any] = {
            "Items": [projected(one, params) for one in page if one["status"] in wanted]
        }
        if place + self.page < len(self.items):
            answer["LastEvaluatedKey"] = {"transaction_id": {"S": str(place + self.page)}}
        return answer


def _key(params: dict[str, Any]) -> Any:
    return params["Key"]["transaction_id"]


def projected(one: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    names = params["ExpressionAttributeNames"]
    wanted = {names[name] for name in params["ProjectionExpression"].split(", ")}
    return {name: value for name, value in one.items() if name in wanted}


def asked(gateway: dict[str, Any] | None = None, status: str = "processing", **more: Any) -> Any:
    return {"transaction_id": ID, "status": status, "gateway": gateway or CHARGED, **more}


def obstacle(code: str, about: str = "", status: str = "processing", **gateway: Any) -> Any:
    return asked(gateway, status, obstacle={"code": code, "about": about})


def no(code: str, about: str = "") -> Any:
    return {"transaction_id": ID, "refused": {"code": code, "about": about}}


def at(milliseconds: int) -> int:
    """Return a moment after the payment was validated."""
    return BEGUN + milliseconds


def line(milliseconds: int, **fields: Any) -> dict[str, Any]:
    return {"timestamp": milliseconds, "message": json.dumps(fields)}
