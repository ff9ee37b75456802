"""The emulators that the tests share: one that trusts everyone, one that enforces IAM."""

from collections.abc import Callable, Iterator

import pytest

from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.local.emulator import Emulator, emulator
from payment_infra.local.stack import open_session
from payment_infra.sources import resolve
from tests.e2e.harness import Deployed, settings_taken
from tests.operators import FakeOperator

Deploy = Callable[..., Deployed]


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    with emulator() as running:
        yield running


@pytest.fixture(scope="session")
def enforcing_aws() -> Iterator[Emulator]:
    with emulator(enforce_iam=True) as running:
        yield running


@pytest.fixture(scope="session")
def deploy() -> Deploy:
    """Deploys as `payment-infra deploy` does, to the given emulator, with the given flags."""

    def deploy(running: Emulator, suffix: str, **flags: object) -> Deployed:
        session = open_session(running)
        stack = Stack(session.client("cloudformation"), f"payment-infra-{suffix}")
        resolved = resolve({"suffix": suffix, **flags}, settings_taken())
        options = DeployOptions(yes=True, allow=frozenset({"broaden", "replace"}))
        Deployment(session, stack, resolved, options, FakeOperator()).run()
        return Deployed(session, stack)

    return deploy
