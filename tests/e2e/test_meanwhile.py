"""The AWS CLI deploys beside a deployment of ours: it knows no lock, and is told of by its work."""

from pathlib import Path

import pytest

from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.events import Event, Preview
from payment_infra.cloud.stacks.stack import Outdated
from payment_infra.local.emulator import Emulator
from payment_infra.sources import resolve
from tests.e2e.conftest import Deploy
from tests.e2e.harness import TEMPLATE, aws_variables, run, settings_taken
from tests.operators import FakeOperator


def test_an_update_by_the_aws_cli_between_preview_and_execution_is_told_and_stands(
    aws: Emulator, deploy: Deploy, tmp_path: Path
) -> None:
    stack, session = (deployed := deploy(aws, "beside")).stack, deployed.session
    before = stack.state()
    assert before is not None

    def beside(event: Event) -> None:
        if not isinstance(event, Preview):
            return
        done = run(
            "aws",
            *("cloudformation", "deploy", "--template-file", TEMPLATE, "--stack-name", stack.name),
            *("--capabilities", "CAPABILITY_IAM", "--parameter-overrides"),
            *(f"{name}={value}" for name, value in before.parameters.items() if value),
            "ThrottleRateLimit=7",
            cwd=tmp_path,
            **aws_variables(aws.url),
        )
        assert done.returncode == 0, done.stderr

    resolved = resolve({"suffix": "beside", "throttle_rate_limit": 5}, settings_taken())
    ours = Deployment(
        session, stack, resolved, DeployOptions(yes=True), FakeOperator(on_tell=beside)
    )
    with pytest.raises(Outdated, match=r"somebody else has changed it meanwhile \(UPDATE_COMPLETE"):
        ours.run()
    after = stack.state()
    assert after is not None
    assert after.parameters["ThrottleRateLimit"] == "7"
    left = session.client("cloudformation").list_change_sets(StackName=stack.name)["Summaries"]
    assert [one["ChangeSetName"] for one in left if one["ExecutionStatus"] == "AVAILABLE"] == []
