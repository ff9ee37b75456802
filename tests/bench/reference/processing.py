"""The yardstick for processing: a read, then an unconditional write."""

import json
import os
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

dynamodb = boto3.resource("dynamodb")
sqs = boto3.client("sqs")
transactions = dynamodb.Table(os.environ["TRANSACTIONS_TABLE"])
QUEUE_URL = os.environ["FAILED_QUEUE_URL"]


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    key = {"transaction_id": json.loads(event["body"]).get("transaction_id")}
    if not key["transaction_id"]:
        return answer(400, {"error": "No transaction_id"})
    now = datetime.now(UTC).isoformat()
    try:
        row = transactions.get_item(Key=key).get("Item")
        if row is None:
            return answer(404, {"error": "No such transaction", **key})
        if row["status"] == "processed":
            return answer(200, {"message": "Processed before", "status": "processed", **key})
        transactions.update_item(
            Key=key,
            UpdateExpression="SET #state = :processed, processed_at = :now, updated_at = :now",
            ExpressionAttributeNames={"#state": "status"},
            ExpressionAttributeValues={":processed": "processed", ":now": now},
        )
    except ClientError as error:
        message = {"error": str(error), "event": event, "timestamp": now}
        sqs.send_message(QueueUrl=QUEUE_URL, MessageBody=json.dumps(message))
        return answer(500, {"error": str(error)})
    result = {"status": "processed", "processed_at": now}
    return answer(200, {"message": "The payment is processed", **key, **result})


def answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "body": json.dumps(body)}
