"""How a function starts that makes its clients at import, a resource among them: the yardstick."""

import os

import boto3

dynamodb = boto3.resource("dynamodb")
sqs = boto3.client("sqs")
table = dynamodb.Table(os.environ["TRANSACTIONS_TABLE"])
