from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from payment_infra.checks import Check
from payment_infra.cloud.deploying.bootstrap import BOOTSTRAP_STACK
from payment_infra.config import PRESETS, StackConfig
from payment_infra.doctor.access import LATER, PROBES, SERVICES, check_access
from payment_infra.names import ARTIFACT_BUCKET_OUTPUT
from tests.aws import ACCOUNT, REGION, FakeAws, FakeBucket, FakeStack, Refused

LET_IT = "allow iam:SimulatePrincipalPolicy, or let `payment-infra deploy --suffix dev` find out"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CALLER = f"arn:aws:sts::{ACCOUNT}:assumed-role/Deployers/alice@example.com"
PROBED = pytest.mark.parametrize("probe", PROBES, ids=lambda one: one.operation)


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(date=format_datetime(NOW, usegmt=True), buckets={"zips": FakeBucket()})


def checks(aws: FakeAws, bucket: str = "", stack: str = "", **settings: Any) -> dict[str, Check]:
    config = replace(StackConfig(suffix="dev", bucket=bucket), **settings)
    found = list(check_access(aws.session().quick(), config, lambda: NOW, stack))
    assert aws.changes() == []
    assert all(bool(one.remedy) == (one.level != "ok") for one in found)
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def levels(found: dict[str, Check]) -> dict[str, str]:
    return {name: check.level for name, check in found.items() if check.level != "ok"}


def test_where_all_is_well_every_check_says_so_in_order(aws: FakeAws) -> None:
    found = checks(aws)
    assert list(found) == ["region", "endpoint", "clock", "credentials", *LATER]
    assert levels(found) == {}
    assert found["region"].message == REGION
    assert found["credentials"].message == f"account {ACCOUNT}, {CALLER}"
    assert len(aws.called("sts:GetCallerIdentity")) == 1


def test_each_probe_is_a_call_and_each_service_has_a_line(aws: FakeAws) -> None:
    found = checks(aws)
    for probe in PROBES:
        assert aws.called(f"{probe.service}:{probe.operation}")
        assert probe.operation in found[probe.service].message


# Who calls, and whether anybody answers.


@pytest.mark.parametrize(
    "error",
    [
        botocore.NoCredentialsError(),
        botocore.UnauthorizedSSOTokenError(),
        botocore.CredentialRetrievalError(provider="x", error_msg="y"),
    ],
    ids=repr,
)
def test_credentials_that_cannot_be_had_are_a_failure_and_nothing_else_is_asked(
    error: Exception, aws: FakeAws
) -> None:
    aws.errors["sts:GetCallerIdentity"] = error
    found = checks(aws)
    assert list(found) == ["region", "credentials", "others"]
    assert found["credentials"].level == "fail"
    assert found["others"].message == f"not checked: endpoint, clock, {', '.join(LATER)}"
    assert len(aws.calls) == 1


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "AccessDenied"])
def test_credentials_that_are_refused_are_a_failure_of_an_endpoint_that_answers(
    code: str, aws: FakeAws
) -> None:
    aws.errors["sts:GetCallerIdentity"] = Refused(code, "no", 403)
    found = checks(aws)
    assert list(found) == ["region", "endpoint", "clock", "credentials", "others"]
    assert levels(found) == {"credentials": "fail", "others": "warn"}
    assert len(aws.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        botocore.EndpointConnectionError(endpoint_url="https://x.example"),
        botocore.ConnectTimeoutError(endpoint_url="https://x.example"),
        botocore.SSLError(endpoint_url="https://x.example", error=OSError("self-signed")),
        botocore.ProxyConnectionError(proxy_url="http://x.example", error="no"),
        ResponseParserError("<html>"),
        Refused("503", "", 503),
    ],
    ids=repr,
)
def test_an_endpoint_that_gives_no_answer_is_a_failure_and_nothing_else_is_asked(
    error: Exception, aws: FakeAws
) -> None:
    aws.errors["*"] = error
    found = checks(aws)
    assert list(found) == ["region", "endpoint", "others"]
    assert found["endpoint"].level == "fail"
    assert found["others"].message == f"not checked: clock, credentials, {', '.join(LATER)}"
    where = "HTTPS_PROXY" if isinstance(error, botocore.ProxyConnectionError) else "endpoint-url"
    assert where in found["endpoint"].remedy


@pytest.mark.parametrize(
    ("seconds", "level", "message"),
    [
        (300, "ok", "300 s from AWS's"),
        (-300, "ok", "300 s from AWS's"),
        (720, "fail", "12 minutes behind AWS's, which takes no signature beyond 5"),
        (-720, "fail", "12 minutes ahead of AWS's, which takes no signature beyond 5"),
    ],
)
def test_a_clock_that_is_minutes_off_is_a_failure(
    seconds: int, level: str, message: str, aws: FakeAws
) -> None:
    aws.date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    check = checks(aws)["clock"]
    assert (check.level, check.message) == (level, message)


def test_what_a_wrong_clock_makes_aws_say_is_not_blamed_on_the_credentials(aws: FakeAws) -> None:
    aws.date = format_datetime(NOW + timedelta(hours=1), usegmt=True)
    aws.errors["*"] = Refused("SignatureDoesNotMatch", "Signature expired", 403)
    found = checks(aws)
    assert levels(found) == {"clock": "fail", "credentials": "fail", "others": "warn"}
    assert found["credentials"].remedy == "set the clock first"


@pytest.mark.parametrize("date", ["", "soon", "Tue, 24 Nov 2026 12:00:00 -0000"])
def test_an_answer_without_a_date_says_nothing_of_the_clock(date: str, aws: FakeAws) -> None:
    aws.date = date
    assert "clock" not in checks(aws)


# What the caller may do.


@PROBED
def test_a_call_that_is_denied_names_the_action_and_who_needs_it(probe: Any, aws: FakeAws) -> None:
    code = "AuthorizationError" if probe.service == "sns" else "AccessDeniedException"
    aws.errors[f"{probe.service}:{probe.operation}"] = Refused(code, "User x may not", 403)
    check = checks(aws)[probe.service]
    # Without stacks there is nothing to be done at all.
    assert check.level == ("fail" if probe.operation == "DescribeStacks" else "warn")
    assert check.message == f"not allowed to call {probe.operation} (User x may not)"
    assert check.remedy.startswith(f"allow {probe.iam_action}; needed by ")


@PROBED
def test_a_call_that_the_endpoint_does_not_know_is_a_warning(probe: Any, aws: FakeAws) -> None:
    aws.errors[f"{probe.service}:{probe.operation}"] = Refused("InvalidAction", "what?")
    check = checks(aws)[probe.service]
    assert (check.level, check.message.startswith("could not be tested: ")) == ("warn", True)


def test_a_service_that_cannot_be_reached_is_a_failure(aws: FakeAws) -> None:
    aws.errors["sns:ListSubscriptionsByTopic"] = botocore.ConnectTimeoutError(endpoint_url="x")
    assert levels(checks(aws)) == {"sns": "fail"}


def test_the_worst_of_a_services_probes_is_what_is_told(aws: FakeAws) -> None:
    aws.errors["cloudformation:ValidateTemplate"] = Refused("AccessDenied")
    aws.errors["cloudformation:DescribeStacks"] = Refused("AccessDenied")
    found = checks(aws)
    assert "DescribeStacks" in found["cloudformation"].message
    assert levels(found) == {"cloudformation": "fail", "bucket": "warn"}


def test_an_action_of_a_policy_is_named_as_policies_name_it() -> None:
    actions = {probe.iam_action for probe in PROBES}
    assert {"cloudformation:DescribeStacks", "apigateway:GET"} <= actions
    assert len(SERVICES) == 9


# The bucket.


def test_the_bucket_is_the_given_one_or_the_accounts_own_or_not_made_yet(aws: FakeAws) -> None:
    assert checks(aws, "zips")["bucket"].message == "zips"
    assert checks(aws)["bucket"] == Check(
        "bucket", "ok", "not there yet; the next deployment makes it"
    )
    aws.stacks[BOOTSTRAP_STACK] = FakeStack(
        BOOTSTRAP_STACK, outputs={ARTIFACT_BUCKET_OUTPUT: "zips"}
    )
    assert checks(aws)["bucket"] == Check("bucket", "ok", "zips")


@pytest.mark.parametrize(
    "bucket", [None, FakeBucket(owner="999999999999"), FakeBucket(region="us-west-2")]
)
def test_a_bucket_that_cannot_be_used_is_a_failure(bucket: FakeBucket | None, aws: FakeAws) -> None:
    aws.buckets = {"zips": bucket} if bucket else {}
    assert levels(checks(aws, "zips")) == {"bucket": "fail"}


# What the caller may change.


def test_actions_are_simulated_on_resources_named_as_the_environments_own(aws: FakeAws) -> None:
    checks(aws, "zips")
    calls = aws.called("iam:SimulatePrincipalPolicy")
    resources = {call["ResourceArns"][0]: call["ActionNames"] for call in calls}
    here, stacks = f"{REGION}:{ACCOUNT}", "cloudformation"
    assert {name: actions[0] for name, actions in resources.items()} == {
        f"arn:aws:apigateway:{REGION}::/restapis": "apigateway:POST",
        f"arn:aws:{stacks}:{here}:stack/payment-infra-dev/1": f"{stacks}:CreateChangeSet",
        f"arn:aws:cloudwatch:{here}:alarm:dynamodb-throttle-dev": "cloudwatch:PutMetricAlarm",
        f"arn:aws:dynamodb:{here}:table/payment-infra-operations": "dynamodb:CreateTable",
        f"arn:aws:dynamodb:{here}:table/transactions-dev": "dynamodb:CreateTable",
        f"arn:aws:events:{here}:rule/health-monitor-schedule-dev": "events:PutRule",
        f"arn:aws:iam::{ACCOUNT}:policy/payment-infra-dev-TracingPolicy-1": "iam:CreatePolicy",
        f"arn:aws:iam::{ACCOUNT}:role/payment-infra-dev-ValidationRole-1": "iam:CreateRole",
        f"arn:aws:lambda:{here}:function:payment-validation-dev": "lambda:CreateFunction",
        f"arn:aws:lambda:{here}:layer:payment-dependencies-dev": "lambda:PublishLayerVersion",
        f"arn:aws:logs:{here}:log-group:/aws/lambda/payment-validation-dev": "logs:CreateLogGroup",
        f"arn:aws:sns:{here}:payment-alarms-dev": "sns:CreateTopic",
        f"arn:aws:sqs:{here}:failed-transactions-dev": "sqs:CreateQueue",
        "arn:aws:s3:::zips/payment-infra/1": "s3:PutObject",
    }
    assert {call["PolicySourceArn"] for call in calls} == {f"arn:aws:iam::{ACCOUNT}:role/Deployers"}


def test_a_stack_of_another_name_is_the_one_that_is_asked_about(aws: FakeAws) -> None:
    checks(aws, stack="acme-payments")
    resources = [call["ResourceArns"][0] for call in aws.called("iam:SimulatePrincipalPolicy")]
    assert f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/acme-payments/1" in resources
    assert f"arn:aws:iam::{ACCOUNT}:role/acme-payments-ValidationRole-1" in resources
    assert not [one for one in resources if "payment-infra-dev" in one]


def test_the_simulator_is_asked_about_roles_under_the_accounts_rules(aws: FakeAws) -> None:
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
    checks(aws, permissions_boundary=boundary, role_path="/payments/", role_prefix="acme-")
    [asked] = [
        call
        for call in aws.called("iam:SimulatePrincipalPolicy")
        if "iam:CreateRole" in call["ActionNames"]
    ]
    assert asked["ResourceArns"] == [f"arn:aws:iam::{ACCOUNT}:role/payments/acme-ValidationRole-1"]
    context = {one["ContextKeyName"]: one["ContextKeyValues"] for one in asked["ContextEntries"]}
    assert context["iam:PermissionsBoundary"] == [boundary]


def test_a_denied_action_is_named_and_is_a_warning(aws: FakeAws) -> None:
    aws.forbidden = {"iam:CreateRole", "dynamodb:CreateTable"}
    found = checks(aws)
    assert levels(found) == {"changes": "warn"}
    assert found["changes"].message == (
        "a deployment would be refused: dynamodb:CreateTable, iam:CreateRole"
    )


def asked(aws: FakeAws) -> dict[str, str]:
    """Return each action that the simulator was asked about, with the resource."""
    return {
        action: call["ResourceArns"][0]
        for call in aws.called("iam:SimulatePrincipalPolicy")
        for action in call["ActionNames"]
    }


def test_the_simulator_is_asked_about_what_the_preset_adds(aws: FakeAws) -> None:
    checks(aws)
    lean = asked(aws)
    aws.calls.clear()
    preset: dict[str, Any] = dict(PRESETS["production"])
    checks(aws, **preset)
    more = {action: arn for action, arn in asked(aws).items() if action not in lean}
    here = f"{REGION}:{ACCOUNT}"
    stack = f"arn:aws:cloudformation:{here}:stack/payment-infra-dev/1"
    function = f"arn:aws:lambda:{here}:function:payment-validation-dev"
    vault = f"arn:aws:backup:{here}:backup-vault:vault-dev-1"
    plan = f"arn:aws:backup:{here}:backup-plan:payment-infra-dev-BackupPlan-1"
    acl = f"arn:aws:wafv2:{here}:regional/webacl/payment-api-dev/1"
    key = f"arn:aws:kms:{here}:key/payment-infra-dev-EncryptionKey-1"
    pace = f"arn:aws:codedeploy:{here}:deploymentconfig:payment-infra-dev-CanaryPace-1"
    canary = f"arn:aws:codedeploy:{here}:application:payment-infra-dev-CanaryApplication-1"
    group = (
        f"arn:aws:codedeploy:{here}:deploymentgroup:payment-infra-dev-ValidationDeploymentGroup-1"
    )
    assert more == {
        "cloudformation:GetStackPolicy": stack,
        "cloudformation:SetStackPolicy": stack,
        "cloudformation:UpdateTerminationProtection": stack,
        "backup:CreateBackupPlan": plan,
        "backup:CreateBackupSelection": plan,
        "backup:CreateBackupVault": vault,
        "backup-storage:MountCapsule": vault,
        "codedeploy:CreateApplication": canary,
        "codedeploy:CreateDeploymentConfig": pace,
        "codedeploy:CreateDeploymentGroup": group,
        "kms:CreateAlias": f"arn:aws:kms:{here}:alias/payment-infra-dev",
        "kms:CreateKey": key,
        "kms:PutKeyPolicy": key,
        "lambda:CreateAlias": function,
        "lambda:PublishVersion": function,
        "lambda:PutFunctionEventInvokeConfig": function,
        "wafv2:AssociateWebACL": acl,
        "wafv2:CreateWebACL": acl,
        "wafv2:PutLoggingConfiguration": acl,
        "xray:CreateSamplingRule": f"arn:aws:xray:{here}:sampling-rule/p-dev",
    }


def test_the_roles_own_path_is_asked_for(aws: FakeAws) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/Deployers"
    aws.answers["iam:GetRole"] = {"Role": {"Arn": arn}}
    checks(aws)
    assert {one["PolicySourceArn"] for one in aws.called("iam:SimulatePrincipalPolicy")} == {arn}
    assert aws.called("iam:GetRole") == [{"RoleName": "Deployers"}]


@pytest.mark.parametrize(
    ("caller", "source"),
    [
        (f"arn:aws:iam::{ACCOUNT}:user/teams/alice", f"arn:aws:iam::{ACCOUNT}:user/teams/alice"),
        (f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/A/b", f"arn:aws-cn:iam::{ACCOUNT}:role/A"),
        (f"arn:aws:iam::{ACCOUNT}:root", None),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/alice", None),
    ],
)
def test_the_simulator_is_asked_about_users_and_roles(
    caller: str, source: str | None, aws: FakeAws
) -> None:
    aws.answers["sts:GetCallerIdentity"] = {"Account": ACCOUNT, "Arn": caller}
    found = checks(aws)
    asked = {one["PolicySourceArn"] for one in aws.called("iam:SimulatePrincipalPolicy")}
    assert asked == ({source} if source else set())
    assert levels(found) == ({} if source else {"changes": "warn"})
    if not source:
        assert found["changes"].remedy == "`payment-infra deploy --suffix dev` finds out"


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAction", "NoSuchEntity", "Throttling"])
def test_a_simulation_that_may_not_be_made_is_a_warning(code: str, aws: FakeAws) -> None:
    aws.errors["iam:SimulatePrincipalPolicy"] = Refused(code, "no")
    found = checks(aws)
    assert levels(found) == {"changes": "warn"}
    assert found["changes"].message.startswith("could not be tested: IAM's simulator: ")
    told = {"Throttling": "wait a little and repeat the command"}.get(code, LET_IT)
    assert found["changes"].remedy == told


def test_who_may_destroy_must_attach_what_was_detached_again(aws: FakeAws) -> None:
    aws.errors["iam:ListEntitiesForPolicy"] = Refused("AccessDenied", "no")
    for kind in ("Role", "User", "Group"):
        assert f"Detach{kind}Policy" in checks(aws)["iam"].remedy
        assert f"Attach{kind}Policy" in checks(aws)["iam"].remedy
