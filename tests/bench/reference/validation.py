"""The yardstick for validation: resource and client made at import, one put_item a request."""

import json
import os
import uuid
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

dynamodb = boto3.resource("dynamodb")
sqs = boto3.client("sqs")
transactions = dynamodb.Table(os.environ["TRANSACTIONS_TABLE"])
QUEUE_URL = os.environ["FAILED_QUEUE_URL"]


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    payment = json.loads(event["body"])
    missing = [name for name in ("amount", "currency", "customer_id") if name not in payment]
    if missing:
        return answer(400, {"error": "Fields are missing", "missing_fields": missing})
    if not isinstance(payment["amount"], int | float) or payment["amount"] <= 0:
        return answer(400, {"error": "The amount is not a positive number"})
    now = datetime.now(UTC).isoformat()
    row = {
        "transaction_id": str(uuid.uuid4()),
        "amount": str(payment["amount"]),
        "currency": payment["currency"],
        "customer_id": payment["customer_id"],
        "status": "validated",
        "created_at": now,
        "updated_at": now,
    }
    try:
        transactions.put_item(Item=row)
    except ClientError as error:
        message = {"error": str(error), "event": event, "timestamp": now}
        sqs.send_message(QueueUrl=QUEUE_URL, MessageBody=json.dumps(message))
        return answer(500, {"error": str(error)})
    stored = {name: row[name] for name in ("transaction_id", "status")}
    return answer(200, {"message": "The payment is valid", **stored})


def answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "body": json.dumps(body)}
