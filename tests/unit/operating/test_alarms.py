from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.cloud.operating.alarms import RESOURCE_TYPE, Alarm, find_alarms

if TYPE_CHECKING:
    from payment_infra.cloud.environment.environment import Environment
    from tests.aws import FakeAws

NAMES = [f"Alarm{number:03}" for number in range(250)]


@pytest.fixture(autouse=True)
def alarms(aws: FakeAws) -> None:
    stack = aws.stacks["payment-infra-dev"]
    for name in NAMES:
        stack.resources[name] = "CREATE_COMPLETE"
        stack.types[name] = RESOURCE_TYPE

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        assert len(params["AlarmNames"]) <= 100
        start = int(params.get("NextToken", "0"))
        page = params["AlarmNames"][start : start + 30]
        more = {"NextToken": str(start + 30)} if start + 30 < len(params["AlarmNames"]) else {}
        return {"MetricAlarms": [{"AlarmName": one, "StateValue": "OK"} for one in page], **more}

    aws.answers["cloudwatch:DescribeAlarms"] = answer


def test_the_resources_of_a_stack_are_found_past_the_first_page(
    aws: FakeAws, environment: Environment
) -> None:
    assert set(environment.stack.physical_ids()) == set(aws.stacks["payment-infra-dev"].resources)
    assert environment.stack.physical_ids_of(RESOURCE_TYPE) == NAMES
    assert environment.stack.resource_statuses()[NAMES[-1]] == "CREATE_COMPLETE"
    assert len(aws.called("cloudformation:ListStackResources")) == 9


def test_every_alarm_is_found_past_what_one_call_names_and_past_its_pages(
    aws: FakeAws, environment: Environment
) -> None:
    assert find_alarms(environment) == [Alarm(name, "OK", "", None) for name in NAMES]
    assert len(aws.called("cloudwatch:DescribeAlarms")) == 4 + 4 + 2
