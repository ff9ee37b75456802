"""Runs a command on an environment in memory, and prints which modules that has loaded.

    python -m tests.loading status --suffix dev <template.json

The template is the stack's. All that is looked at answers, so that the command goes all its way.
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from payment_infra import names
from payment_infra.cli import root
from payment_infra.cli.app import App
from tests.aws import FakeAws, FakeStack
from tests.intake import FakeIntake
from tests.queues import FakeQueues

if TYPE_CHECKING:
    from tests.stacks import Answer

TABLE = "transactions-dev"


class Account(FakeAws):
    """An account that gives templates back as YAML, as they were sent, and reads them as JSON."""

    def get_template(self, params: Answer) -> Answer:
        return {"TemplateBody": "# YAML\n" + super().get_template(params)["TemplateBody"]}


def account(template: str) -> FakeAws:
    """Return an account with one environment, all of whose parts are as deployed."""
    stack = FakeStack(
        f"{names.STACK_NAME_PREFIX}-dev",
        parameters={names.TRANSACTIONS_TABLE_OVERRIDE: "", names.ENVIRONMENT_SUFFIX: "dev"},
        outputs={names.TABLE_OUTPUT: TABLE, names.API_OUTPUT: "https://api1.example.com/prod/"},
        resources=dict.fromkeys(json.loads(template)["Resources"], "CREATE_COMPLETE"),
        physical_ids={names.RETRY_EVENT_SOURCE: "ee6b2b2c-0213-563e-8a0d-622cda27b25e"},
        template=template,
    )
    line = {
        "timestamp": time.time_ns() // 1_000_000,
        "eventId": "1",
        "message": '{"level": "INFO"}',
    }
    logs = {name: [line] for name in stack.resources}
    aws = Account(stacks={stack.name: stack}, logs=logs)
    table = {"TableName": TABLE, "TableStatus": "ACTIVE", "ItemCount": 1, "TableSizeBytes": 1}
    aws.answers |= {
        **FakeQueues().answers(),
        **FakeIntake().answers(),
        "lambda:GetFunctionConfiguration": lambda params: {
            "FunctionName": params["FunctionName"],
            "CodeSha256": "",
            "LastModified": "",
            "Environment": {"Variables": {}},
        },
        "lambda:GetFunctionConcurrency": {},
        "events:DescribeRule": {"State": "ENABLED"},
        "cloudwatch:GetMetricData": lambda params: {
            "MetricDataResults": [
                {"Id": query["Id"], "Values": [1.0], "Timestamps": [datetime.now(UTC)]}
                for query in params["MetricDataQueries"]
            ]
        },
        "dynamodb:DescribeTable": {"Table": table},
        "dynamodb:DescribeContinuousBackups": {
            "ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}
        },
    }
    return aws


if __name__ == "__main__":
    aws = account(sys.stdin.read())
    atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
    root.main(sys.argv[1:], obj=App(lambda *_: aws.session()))
