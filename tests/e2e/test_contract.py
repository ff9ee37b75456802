"""The deployed API keeps to its OpenAPI document, whatever schemathesis makes of that.

The embedded AWS answers an unknown path, and a method that a path does not have, in its own way:
both are outside the document, and are not tried.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis import BaseSchema, Case, HookContext, Response
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from handlers.shared.money import MINOR_DIGITS
from handlers.shared.scripted import ScriptedGateway
from payment_infra.local.emulator import Emulator
from payment_infra.openapi import read_document
from tests.e2e.conftest import Deploy
from tests.e2e.harness import PAYMENT

CONFIG = {
    "generation": {
        "deterministic": True,
        "database": "none",
        "max-examples": 6,
        # The stack takes unsigned requests.
        "with-security-parameters": False,
    },
    "phases": {
        "coverage": {"unexpected-methods": []},
        # Along the link from a payment to its charge.
        "stateful": {"generation": {"max-examples": 4}, "max-steps": 3},
    },
    "checks": {
        "ignored_auth": {"enabled": False},
        "unsupported_method": {"enabled": False},
        # 202 for what is pending, 402 for sim-decline, 404 for an id that is made up, 409 for what
        # has ended, 422 for a key that is used twice.
        "positive_data_acceptance": {"expected-statuses": [200, 202, 402, 404, 409, 422]},
        "negative_data_rejection": {"expected-statuses": [400]},
    },
    "operations": [
        {
            # Whatever is not true counts as false there.
            "include-path": "/health",
            "checks": {"negative_data_rejection": {"enabled": False}},
        },
        {
            # What the gateway has not signed is refused, whatever it is.
            "include-path": "/gateway-events",
            "checks": {
                "negative_data_rejection": {"enabled": False},
                "positive_data_acceptance": {"expected-statuses": [400]},
            },
        },
    ],
}
# What the document gives as an example, which schemathesis sends with most bodies.
EXAMPLE_KEY = "order-4711"
# Their charge is answered with 500, as it should.
FAILING_CUSTOMERS = {"sim-unavailable", "sim-timeout"}
# By the scripted gateway.
NOT_TAKEN = {code for code in MINOR_DIGITS if ScriptedGateway.digits(code) is None}


@pytest.fixture(scope="module")
def api(aws: Emulator, deploy: Deploy) -> BaseSchema:
    """The document of a stack that is deployed."""
    document = read_document(deploy(aws, "contract", authorization="none").api().url)
    # The simulated gateway tells nothing by itself.
    del document["paths"]["/gateway-events"]
    return loaded(document)


@pytest.fixture(scope="module")
def two_step_api(aws: Emulator, deploy: Deploy) -> BaseSchema:
    """The document of a stack with a gateway in two steps, which notifies."""
    settings: dict[str, Any] = {"gateway": "scripted", "gateway_events": True}
    stack = deploy(aws, "contract-2", authorization="none", **settings)
    return loaded(read_document(stack.api().url))


def loaded(document: dict[str, Any]) -> BaseSchema:
    config = SchemathesisConfig.from_dict({"base-url": document["servers"][0]["url"], **CONFIG})
    return schemathesis.openapi.from_dict(document, config=config)


@pytest.fixture
def sound_requests() -> Iterator[None]:
    """Makes what schemathesis means to be valid so where the document says it in words only."""

    def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
        body: Any = case.body
        if case.headers.get("Idempotency-Key") == EXAMPLE_KEY:
            # Each body its own key, or most of them would be refused for the first one's sake.
            digest = hashlib.sha256(repr(body).encode()).hexdigest()
            case.headers["Idempotency-Key"] = f"order-{digest[:16]}"
        if case.meta and case.meta.generation.mode.is_positive and case.path == "/validate":
            currency = "USD" if body["currency"] in NOT_TAKEN else body["currency"]
            digits = min(MINOR_DIGITS[currency], ScriptedGateway.digits(currency) or 0)
            body = body | {
                "currency": currency,
                "amount": max(round(body["amount"], digits), 10**-digits),
                "payment_method": body.get("payment_method", "redirect-paid"),
            }
            if body["customer_id"] in FAILING_CUSTOMERS:
                body["customer_id"] = "cust-12345"
            case.body = body

    schemathesis.hook(before_call)
    yield
    schemathesis.hooks.unregister(before_call)


@pytest.mark.usefixtures("sound_requests")
def test_schemathesis_finds_nothing(api: BaseSchema) -> None:
    answers = tried(api)
    assert answers.keys() >= {
        *(("POST /validate", status) for status in (200, 400)),
        *(("POST /process", status) for status in (200, 400, 404)),
        *(("POST /cancel", status) for status in (400, 404)),
        ("GET /health", 200),
    }


@pytest.mark.usefixtures("sound_requests")
def test_schemathesis_finds_nothing_where_payments_are_made_in_two_steps(
    two_step_api: BaseSchema,
) -> None:
    answers = tried(two_step_api)
    assert answers.keys() >= {
        *(("POST /validate", status) for status in (200, 400)),
        *(("POST /process", status) for status in (202, 400, 404)),
        *(("POST /cancel", status) for status in (400, 404)),
        ("POST /gateway-events", 400),
    }


def tried(api: BaseSchema) -> Counter[tuple[str, int]]:
    """Return how often each operation gave each status, where nothing was found."""
    found: list[str] = []
    answers: Counter[tuple[str, int]] = Counter()
    for event in from_schema(api).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(str(event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case_id, interaction in event.recorder.interactions.items():
            case = event.recorder.cases[case_id].value
            if interaction.response is not None:
                answers[case.operation.label, interaction.response.status_code] += 1
            found.extend(
                f"{case.as_curl_command()}\n{check.name}: {check.failure_info.failure}"
                for check in event.recorder.checks.get(case_id, [])
                if check.failure_info
            )
    assert not found, "\n\n".join(found)
    # It has tried, and has got through to the handlers.
    assert answers.total() > 60
    return answers


def post(api: BaseSchema, path: str, body: dict[str, Any], **headers: str) -> Response:
    """Send a request and check the answer, which may be a 500."""
    case = api[path]["POST"].Case(body=body, headers=headers, media_type="application/json")
    return case.call_and_validate(excluded_checks=[not_a_server_error])


@pytest.mark.parametrize(
    ("customer_id", "statuses"),
    [
        ("cust-12345", [200, 200]),
        ("sim-decline", [402, 402]),
        ("sim-unavailable", [500]),
        ("sim-timeout", [500]),
    ],
)
def test_every_end_of_a_payment_is_as_described(
    api: BaseSchema, customer_id: str, statuses: list[int]
) -> None:
    validated = post(api, "/validate", PAYMENT | {"customer_id": customer_id})
    charge = {"transaction_id": validated.json()["transaction_id"]}
    assert [post(api, "/process", charge).status_code for _ in statuses] == statuses


def test_a_replay_and_a_reused_key_are_as_described(api: BaseSchema) -> None:
    key = {"Idempotency-Key": "contract-1"}
    answers = [post(api, "/validate", PAYMENT | {"amount": amount}, **key) for amount in (1, 1, 2)]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert answers[1].headers["idempotent-replayed"] == ["true"]
