"""The AWS services as the handlers see them, in memory.

Every call is checked against the service's own model, so that a fake takes no parameter that the
service would refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters

from tests.items import Items
from tests.queues import Message, Queue
from tests.stacks import Refused

if TYPE_CHECKING:
    from tests.expressions import Item


def client_error(code: str = "InternalServerError", **response: Any) -> ClientError:
    # The text is what must never reach a client or a log.
    error = {"Code": code, "Message": "canary-exception-text"}
    return ClientError({"Error": error, **response}, "Operation")  # type: ignore[typeddict-item]


@cache
def _input_shape(service: str, operation: str) -> Any:
    model = botocore.session.Session().get_service_model(service)
    return model.operation_model(operation).input_shape


class FakeService:
    """Notes its calls; `fail(operation)` makes the following ones raise."""

    service: str

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.errors: dict[str, list[Exception]] = {}

    def fail(self, operation: str, *errors: Exception) -> None:
        self.errors[operation] = list(errors) or [client_error()] * 99

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [params for name, params in self.calls if name == operation]

    def _call(self, operation: str, params: dict[str, Any]) -> None:
        validate_parameters(params, _input_shape(self.service, operation))
        self.calls.append((operation, params))
        if self.errors.get(operation):
            raise self.errors[operation].pop(0)


class FakeDynamoDB(FakeService):
    """The transactions table, with its sparse index; only a look-up reads an item by its key."""

    service = "dynamodb"

    def __init__(self) -> None:
        super().__init__()
        self.table = Items()
        self.losing_answers = False
        self.rows_per_page = 100
        self.refused = 0
        self.before_put: Callable[[], None] = lambda: None
        self.before_update: Callable[[], None] = lambda: None
        self.before_scan: Callable[[], None] = lambda: None

    @property
    def items(self) -> dict[str, Item]:
        return self.table.items

    def get_item(self, **params: Any) -> dict[str, Any]:
        self._call("GetItem", params)
        return self.table.get_item(params)

    def put_item(self, **params: Any) -> dict[str, Any]:
        self.before_put()
        return self._write("PutItem", self.table.put_item, params)

    def update_item(self, **params: Any) -> dict[str, Any]:
        self.before_update()
        return self._write("UpdateItem", self.table.update_item, params)

    def query(self, **params: Any) -> dict[str, Any]:
        self._call("Query", params)
        return self.table.query(params, self.rows_per_page)

    def scan(self, **params: Any) -> dict[str, Any]:
        self.before_scan()
        self._call("Scan", params)
        return self.table.scan(params, self.rows_per_page)

    def _write(
        self, operation: str, write: Callable[[Any], dict[str, Any]], params: dict[str, Any]
    ) -> dict[str, Any]:
        """Write, and once more where an answer is lost, as the SDK does."""
        answer: dict[str, Any] = {}
        for _ in range(1 + self.losing_answers):
            self._call(operation, params)
            try:
                answer = write(params)
            except Refused as refused:
                self.refused += 1
                raise client_error(refused.code, **refused.more) from None
        return answer


class FakeSQS(FakeService):
    """One queue, to which alone the handlers send: Lambda receives and deletes for them."""

    service = "sqs"

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[Message] = Queue(lambda: 0)

    def send_message(self, **params: Any) -> dict[str, Any]:
        self._call("SendMessage", params)
        attributes = params.get("MessageAttributes", {})
        sent = Message(f"sent-{len(self.queue.messages)}", params["MessageBody"], attributes)
        self.queue.send(sent)
        return {"MessageId": sent.id}


class FakeSNS(FakeService):
    service = "sns"

    def publish(self, **params: Any) -> dict[str, Any]:
        self._call("Publish", params)
        return {"MessageId": "1"}


class FakeCloudWatch(FakeService):
    """`data` holds the points by metric and statistic, one a minute and the latest first; those of
    an index are of IndexWriteThrottleEvents. `status` holds the codes that are not Complete, and
    `alarms` the states by name.
    """

    service = "cloudwatch"

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[tuple[str, str], list[float]] = {}
        self.status: dict[tuple[str, str], str] = {}
        self.alarms: dict[str, str] = {}

    def get_metric_data(self, **params: Any) -> dict[str, Any]:
        self._call("GetMetricData", params)
        results = []
        for query in params["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            names = {dimension["Name"] for dimension in metric["Dimensions"]}
            of_index = "Index" if "GlobalSecondaryIndexName" in names else ""
            key = (of_index + metric["MetricName"], query["MetricStat"]["Stat"])
            minute = params["EndTime"].replace(second=0, microsecond=0)
            points = [
                (minute - timedelta(minutes=ago), value)
                for ago, value in enumerate(self.data.get(key, []), start=1)
            ]
            kept = [(moment, value) for moment, value in points if moment >= params["StartTime"]]
            results.append(
                {
                    "Id": query["Id"],
                    "StatusCode": self.status.get(key, "Complete"),
                    "Timestamps": [moment for moment, _ in kept],
                    "Values": [value for _, value in kept],
                }
            )
        return {"MetricDataResults": results}

    def describe_alarms(self, **params: Any) -> dict[str, Any]:
        self._call("DescribeAlarms", params)
        named = {name: self.alarms[name] for name in params["AlarmNames"] if name in self.alarms}
        alarms = [{"AlarmName": name, "StateValue": state} for name, state in named.items()]
        return {"MetricAlarms": alarms, "CompositeAlarms": []}


class FakeLogs(FakeService):
    """CloudWatch Logs: the events by group and stream. A stream has to be created first."""

    service = "logs"

    def __init__(self) -> None:
        super().__init__()
        self.streams: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def create_log_stream(self, **params: Any) -> dict[str, Any]:
        self._call("CreateLogStream", params)
        key = (params["logGroupName"], params["logStreamName"])
        if key in self.streams:
            raise client_error("ResourceAlreadyExistsException")
        self.streams[key] = []
        return {}

    def put_log_events(self, **params: Any) -> dict[str, Any]:
        self._call("PutLogEvents", params)
        self._stream(params).extend(params["logEvents"])
        return {}

    def get_log_events(self, **params: Any) -> dict[str, Any]:
        self._call("GetLogEvents", params)
        found = [one for one in self._stream(params) if one["timestamp"] >= params["startTime"]]
        assert params["startFromHead"] is False
        return {"events": found[-params["limit"] :], "nextBackwardToken": "b/1"}

    def _stream(self, params: dict[str, Any]) -> list[dict[str, Any]]:
        key = (params["logGroupName"], params["logStreamName"])
        if key not in self.streams:
            raise client_error("ResourceNotFoundException")
        return self.streams[key]


class FakeApiGateway(FakeService):
    """API Gateway's own API: the settings of a stage by method, as it gives them."""

    service = "apigateway"

    def __init__(self) -> None:
        super().__init__()
        throttle = {"throttlingRateLimit": 1000.0, "throttlingBurstLimit": 2000}
        self.settings: dict[str, dict[str, Any]] = {"*/*": throttle}
        self.variables: dict[str, str] = {}

    def get_stage(self, **params: Any) -> dict[str, Any]:
        self._call("GetStage", params)
        variables = {"variables": self.variables} if self.variables else {}
        return {"stageName": params["stageName"], "methodSettings": self.settings, **variables}


class FakeLambda(FakeService):
    """Lambda's own API: the state of the one event source mapping."""

    service = "lambda"

    def __init__(self) -> None:
        super().__init__()
        self.state = "Enabled"

    def get_event_source_mapping(self, **params: Any) -> dict[str, Any]:
        self._call("GetEventSourceMapping", params)
        return {"UUID": params["UUID"], "State": self.state}
