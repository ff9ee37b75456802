from payment_infra import names
from payment_infra.cloud.environment.listing import find_stacks
from tests.aws import FakeAws, FakeStack


def test_every_environment_is_found_past_the_first_page_and_nothing_else() -> None:
    ours = {names.TRANSACTIONS_TABLE_OVERRIDE: ""}
    stacks = [
        FakeStack(f"s-{n:03}", parameters={**ours, names.ENVIRONMENT_SUFFIX: f"e{n}"})
        for n in range(150)
    ]
    stacks += [
        FakeStack("theirs", parameters={"Name": "x"}),
        FakeStack("rolled-back", "ROLLBACK_COMPLETE", parameters=ours),
    ]
    aws = FakeAws(stacks={one.name: one for one in stacks})
    found = find_stacks(aws.session().client("cloudformation"))
    assert len(aws.called("cloudformation:DescribeStacks")) == 2
    assert [one.stack for one in found] == ["rolled-back", *(f"s-{n:03}" for n in range(150))]
    assert found[0].status == "ROLLBACK_COMPLETE"
    assert found[-1].suffix == "e149"
