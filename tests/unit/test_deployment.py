from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.artifacts import LAYER, build_artifacts, code_keys
from payment_infra.cloud.deploying import deployment, forecast
from payment_infra.cloud.deploying import release as releases
from payment_infra.cloud.deploying.bootstrap import bootstrap, find_bucket
from payment_infra.cloud.deploying.bucket import Bucket
from payment_infra.cloud.deploying.deployment import Deployment
from payment_infra.cloud.deploying.options import DeployOptions
from payment_infra.cloud.environment.ownership import find_stack
from payment_infra.cloud.events import Caution
from payment_infra.cloud.sdk.session import Session
from payment_infra.cloud.stacks.failure import DeploymentFailed
from payment_infra.cloud.stacks.stack import Stack
from payment_infra.config import FIELDS, PRESETS, StackConfig
from payment_infra.errors import AwsError, Declined, PaymentInfraError, UsageError
from payment_infra.names import PARAMETER_FIELDS
from payment_infra.naming import build_parameters
from payment_infra.rendering import read_document
from payment_infra.sources import resolve
from tests.aws import ACCOUNT, REGION, FakeAws, FakeBucket, FakeStack
from tests.offline import TINY_LAYER
from tests.operators import FakeOperator
from tests.stacks import own_event

if TYPE_CHECKING:
    from tests.stacks import Answer

NAME = "payment-infra-dev"
DEFAULTS = StackConfig()
BOOTSTRAP = "payment-artifacts"
PRODUCTION: dict[str, Any] = {"preset": "production", "gateway": "simulated"}


@pytest.fixture
def aws() -> FakeAws:
    return FakeAws(buckets={"zips": FakeBucket()})


@pytest.fixture
def session(aws: FakeAws) -> Session:
    return aws.session()


def stack_of(session: Session, name: str = NAME) -> Stack:
    return Stack(session.client("cloudformation"), name, lambda _: None)


def ignore(_: object) -> None:
    pass


def deploy(session: Session, **flags: object) -> bool:
    """Deploy with these flags, as the command does with --yes; return whether that changed it."""
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    options = DeployOptions(yes=True, allow=frozenset({"broaden", "replace"}))
    return Deployment(session, stack_of(session), resolved, options, FakeOperator()).run().changed


def parameters(aws: FakeAws) -> dict[str, str]:
    return aws.stacks[NAME].parameters


def test_every_field_that_is_a_parameter_is_passed(session: Session, aws: FakeAws) -> None:
    asked = {
        "alarm_email": "ops@example.com",
        "throttle_rate_limit": 5,
        "throttle_burst_limit": 6,
        "log_retention_days": 30,
        "manage_api_gateway_account": False,
    }
    assert deploy(session, **asked)
    assert parameters(aws) == {
        "EnvironmentSuffix": "dev",
        "ArtifactBucket": "zips",
        "AlarmEmail": "ops@example.com",
        "ThrottleRateLimit": "5",
        "ThrottleBurstLimit": "6",
        "LogRetentionDays": "30",
        "TransactionsTableOverride": "",
        "ManageApiGatewayAccount": "false",
    }


def test_every_parameter_comes_from_a_field_but_the_one_that_a_restore_sets() -> None:
    declared = {one.title for one in build_parameters(resolve({}, {}).config)}
    assert declared - set(PARAMETER_FIELDS) == {"TransactionsTableOverride"}
    assert set(PARAMETER_FIELDS.values()) <= set(FIELDS)


@pytest.mark.parametrize(("role", "managed"), [("", "true"), ("arn:aws:iam::1:role/x", "false")])
def test_a_new_stack_makes_the_regions_role_only_if_there_is_none(
    role: str, managed: str, session: Session, aws: FakeAws
) -> None:
    aws.api_role = role
    deploy(session)
    assert parameters(aws)["ManageApiGatewayAccount"] == managed


def test_an_update_keeps_who_manages_the_regions_role(session: Session, aws: FakeAws) -> None:
    deploy(session)
    # The stack's own role is now the region's.
    aws.api_role = "arn:aws:iam::1:role/x"
    assert deploy(session, throttle_rate_limit=5)
    assert parameters(aws)["ManageApiGatewayAccount"] == "true"
    assert len(aws.called("apigateway:GetAccount")) == 1


def test_an_update_keeps_what_nobody_asks_to_change(session: Session, aws: FakeAws) -> None:
    deploy(session, alarm_email="ops@example.com", throttle_rate_limit=5, log_retention_days=30)
    parameters(aws)["TransactionsTableOverride"] = "restored"
    assert deploy(session, throttle_burst_limit=7)
    assert parameters(aws) | {"ArtifactBucket": ""} == {
        "EnvironmentSuffix": "dev",
        "ArtifactBucket": "",
        "AlarmEmail": "ops@example.com",
        "ThrottleRateLimit": "5",
        "ThrottleBurstLimit": "7",
        "LogRetentionDays": "30",
        "TransactionsTableOverride": "restored",
        "ManageApiGatewayAccount": "true",
    }


def test_an_update_takes_what_is_asked_for_even_if_it_is_the_default(
    session: Session, aws: FakeAws
) -> None:
    deploy(session, alarm_email="ops@example.com", throttle_rate_limit=5)
    assert deploy(session, alarm_email="", throttle_rate_limit=1000)
    assert (parameters(aws)["AlarmEmail"], parameters(aws)["ThrottleRateLimit"]) == ("", "1000")


def test_an_update_follows_the_bucket_that_the_zips_are_in(session: Session, aws: FakeAws) -> None:
    aws.buckets["others"] = FakeBucket()
    deploy(session)
    deploy(session, bucket="others")
    assert parameters(aws)["ArtifactBucket"] == "others"


def test_a_second_deployment_of_the_same_changes_nothing(session: Session, aws: FakeAws) -> None:
    assert deploy(session)
    before = len(aws.called("s3:PutObject"))
    assert not deploy(session)
    assert len(aws.called("s3:PutObject")) == before
    assert aws.change_sets == {}


class Masking(FakeAws):
    """An account that answers as CloudFormation does for a template that is not ASCII."""

    def get_template(self, params: Answer) -> Answer:
        text = super().get_template(params)["TemplateBody"]
        return {"TemplateBody": re.sub(r"[^\x00-\x7f]", "?", text)}


@pytest.mark.parametrize("released_before", [False, True])
def test_text_that_is_not_ascii_is_no_difference_for_ever(released_before: bool) -> None:
    aws = Masking(buckets={"zips": FakeBucket()})
    session, tags = aws.session(), {"Équipe": "支払い 𠮷", "Team": "Zürich"}
    assert deploy(session, tags=tags)
    if released_before:
        stack = aws.stacks[NAME]
        stack.template = json.dumps(read_document(stack.template), ensure_ascii=False)
    assert not deploy(session, tags=tags)
    resolved = resolve({"suffix": "dev", "bucket": "zips", "tags": tags}, {})
    assert forecast.compare(session, stack_of(session), resolved).same
    assert deploy(session, tags=tags | {"Team": "Zurich"})


def test_a_deployment_uploads_every_zip_and_the_template_that_it_deploys(
    session: Session, aws: FakeAws
) -> None:
    deploy(session)
    objects = aws.buckets["zips"].objects
    zips = {one.key: one.body for one in build_artifacts()} | {code_keys()[LAYER]: TINY_LAYER}
    templates = {key: body for key, body in objects.items() if key not in zips}
    assert zips == {key: objects[key] for key in zips}
    [(key, body)] = templates.items()
    assert aws.stacks[NAME].template.encode() == body
    assert key.startswith("payment-infra/template/")
    [request] = aws.called("cloudformation:CreateChangeSet")
    assert request["TemplateURL"].endswith(f"/zips/{key}")


FOREIGN = (
    f"a stack named {NAME} exists and was not made by payment-infra; it is left alone: "
    "choose another --stack-name or region"
)


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "ROLLBACK_COMPLETE", "UPDATE_IN_PROGRESS"])
@pytest.mark.parametrize("found", [{}, {"EnvironmentSuffix": "dev"}])
def test_a_stack_of_something_else_is_left_alone(
    found: dict[str, str], status: str, session: Session, aws: FakeAws
) -> None:
    aws.stacks[NAME] = FakeStack(NAME, status, dict(found))
    with pytest.raises(AwsError) as refused:
        deploy(session)
    assert str(refused.value) == FOREIGN
    with pytest.raises(AwsError):
        find_stack(stack_of(session), "dev")
    assert aws.changes() == []


def test_a_stack_keeps_its_suffix(session: Session, aws: FakeAws) -> None:
    deploy(session)
    before = aws.changes()
    with pytest.raises(AwsError, match="is the environment 'dev', not 'prod'"):
        deploy(session, suffix="prod")
    assert aws.changes() == before


@pytest.mark.parametrize("status", [None, "REVIEW_IN_PROGRESS"])
def test_what_was_never_made_belongs_to_nobody(
    status: str | None, session: Session, aws: FakeAws
) -> None:
    if status:
        aws.stacks[NAME] = FakeStack(NAME, status)
    assert find_stack(stack_of(session), "dev") is None


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ({"preset": "development"}, "--no-retain-data"),
        ({"preset": "development", "retain_data": False}, "--no-deletion-protection"),
    ],
)
def test_an_update_that_would_end_the_protection_of_payments_is_refused(
    flags: dict[str, object], flag: str, session: Session, aws: FakeAws
) -> None:
    deploy(session, **PRODUCTION)
    before = aws.changes()
    with pytest.raises(UsageError, match=flag):
        deploy(session, **flags)
    assert aws.changes() == before


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "DELETE_FAILED"])
def test_a_stack_that_never_came_to_be_differs_in_everything(
    status: str, session: Session, aws: FakeAws
) -> None:
    resolved = resolve({"suffix": "dev", "bucket": "zips"}, {})
    deploy(session)
    assert forecast.compare(session, stack_of(session), resolved).same
    aws.stacks[NAME].status = status
    comparison = forecast.compare(session, stack_of(session), resolved)
    assert {one.old for one in comparison.template} == {None}


def test_protection_ends_when_that_is_asked_for(session: Session, aws: FakeAws) -> None:
    deploy(session, **PRODUCTION)
    named = {name: getattr(DEFAULTS, name) for name in PRESETS["production"]}
    assert deploy(session, preset="development", **named)
    assert "DeletionProtectionEnabled: false" in aws.stacks[NAME].template


def test_a_chosen_preset_asks_for_what_it_sets(session: Session, aws: FakeAws) -> None:
    deploy(session)
    deploy(session, **PRODUCTION)
    assert parameters(aws)["LogRetentionDays"] == "365"


def test_an_update_goes_on_with_the_stacks_bucket(session: Session, aws: FakeAws) -> None:
    deploy(session, bucket="zips")
    deploy(session, bucket=None, throttle_rate_limit=5)
    assert parameters(aws)["ArtifactBucket"] == "zips"
    assert BOOTSTRAP not in aws.stacks


def test_who_asks_for_the_regions_role_gets_it_even_if_there_is_one(
    session: Session, aws: FakeAws
) -> None:
    aws.api_role = "arn:aws:iam::123456789012:role/theirs"
    deploy(session, manage_api_gateway_account=True)
    assert parameters(aws)["ManageApiGatewayAccount"] == "true"


def test_without_a_bucket_the_accounts_own_is_made_once(session: Session, aws: FakeAws) -> None:
    deploy(session, bucket=None)
    made = aws.stacks[BOOTSTRAP].outputs["ArtifactBucketName"]
    assert parameters(aws)["ArtifactBucket"] == made
    deploy(session, bucket=None, throttle_rate_limit=5)
    names = [one["StackName"] for one in aws.called("cloudformation:CreateChangeSet")]
    assert names == [BOOTSTRAP, NAME, NAME]


def test_bootstrap_says_whether_anything_changed(session: Session, aws: FakeAws) -> None:
    bucket, changed = bootstrap(session, ignore)
    assert changed
    assert bootstrap(session, ignore) == (bucket, False)


def test_a_bucket_that_somebody_has_deleted_is_made_anew(session: Session, aws: FakeAws) -> None:
    bucket, _ = bootstrap(session, ignore)
    del aws.buckets[bucket]
    told: list[object] = []
    assert bootstrap(session, told.append, ignore) == (bucket, True)
    assert Caution(f"bucket {bucket} is gone; its stack {BOOTSTRAP} is made anew") in told
    assert bucket in aws.buckets
    assert bootstrap(session, ignore) == (bucket, False)


@pytest.mark.parametrize("old", ["old", None])
def test_an_update_whose_bucket_is_gone_has_all_of_it_in_a_new_one(
    session: Session, aws: FakeAws, old: str | None
) -> None:
    """Whether the bucket was one of the user's own, or the account's."""
    if old:
        aws.buckets[old] = FakeBucket()
    deploy(session, bucket=old)
    gone = parameters(aws)["ArtifactBucket"]
    before = set(aws.buckets.pop(gone).objects)
    assert deploy(session, bucket=None, throttle_rate_limit=5)
    made = aws.stacks[BOOTSTRAP].outputs["ArtifactBucketName"]
    assert parameters(aws)["ArtifactBucket"] == made
    # All, but for the template, which is another.
    assert len(before - set(aws.buckets[made].objects)) <= 1
    assert not deploy(session, bucket=None)


def test_a_bucket_that_is_gone_is_told_before_it_is_made_anew(
    session: Session, aws: FakeAws
) -> None:
    deploy(session, bucket="zips")
    del aws.buckets["zips"]
    operator = FakeOperator(answer=False)
    resolved = resolve({"suffix": "dev", "throttle_rate_limit": 5}, {})
    with pytest.raises(Declined):
        Deployment(session, stack_of(session), resolved, DeployOptions(), operator).run()
    assert operator.of(Caution) == [
        Caution(
            "bucket zips is gone; the code goes to the account's own, and what was deployed from "
            "the old one cannot be rolled back to"
        )
    ]
    assert parameters(aws)["ArtifactBucket"] == "zips"


def test_a_bucket_that_is_named_is_never_replaced_by_another(
    session: Session, aws: FakeAws
) -> None:
    deploy(session, bucket="zips")
    del aws.buckets["zips"]
    before = aws.changes()
    with pytest.raises(PaymentInfraError, match="bucket zips does not exist; check --bucket"):
        deploy(session, bucket="zips", throttle_rate_limit=5)
    assert aws.changes() == before


def test_an_unchanged_deployment_does_not_ask_for_the_bucket(
    session: Session, aws: FakeAws
) -> None:
    deploy(session)
    before = len(aws.called("s3:HeadBucket"))
    assert not deploy(session, bucket=None)
    assert len(aws.called("s3:HeadBucket")) == before


def test_a_bucket_that_another_deployment_makes_is_waited_for(
    session: Session, aws: FakeAws
) -> None:
    made = FakeStack(BOOTSTRAP, "CREATE_IN_PROGRESS", outputs={"ArtifactBucketName": "theirs"})
    made.happen("CREATE_IN_PROGRESS", [own_event(made, 0, "CREATE_IN_PROGRESS")])
    made.timeline.extend([("CREATE_IN_PROGRESS", []), ("CREATE_COMPLETE", [])])
    aws.stacks[BOOTSTRAP], aws.buckets["theirs"] = made, FakeBucket()
    assert bootstrap(session, ignore)[0]
    [request] = aws.called("cloudformation:CreateChangeSet")
    assert request["ChangeSetType"] == "UPDATE"


def test_a_bucket_whose_creation_failed_is_made_again(session: Session, aws: FakeAws) -> None:
    aws.stacks[BOOTSTRAP] = FakeStack(BOOTSTRAP, "ROLLBACK_COMPLETE")
    assert bootstrap(session, ignore)[1]
    assert aws.stacks[BOOTSTRAP].status == "CREATE_COMPLETE"


@pytest.mark.parametrize("status", ["UPDATE_ROLLBACK_FAILED", "A_STATUS_THAT_AWS_HAS_ADDED"])
def test_a_buckets_stack_that_a_person_has_to_mend_is_left_alone(
    status: str, session: Session, aws: FakeAws
) -> None:
    aws.stacks[BOOTSTRAP] = FakeStack(BOOTSTRAP, status, outputs={"ArtifactBucketName": "zips"})
    aws.buckets["zips"] = FakeBucket()
    told = f"stack {BOOTSTRAP} is {status}; `aws cloudformation delete-stack"
    with pytest.raises(DeploymentFailed, match=told):
        bootstrap(session, ignore)
    with pytest.raises(DeploymentFailed, match=told):
        find_bucket(session, "", ignore)
    assert aws.changes() == []


@pytest.mark.parametrize("outputs", [{}, {"Other": "thing"}])
def test_a_stack_of_something_else_is_not_made_the_buckets(
    outputs: dict[str, str], session: Session, aws: FakeAws
) -> None:
    aws.stacks[BOOTSTRAP] = FakeStack(BOOTSTRAP, outputs=outputs)
    with pytest.raises(AwsError, match=f"a stack named {BOOTSTRAP} exists"):
        bootstrap(session, ignore)
    with pytest.raises(AwsError, match=f"a stack named {BOOTSTRAP} exists"):
        find_bucket(session, "", ignore)
    assert aws.changes() == []


@pytest.mark.parametrize(
    ("bucket", "complaint"),
    [
        (None, "bucket zips does not exist; check --bucket"),
        (FakeBucket(owner="999999999999"), f"bucket zips is not open to account {ACCOUNT}: "),
        (FakeBucket(region="us-west-2"), "bucket zips is in us-west-2, and Lambda takes code "),
    ],
)
def test_a_bucket_that_cannot_be_used_is_refused_before_anything_is_put(
    bucket: FakeBucket | None, complaint: str, session: Session, aws: FakeAws
) -> None:
    aws.buckets = {"zips": bucket} if bucket else {}
    with pytest.raises(PaymentInfraError) as refused:
        deploy(session)
    assert str(refused.value).startswith(complaint)
    assert aws.changes() == []


def test_a_bucket_gets_only_what_it_does_not_have(aws: FakeAws, session: Session) -> None:
    bucket = Bucket(session, "zips")
    bucket.check()
    assert bucket.put("key", lambda: b"body", "text/plain")
    assert not bucket.put("key", never_build, "text/plain")
    assert aws.buckets["zips"].objects == {"key": b"body"}
    [request] = aws.called("s3:PutObject")
    assert request["ContentType"] == "text/plain"
    assert request["ChecksumAlgorithm"] == "SHA256"


def never_build() -> Any:
    raise AssertionError("it was there already")


def test_the_layer_is_built_only_for_a_bucket_that_does_not_have_it(
    session: Session, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(session)
    monkeypatch.setattr(releases, "build_layer", never_build)
    assert deploy(session, throttle_rate_limit=5)
    assert not any(one.new for one in release(session).code)
    aws.buckets["others"] = FakeBucket()
    with pytest.raises(AssertionError, match="it was there already"):
        deploy(session, bucket="others")


def test_a_layer_that_cannot_be_had_stops_a_deployment_before_its_change_set(
    session: Session, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable() -> Any:
        raise PaymentInfraError("a==1 cannot be had")

    monkeypatch.setattr(releases, "build_layer", unavailable)
    with pytest.raises(PaymentInfraError, match="cannot be had"):
        deploy(session)
    assert set(aws.changes()) == {"s3:PutObject"}
    assert code_keys()[LAYER] not in aws.buckets["zips"].objects


def test_every_call_to_a_bucket_says_whose_it_must_be(aws: FakeAws, session: Session) -> None:
    deploy(session)
    calls = [params for name, params in aws.calls if name.startswith("s3:")]
    assert calls
    assert {params["ExpectedBucketOwner"] for params in calls} == {ACCOUNT}


def test_an_object_has_an_address_for_people_and_one_for_cloudformation(session: Session) -> None:
    bucket = Bucket(session, "zips")
    assert bucket.uri("a/b.zip") == "s3://zips/a/b.zip"
    assert bucket.url("a/b.zip") == f"https://s3.{REGION}.amazonaws.com/zips/a/b.zip"


def test_a_handler_that_is_no_python_is_refused_before_any_call(
    session: Session, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> Any:
        raise PaymentInfraError("validation.py:1: invalid syntax")

    monkeypatch.setattr(deployment, "check_handlers", broken)
    with pytest.raises(PaymentInfraError, match=r"validation\.py:1"):
        deploy(session)
    assert aws.calls == []


def release(session: Session, name: str = NAME, **flags: object) -> releases.Release:
    resolved = resolve({"suffix": "dev", "bucket": "zips", **flags}, {})
    [prepared] = forecast.prepare(session, stack_of(session, name), resolved, ignore)
    return prepared


def test_what_brings_the_key_to_a_stack_is_uploaded_for_two_updates(
    session: Session, aws: FakeAws
) -> None:
    deploy(session)
    resolved = resolve({"suffix": "dev", "bucket": "zips", "customer_key": True}, {})
    releases = forecast.prepare(session, stack_of(session), resolved, ignore)
    texts = [aws.buckets["zips"].objects[release.template.key].decode() for release in releases]
    assert ["EncryptionKey" in read_document(text)["Resources"] for text in texts] == [True, True]
    assert ["SSESpecification" in text for text in texts] == [False, True]
    assert "SSESpecification" in str(forecast.compare(session, stack_of(session), resolved))


@pytest.mark.parametrize("stack_name", [NAME, "mine"])
def test_the_command_for_the_aws_cli_copies_the_template_and_creates_the_stack(
    stack_name: str, session: Session
) -> None:
    prepared = release(session, stack_name)
    copy, deploys = releases.deploy_command(session, stack_name, prepared).split(" && ")
    file = f"{stack_name}.yaml"
    assert copy == f"aws s3 cp {prepared.template.uri} {file} --region {REGION}"
    assert deploys == (
        f"aws cloudformation deploy --template-file {file} --stack-name {stack_name} "
        f"--capabilities CAPABILITY_IAM --region {REGION} --parameter-overrides "
        "EnvironmentSuffix=dev ArtifactBucket=zips ThrottleRateLimit=1000 "
        "ThrottleBurstLimit=2000 LogRetentionDays=7 ManageApiGatewayAccount=true"
    )


def test_the_command_for_the_aws_cli_leads_both_its_clients_to_an_endpoint(
    session: Session, aws: FakeAws
) -> None:
    """Its `cloudformation deploy` gives --endpoint-url to one, and the template to AWS's S3."""
    there = Session(session._session, "http://localhost:4566")
    copy, deploys = releases.deploy_command(there, NAME, release(there)).split(" && ")
    assert copy.endswith(f" --region {REGION} --endpoint-url http://localhost:4566")
    assert deploys.startswith(
        "AWS_ENDPOINT_URL=http://localhost:4566 aws cloudformation deploy --template-file "
    )
    assert "--endpoint-url" not in deploys


def test_the_command_for_the_aws_cli_says_that_roles_have_names_of_ones_own(
    session: Session,
) -> None:
    command = releases.deploy_command(session, NAME, release(session, role_prefix="acme-"))
    assert " --capabilities CAPABILITY_NAMED_IAM --region " in command


def test_the_command_for_the_aws_cli_passes_on_an_update_what_was_asked_for(
    session: Session, aws: FakeAws
) -> None:
    deploy(session)
    aws.buckets["others"] = FakeBucket()
    prepared = release(session, bucket="others", log_retention_days=30)
    command = releases.deploy_command(session, NAME, prepared)
    _, _, overrides = command.partition(" --parameter-overrides ")
    assert overrides.split() == [
        "EnvironmentSuffix=dev",
        "ArtifactBucket=others",
        "LogRetentionDays=30",
    ]


def test_the_command_for_the_aws_cli_leaves_the_regions_role_alone(
    session: Session, aws: FakeAws
) -> None:
    aws.api_role = "arn:aws:iam::123456789012:role/theirs"
    command = releases.deploy_command(session, NAME, release(session))
    assert "ManageApiGatewayAccount=false" in command


def test_the_uploaded_template_holds_suffix_and_bucket(session: Session, aws: FakeAws) -> None:
    first = release(session)
    text = aws.buckets["zips"].objects[first.template.key].decode()
    assert "Default: dev\n" in text
    assert "Default: zips\n" in text
    again = release(session)
    assert [one.key for one in first.code] == list(code_keys(config=StackConfig()).values())
    assert [one.new for one in (*first.code, first.template)] == [True] * 8
    assert [one.new for one in (*again.code, again.template)] == [False] * 8


@pytest.mark.parametrize(("tags", "through_bucket"), [({}, False), ({"team": "x" * 200}, True)])
def test_the_command_for_the_aws_cli_sends_a_large_template_through_the_bucket(
    session: Session, tags: dict[str, str], through_bucket: bool
) -> None:
    command = releases.deploy_command(session, NAME, release(session, tags=tags))
    assert ("--s3-bucket zips --s3-prefix payment-infra/template" in command) is through_bucket
