"""The yardstick for health: three metrics, each with a call of its own."""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

cloudwatch = boto3.client("cloudwatch")
sns = boto3.client("sns")
apigateway = boto3.client("apigateway")

API_DIMENSIONS = {"ApiName": os.environ["API_NAME"], "Stage": "prod"}


def handler(_: dict[str, Any], __: object) -> dict[str, Any]:
    checks = [
        check("API Gateway", "AWS/ApiGateway", "Latency", "Average", 1000, API_DIMENSIONS),
        check("Lambda", "AWS/Lambda", "Errors", "Sum", 10, {}),
        check("DynamoDB", "AWS/DynamoDB", "UserErrors", "Sum", 10, {}),
    ]
    healthy = all(one["status"] == "healthy" for one in checks)
    report = {
        "timestamp": datetime.now(UTC).isoformat(),
        "overall_status": "healthy" if healthy else "degraded",
        "checks": checks,
    }
    if not healthy:
        sns.publish(TopicArn=os.environ["ALARM_TOPIC_ARN"], Message=json.dumps(report))
    return {"statusCode": 200, "body": json.dumps(report)}


def check(
    service: str,
    namespace: str,
    metric: str,
    statistic: Any,
    threshold: int,
    dimensions: dict[str, str],
) -> dict[str, Any]:
    now = datetime.now(UTC)
    points = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - timedelta(minutes=5),
        EndTime=now,
        Period=300,
        Statistics=[statistic],
    )["Datapoints"]
    value = sum(point[statistic] for point in points)
    return {
        "service": service,
        "metric": metric,
        "value": value,
        "threshold": threshold,
        "status": "healthy" if value < threshold else "unhealthy",
    }
