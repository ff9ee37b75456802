"""The OpenAPI document says of the API what the handlers and the template say."""

from __future__ import annotations

import configparser
import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from troposphere.apigateway import RestApi

from handlers import gateway_events, validation
from handlers.shared.aws.latest_report import MAX_AGE_SECONDS
from handlers.shared.fields import (
    HTTPS_URL,
    MAX_IDENTIFIER_CHARACTERS,
    MAX_REFERENCE_CHARACTERS,
    MAX_TOKEN_CHARACTERS,
    MAX_URL_CHARACTERS,
    InvalidField,
    parse_customer_id,
    parse_transaction_id,
)
from handlers.shared.health import WINDOW_SECONDS, build_checks
from handlers.shared.idempotency import MAX_KEY_CHARACTERS, idempotency_key
from handlers.shared.money import MAX_MINOR_UNITS, MINOR_DIGITS, Money
from handlers.shared.requests import MAX_BODY_BYTES, InvalidRequest, json_object
from payment_infra import gateway_probe
from payment_infra.artifacts import HANDLERS, build_artifacts, code_keys
from payment_infra.groups.api import INTEGRATION_TIMEOUT_MILLISECONDS
from payment_infra.groups.refusals import build_refusals
from payment_infra.openapi import read_document
from tests import contract
from tests.contract import DOCUMENT, OPERATIONS, Json, resolve, schema, valid
from tests.unit.template import load, of_type, walk

ACME = "handlers.shared.acme:Acme"
REPOSITORY = Path(__file__).parents[2]
PAYMENTS = ("POST /validate", "POST /process", "POST /cancel")
# The statuses that API Gateway uses with its responses for all else ("Gateway response types",
# and 502 for what a proxy integration cannot read).
DEFAULTS = {"DEFAULT_4XX": ("400", "403", "413"), "DEFAULT_5XX": ("500", "502", "504")}
KEY = DOCUMENT["components"]["parameters"]["Idempotency-Key"]["schema"]


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(read_document()).validate()
    broken = read_document()
    del broken["info"]["title"]
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(broken).validate()


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    references = [value["$ref"] for _, value in walk(DOCUMENT) if _is_reference(value)]
    used = {reference.rpartition("/")[2] for reference in references}
    for value in references:
        assert resolve({"$ref": value})
    for name, one in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate(one)
        assert name in used
    for _, one, _ in contract.examples():
        jsonschema_rs.meta.validate(one)


def _is_reference(value: Json) -> bool:
    return isinstance(value, dict) and "$ref" in value


@pytest.mark.parametrize(
    ("of", "value"), [pytest.param(*one[1:], id=one[0]) for one in contract.examples()]
)
def test_an_example_is_valid(of: Json, value: Json) -> None:
    jsonschema_rs.validate(
        {"allOf": [of], "components": DOCUMENT["components"]}, value, validate_formats=True
    )


def test_every_request_and_every_answer_has_an_example() -> None:
    places = {place.partition(":")[0] for place, _, _ in contract.examples()}
    for name in OPERATIONS:
        assert {f"{name} {status}" for status in contract.statuses(name)} <= places
    assert {f"{name} request" for name in PAYMENTS} <= places


def test_the_currencies_are_those_that_the_handlers_accept() -> None:
    assert schema("Currency")["enum"] == sorted(MINOR_DIGITS)
    groups = [one["properties"]["currency"]["enum"] for one in schema("Payment")["oneOf"]]
    assert sorted(code for group in groups for code in group) == sorted(MINOR_DIGITS)


def test_the_limits_are_those_of_the_handlers() -> None:
    assert schema("Amount")["exclusiveMinimum"] == 0
    assert schema("Amount")["maximum"] == MAX_MINOR_UNITS
    for group in schema("Payment")["oneOf"]:
        amount = group["properties"]["amount"]
        [digits] = {MINOR_DIGITS[code] for code in group["properties"]["currency"]["enum"]}
        for limit, minor_units in (("minimum", 1), ("maximum", MAX_MINOR_UNITS)):
            assert Decimal(str(amount[limit])).scaleb(digits) == minor_units
        assert amount.get("type") == (None if digits else "integer")
    for name, most in (
        ("CustomerId", MAX_IDENTIFIER_CHARACTERS),
        ("TransactionId", MAX_IDENTIFIER_CHARACTERS),
        ("PaymentMethod", MAX_TOKEN_CHARACTERS),
        ("Reference", MAX_REFERENCE_CHARACTERS),
    ):
        assert (schema(name)["minLength"], schema(name)["maxLength"]) == (1, most)
    assert schema("PaymentMethod")["pattern"] == schema("TransactionId")["pattern"]
    assert schema("Reference")["pattern"] == schema("CustomerId")["pattern"]
    assert schema("ReturnUrl")["maxLength"] == MAX_URL_CHARACTERS
    assert schema("ReturnUrl")["pattern"] == HTTPS_URL.pattern
    assert schema("Payment")["required"] == list(validation.REQUIRED_FIELDS)
    missing = schema("MissingFields")["properties"]["missing_fields"]["items"]
    assert missing["enum"] == [*validation.REQUIRED_FIELDS, *sorted(gateway_probe.NEEDS)]
    assert set(schema("Payment")["properties"]) == {
        *validation.REQUIRED_FIELDS,
        *validation.OPTIONAL_FIELDS,
    }


def test_the_words_give_the_numbers_of_the_handlers() -> None:
    for name in PAYMENTS:
        assert f"{MAX_BODY_BYTES:,} bytes" in OPERATIONS[name]["requestBody"]["description"]
    key = DOCUMENT["components"]["parameters"]["Idempotency-Key"]["description"]
    assert f"1 to {MAX_KEY_CHARACTERS} visible" in key
    assert f"{MAX_MINOR_UNITS:,} minor units" in schema("Amount")["description"]
    health = OPERATIONS["GET /health"]["description"]
    assert f"less than {MAX_AGE_SECONDS} seconds" in health
    assert WINDOW_SECONDS == 5 * 60
    assert "last five minutes" in schema("Check")["properties"]["value"]["description"]
    notification = OPERATIONS["POST /gateway-events"]["requestBody"]["description"]
    assert f"{gateway_events.MAX_BODY_BYTES:,} bytes" in notification
    timeout = DOCUMENT["components"]["responses"]["Timeout"]["description"]
    assert f"{INTEGRATION_TIMEOUT_MILLISECONDS // 1000} seconds" in timeout


def test_the_checks_are_those_of_the_health_monitor() -> None:
    names: dict[str, Any] = dict.fromkeys(("api", "stage", "table", "queue", "dead_letters"), "x")
    checks = build_checks(functions=["x"], **names)
    described = schema("Check")["properties"]
    assert set(described["service"]["enum"]) == {check.service for check in checks}
    assert set(described["metric"]["enum"]) == {check.metric for check in checks}


# Without lone surrogates, which no text in UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_IDENTIFIER_CHARACTERS + 2)
blanks = st.text(st.sampled_from("\t\n \x1c\x85\xa0\u1680\u2003\u2028\u3000\ufeffa"), max_size=4)
ascii_texts = st.text(st.characters(min_codepoint=0x1F, max_codepoint=0x7F), max_size=130)


@given(texts | blanks)
def test_a_customer_id_is_valid_if_the_handlers_take_it(text: str) -> None:
    assert valid(schema("CustomerId"), text) == _taken(parse_customer_id, text)


@given(texts | ascii_texts)
def test_a_transaction_id_is_valid_if_the_handlers_take_it(text: str) -> None:
    assert valid(schema("TransactionId"), text) == _taken(parse_transaction_id, text)


quoted = st.text(st.sampled_from('a"\\ ~'), max_size=6).map('"{}"'.format)
long_keys = st.integers(254, 257).map(lambda length: "k" * length)


@given((ascii_texts | quoted | long_keys | long_keys.map('"{}"'.format)).map(str.strip))
def test_an_idempotency_key_is_valid_if_the_handlers_take_it(text: str) -> None:
    event = {"headers": {"Idempotency-Key": text}}
    assert valid(KEY, text) == _taken(idempotency_key, event)


def _taken(parse: Any, value: object) -> bool:
    try:
        parse(value)
    except (InvalidField, InvalidRequest):
        return False
    return True


near_the_limits = st.sampled_from([0, 1, MAX_MINOR_UNITS - 1, MAX_MINOR_UNITS, MAX_MINOR_UNITS + 1])
minor_units = near_the_limits | st.integers(-5, MAX_MINOR_UNITS + 5)


@given(st.sampled_from(sorted(MINOR_DIGITS)) | st.sampled_from(["XXX", "usd", ""]), minor_units)
def test_an_amount_is_valid_in_a_currency_if_the_handlers_take_it(
    currency: str, minor_units: int
) -> None:
    amount = Decimal(minor_units).scaleb(-MINOR_DIGITS.get(currency, 2))
    body = f'{{"amount": {amount:f}, "currency": "{currency}", "customer_id": "c"}}'
    payment = json_object({"body": body})

    def parse(payment: dict[str, object]) -> None:
        Money.parse(payment["amount"], payment["currency"])

    assert valid(schema("Payment"), json.loads(body)) == _taken(parse, payment)


def test_decimals_in_a_currency_without_are_invalid() -> None:
    payment = {"currency": "JPY", "customer_id": "c"}
    assert valid(schema("Payment"), payment | {"amount": 100.0})
    assert not valid(schema("Payment"), payment | {"amount": 100.5})


@pytest.mark.parametrize("authorization", ["iam", "none"])
def test_the_operations_are_the_methods_of_the_api(authorization: str) -> None:
    template = load(authorization=authorization, gateway=ACME, gateway_events=True)
    resources = {
        name: one["Properties"]
        for name, one in of_type(template, "AWS::ApiGateway::Resource").items()
    }
    parents = {name: one["ParentId"].get("Ref") for name, one in resources.items()}
    paths = {
        name: "".join(
            f"/{resources[part]['PathPart']}" for part in (parents[name], name) if part in resources
        )
        for name in resources
    }
    methods = [one["Properties"] for one in of_type(template, "AWS::ApiGateway::Method").values()]
    signed = {
        f"{one['HttpMethod']} {paths[one['ResourceId']['Ref']]}": one["AuthorizationType"]
        == "AWS_IAM"
        for one in methods
    }
    assert signed.keys() == OPERATIONS.keys()
    if authorization == "iam":
        described = {
            name: {} not in operation.get("security", DOCUMENT["security"])
            for name, operation in OPERATIONS.items()
        }
        assert described == signed


def test_requests_are_signed_as_api_gateway_describes_it() -> None:
    [(name, scheme)] = DOCUMENT["components"]["securitySchemes"].items()
    assert DOCUMENT["security"] == [{name: []}]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "Authorization")
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_api_gateway_refuses_by_itself_is_described(operation: str) -> None:
    found = set()
    for refusal in build_refusals(RestApi("Api")):
        properties = refusal.to_dict()["Properties"]
        kind = properties["ResponseType"]
        if kind == "BAD_REQUEST_BODY" and operation not in PAYMENTS:
            continue
        template = properties["ResponseTemplates"]["application/json"]
        body = json.loads(template.replace("$context.error.messageString", '"Some message"'))
        headers = {
            name.removeprefix("gatewayresponse.header."): value.strip("'")
            for name, value in properties["ResponseParameters"].items()
        }
        for status in DEFAULTS.get(kind) or (properties["StatusCode"],):
            if operation in PAYMENTS or status in OPERATIONS[operation]["responses"]:
                contract.check(operation, int(status), headers, body)
                found.add(kind)
    # Nobody has to send a body there, so nothing of that is refused.
    anywhere = {"THROTTLED", "INTEGRATION_TIMEOUT", "DEFAULT_4XX", "DEFAULT_5XX"}
    anywhere.add("MISSING_AUTHENTICATION_TOKEN")
    assert found == ({*anywhere, "BAD_REQUEST_BODY"} if operation in PAYMENTS else anywhere)


def test_the_document_is_shipped_and_is_in_no_zip(tmp_path: Path) -> None:
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    shipped = settings["options.package_data"]["handlers"].replace(" ", "").split(",")
    assert "openapi.json" in shipped
    copy = shutil.copytree(HANDLERS, tmp_path / "handlers")
    (copy / "openapi.json").unlink()
    assert code_keys(copy) == code_keys()
    assert build_artifacts(copy) == build_artifacts()
