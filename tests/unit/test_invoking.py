"""The functions behind the API, invoked directly."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handlers.shared.callers import caller_of
from handlers.shared.requests import json_object, request_id
from payment_infra.cloud.environment.invoking import Functions, restrictions
from payment_infra.errors import AwsError
from payment_infra.record import read_record
from tests.unit.template import load

ROLE = "arn:aws:sts::123456789012:assumed-role/Operator/anna"
TARGETS = {
    "validate": {"FunctionName": "payment-validation-dev"},
    "process": {"FunctionName": "payment-processing-dev", "Qualifier": "live"},
    "health": {"FunctionName": "health-monitor-dev"},
}


class FakeLambda:
    """Answers every invocation with one payload, and keeps what it was asked."""

    def __init__(self, payload: object, **more: str) -> None:
        self._payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._more = more
        self.calls: list[dict[str, Any]] = []

    def invoke(self, **call: Any) -> dict[str, Any]:
        self.calls.append(call)
        return {"StatusCode": 200, "Payload": io.BytesIO(self._payload), **self._more}


def functions(client: Any) -> Functions:
    return Functions(client, TARGETS, ROLE)


STORED = {"statusCode": 200, "body": '{"status": "validated"}', "headers": {}}


def test_a_function_gets_what_api_gateway_gives_it() -> None:
    client = FakeLambda(STORED)
    answer = functions(client).call("POST", "validate", {"amount": 1})
    assert (answer.status, answer.body) == (200, {"status": "validated"})
    [call] = client.calls
    event = json.loads(call.pop("Payload"))
    assert call == {"FunctionName": "payment-validation-dev"}
    assert (event["httpMethod"], event["path"]) == ("POST", "/validate")
    assert json_object(event) == {"amount": 1}
    # As a signed request of the same principal would have it: all sessions of a role are one.
    assert caller_of(event) == "arn:aws:sts::123456789012:assumed-role/Operator"
    assert request_id(event, None) == event["requestContext"]["requestId"] != ""
    assert "apiId" not in event["requestContext"]


def test_each_path_invokes_its_function_as_its_alias_has_it() -> None:
    client = FakeLambda(STORED)
    for verb, path in (("POST", "process"), ("GET", "health")):
        functions(client).call(verb, path)
    named = [(call["FunctionName"], call.get("Qualifier")) for call in client.calls]
    assert named == [("payment-processing-dev", "live"), ("health-monitor-dev", None)]


@pytest.mark.parametrize(
    ("payload", "more"),
    [
        ({"errorMessage": "timed out"}, {"FunctionError": "Unhandled"}),
        (None, {}),
        (b"\xff", {}),
        ({"statusCode": "200", "body": "{}"}, {}),
        ({"statusCode": 200}, {}),
    ],
)
def test_a_function_that_fails_or_answers_otherwise_is_a_502(
    payload: object, more: dict[str, str]
) -> None:
    assert functions(FakeLambda(payload, **more)).call("GET", "health").status == 502


def test_a_body_that_is_no_json_is_shown_as_it_is() -> None:
    answer = functions(FakeLambda({"statusCode": 500, "body": "<html>"})).call("GET", "health")
    assert (answer.status, answer.body) == (500, "<html>")


def test_a_function_that_may_not_be_invoked_is_told_in_a_line() -> None:
    class Refusing:
        def invoke(self, **_: Any) -> None:
            raise ClientError(
                {"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Invoke"
            )

    with pytest.raises(AwsError, match="function payment-validation-dev: ") as refused:
        functions(Refusing()).call("POST", "validate", {})
    assert "\n" not in str(refused.value)


DOMAIN = {
    "endpoint_type": "regional",
    "domain_name": "pay.example.com",
    "domain_certificate": "arn:aws:acm:eu-central-1:123456789012:certificate/0123-abcd",
}
VPC = {"endpoint_type": "private", "allowed_vpc_endpoints": ("vpce-0123456789abcdef0",)}


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, []),
        ({"endpoint_type": "regional", "allowed_accounts": ("210987654321",)}, []),
        (VPC, ["it is private"]),
        (
            {"allowed_cidrs": ("10.0.0.0/8", "2001:db8::/32")},
            ["it admits 10.0.0.0/8, 2001:db8::/32 only"],
        ),
        (
            VPC | {"allowed_cidrs": ("10.0.0.0/8",)},
            ["it is private", "it admits 10.0.0.0/8 only"],
        ),
        (DOMAIN, ["no DNS record may lead pay.example.com to it"]),
        (
            DOMAIN | {"domain_truststore": "s3://trust/ca.pem", "execute_api_endpoint": False},
            ["it wants a client certificate"],
        ),
    ],
)
def test_the_deployed_template_says_why_the_api_may_be_out_of_reach(
    fields: dict[str, Any], reasons: list[str]
) -> None:
    assert restrictions(read_record(load(**fields)).values) == reasons
