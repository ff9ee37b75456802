"""Where an environment's API answers."""

from collections.abc import Mapping

import pytest

from payment_infra.cloud.environment.address import reachable

OUTPUT = "https://abc.execute-api.eu-central-1.amazonaws.com/prod/"
EMULATED = "http://127.0.0.1:4566/_aws/execute-api/abc/prod/"


def of_the_stack() -> Mapping[str, str]:
    return {"PaymentAPI": "abc"}


def not_asked_for() -> Mapping[str, str]:
    raise AssertionError("on AWS, the output says it all")


@pytest.mark.parametrize("endpoint_url", ["http://127.0.0.1:4566", "http://127.0.0.1:4566/"])
@pytest.mark.parametrize("output", [OUTPUT, "https://pay.example.com/"])
def test_on_an_emulator_the_output_is_the_apis_place_there(output: str, endpoint_url: str) -> None:
    outputs = {"APIEndpoint": output, "DashboardName": "payment-dashboard-dev"}
    assert reachable(outputs, endpoint_url, of_the_stack) == {
        "APIEndpoint": EMULATED,
        "DashboardName": "payment-dashboard-dev",
    }
    assert outputs["APIEndpoint"] == output


def test_on_aws_the_outputs_are_the_stacks() -> None:
    outputs = {"APIEndpoint": OUTPUT}
    assert reachable(outputs, None, not_asked_for) == {"APIEndpoint": OUTPUT}


def test_a_stack_that_has_no_api_has_no_address() -> None:
    bucket = {"ArtifactBucketName": "payment-infra-artifacts"}
    assert reachable(bucket, "http://127.0.0.1:4566", not_asked_for) == bucket
    assert reachable({"APIEndpoint": OUTPUT}, "http://127.0.0.1:4566", dict) == {
        "APIEndpoint": OUTPUT
    }
