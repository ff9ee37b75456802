"""The AWS services as the handlers see them, in memory.

Every call is checked against the service's own model, so that a fake takes no parameter that the
service would refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters

Item = dict[str, dict[str, str]]


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
    """One table, and conditions in the form in which the store writes them."""

    service = "dynamodb"

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[str, Item] = {}
        self.losing_answers = False
        self.refused = 0
        self.before_update: Callable[[], None] = lambda: None

    def put_item(self, **params: Any) -> dict[str, Any]:
        return self._repeated(self._put_item, params)

    def update_item(self, **params: Any) -> dict[str, Any]:
        self.before_update()
        return self._repeated(self._update_item, params)

    def _repeated(
        self, operation: Callable[..., dict[str, Any]], params: dict[str, Any]
    ) -> dict[str, Any]:
        """What the SDK does when an answer is lost: the same call, once more."""
        if self.losing_answers:
            operation(params)
        return operation(params)

    def _put_item(self, params: dict[str, Any]) -> dict[str, Any]:
        self._call("PutItem", params)
        key = params["Item"]["transaction_id"]["S"]
        self._check(params, self.items.get(key))
        self.items[key] = dict(params["Item"])
        return {}

    def _update_item(self, params: dict[str, Any]) -> dict[str, Any]:
        self._call("UpdateItem", params)
        key = params["Key"]["transaction_id"]["S"]
        self._check(params, self.items.get(key))
        names, values = params["ExpressionAttributeNames"], params["ExpressionAttributeValues"]
        sets, _, removes = params["UpdateExpression"].partition(" REMOVE ")
        item = dict(self.items.get(key, params["Key"]))
        assignment = r"([#\w]+) = (?:if_not_exists\(\w+, (:\w+)\)|(:\w+))(?:, |$)"
        for name, default, value in re.findall(assignment, sets.removeprefix("SET ")):
            key_name = names.get(name, name)
            item[key_name] = item.get(key_name, values[default]) if default else values[value]
        for name in filter(None, removes.split(", ")):
            item.pop(name, None)
        self.items[key] = item
        return {"Attributes": dict(item)}

    def _check(self, params: dict[str, Any], item: Item | None) -> None:
        names = params.get("ExpressionAttributeNames", {})
        values = params.get("ExpressionAttributeValues", {})
        condition = params["ConditionExpression"]
        expressions = condition + " " + params.get("UpdateExpression", "")
        # DynamoDB refuses what an expression does not use, and reserved words as names.
        assert set(re.findall(r"[:#]\w+", expressions)) == {*names, *values}
        assert not re.search(r"(?<![#:\w])status\b", expressions)

        def comparison(match: re.Match[str]) -> str:
            name, operator, value = match.groups()
            stored = (item or {}).get(names.get(name, name))
            if stored is None:
                return "False"
            [(kind, left)], [(value_kind, right)] = stored.items(), values[value].items()
            assert kind == value_kind
            if operator == "=":
                return str(left == right)
            return str(int(left) < int(right))

        absent = r"attribute_not_exists\((\w+)\)"
        condition = re.sub(absent, lambda m: str(m[1] not in (item or {})), condition)
        condition = re.sub(r"([#\w]+) (=|<) (:\w+)", comparison, condition)
        if not eval(condition.replace("AND", "and").replace("OR", "or"), {}):
            self.refused += 1
            old = {"Item": dict(item)} if item else {}
            raise client_error("ConditionalCheckFailedException", **old)


class FakeSQS(FakeService):
    service = "sqs"

    def send_message(self, **params: Any) -> dict[str, Any]:
        self._call("SendMessage", params)
        return {"MessageId": "1"}


class FakeSNS(FakeService):
    service = "sns"

    def publish(self, **params: Any) -> dict[str, Any]:
        self._call("Publish", params)
        return {"MessageId": "1"}


class FakeCloudWatch(FakeService):
    """`data` holds the points by metric and statistic; `status` the codes that are not Complete."""

    service = "cloudwatch"

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[tuple[str, str], list[float]] = {}
        self.status: dict[tuple[str, str], str] = {}

    def get_metric_data(self, **params: Any) -> dict[str, Any]:
        self._call("GetMetricData", params)
        results = []
        for query in params["MetricDataQueries"]:
            key = (query["MetricStat"]["Metric"]["MetricName"], query["MetricStat"]["Stat"])
            status = self.status.get(key, "Complete")
            values = self.data.get(key, [])
            results.append({"Id": query["Id"], "StatusCode": status, "Values": values})
        return {"MetricDataResults": results}
