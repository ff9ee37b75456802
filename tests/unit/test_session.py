from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore import exceptions as aws
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3 import HTTPResponse

from payment_infra.cloud.environment.locking import IN_FLIGHT_SECONDS
from payment_infra.cloud.environment.operations_table import ANSWER_SECONDS
from payment_infra.cloud.sdk.configuration import CONNECT_SECONDS
from payment_infra.cloud.sdk.errors import explain, translated
from payment_infra.cloud.sdk.session import READING, REGION_FORM, Session
from payment_infra.errors import AwsError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

NAMED = {"AttributeName": "DisplayName", "AttributeValue": "a"}


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No AWS configuration of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("[default]\n[profile eu]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return config


def test_the_region_is_the_flags_then_the_configurations_then_us_east_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Session.open(None, None, None).region == "us-east-1"
    assert Session.open("eu", None, None).region == "eu-central-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert Session.open(None, None, None).region == "eu-west-1"
    assert Session.open("eu", "ap-south-1", None).region == "ap-south-1"


@pytest.mark.parametrize(
    ("region", "hint"),
    [
        ("us-east-11", "did you mean us-east-1?"),
        ("eu-cenrtal-1", "did you mean eu-central-1?"),
        ("eu-west1", "did you mean eu-west-1?"),
        ("mars", "see --region and AWS_REGION"),
    ],
)
def test_a_region_that_does_not_exist_is_refused_with_the_likely_one(
    region: str, hint: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Session.open(None, region, None)
    assert str(refused.value).startswith(f"region '{region}' is unknown to boto3 ")
    assert str(refused.value).endswith(hint)


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1", "eu-central-1"])
def test_a_region_of_any_partition_is_taken(region: str) -> None:
    assert Session.open(None, region, None).region == region


@pytest.mark.parametrize(
    "region", ["us-east-3", "nz-north-1", "us-isoz-west-1", "eusc-fr-central-1"]
)
def test_a_region_that_is_newer_than_the_sdk_is_taken(region: str) -> None:
    session = Session.open(None, region, None)
    assert session.region == region
    assert region in session.client("cloudformation").meta.endpoint_url


def test_every_region_that_the_sdk_knows_has_the_form_of_a_regions_name() -> None:
    core = botocore.session.Session()
    for partition in core.get_available_partitions():
        for region in core.get_available_regions("cloudformation", partition):
            assert re.fullmatch(REGION_FORM, region)


def test_an_endpoint_may_stand_for_any_region() -> None:
    session = Session.open(None, "mars", "http://127.0.0.1:4566")
    assert (session.region, session.endpoint_url) == ("mars", "http://127.0.0.1:4566")


def test_a_quick_session_is_the_same_with_clients_that_soon_give_up() -> None:
    quick = Session.open("eu", None, "http://127.0.0.1:4566").quick()
    assert (quick.region, quick.profile) == ("eu-central-1", "eu")
    assert quick.endpoint_url == "http://127.0.0.1:4566"
    config = quick.client("sts").meta.config
    seconds = config.retries["total_max_attempts"] * max(
        config.connect_timeout, config.read_timeout
    )
    assert seconds <= 20


def test_a_profile_that_does_not_exist_is_named() -> None:
    with pytest.raises(AwsError, match=r"nobody.*see `aws configure list-profiles`"):
        Session.open("nobody", None, None)


def test_an_endpoint_that_is_no_address_is_named() -> None:
    with pytest.raises(AwsError, match=r"^sts: .*not-a-url.*; check --endpoint-url, AWS_END"):
        Session.open(None, None, "not-a-url").client("sts")


def answer(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (answer("ExpiredToken"), "the AWS credentials have expired; sign in again"),
        (answer("RequestExpired"), "the AWS credentials have expired; sign in again"),
        (
            answer("InvalidClientTokenId"),
            "AWS does not accept these credentials (InvalidClientTokenId); check --profile and "
            "--region, and that the account has the region enabled",
        ),
        (answer("OptInRequired"), "AWS does not accept these credentials (OptIn"),
        (answer("SignatureDoesNotMatch"), "AWS does not accept these credentials (Signature"),
        (answer("AccessDenied", "User x may not"), "not allowed to call PutObject (User x may not"),
        (answer("403"), "not allowed to call PutObject (403)"),
        (answer("SlowDown"), "AWS throttles PutObject; wait a little"),
        (answer("Odd", "It is odd."), "PutObject failed: It is odd"),
        (answer("Odd"), "PutObject failed: Odd"),
        (aws.NoCredentialsError(), "no AWS credentials; set --profile or AWS_PROFILE, or run"),
        (
            aws.EndpointConnectionError(endpoint_url="http://x"),
            "x cannot be reached; check the network, --reg",
        ),
        (aws.ProfileNotFound(profile="x"), "The config profile (x) could not be found; see"),
    ],
    ids=str,
)
def test_what_aws_says_is_told_with_what_to_do(
    error: ClientError | BotoCoreError, told: str
) -> None:
    assert explain(error).startswith(told)
    with pytest.raises(AwsError) as raised, translated("bucket zips"):
        raise error
    assert str(raised.value).startswith(f"bucket zips: {told}")
    assert raised.value.exit_code == 1
    assert "\n" not in str(raised.value)


def test_an_answer_that_is_not_of_aws_is_told() -> None:
    told = r"^x: what answers there is not AWS; check --endpoint-url"
    with pytest.raises(AwsError, match=told), translated("x"):
        raise ResponseParserError("<html>")


def test_what_is_no_answer_of_aws_is_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), translated("bucket zips"):
        raise ZeroDivisionError


class Guard:
    """Counts how often it was asked, and refuses from a number on."""

    def __init__(self, refuse_at: int = 0) -> None:
        self.asked, self._refuse_at = 0, refuse_at

    def __call__(self) -> None:
        self.asked += 1
        if self.asked == self._refuse_at:
            raise AwsError("overtaken")


def answering(session: Session, service: str, *statuses: int) -> tuple[Any, list[int]]:
    """Return a client whose requests are answered instead of sent, and the answers given."""
    client, given, left = session.client(service), list[int](), list(statuses)

    def answer(request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse:
        given.append(left.pop(0))
        text = f"<Answer><{event_name.rpartition('.')[2]}Result/></Answer>"
        body = HTTPResponse(io.BytesIO(text.encode()), preload_content=False)
        return AWSResponse(request.url, given[-1], HTTPHeaders(), body)

    client.meta.events.register_last("before-send", answer)
    return client, given


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return Session.open(None, None, None)


def test_the_guard_is_asked_before_each_attempt_of_a_change(session: Session) -> None:
    client, given = answering(session, "sns", 503, 500, 200, 200)
    session.guard = guard = Guard()
    client.create_topic(Name="a")
    assert (guard.asked, given) == (3, [503, 500, 200])
    session.guard = None
    client.create_topic(Name="a")
    assert (guard.asked, given[3:]) == (3, [200])


def test_what_the_guard_refuses_is_not_sent_and_not_tried_again(session: Session) -> None:
    client, given = answering(session, "sns", 503, 200)
    session.guard = guard = Guard(refuse_at=2)
    with pytest.raises(AwsError, match="overtaken"):
        client.create_topic(Name="a")
    assert (guard.asked, given) == (2, [503])


def test_the_guard_is_asked_after_the_sdk_has_waited_for_its_turn(
    monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    """Mode adaptive limits the rate directly before a request is sent, too."""
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    order = list[str]()
    monkeypatch.setattr(
        "botocore.retries.adaptive.ClientRateLimiter.on_sending_request",
        lambda *_, **__: order.append("limiter"),
    )
    limited = Session.open(None, None, None)
    limited.guard = lambda: order.append("guard")
    client, _ = answering(limited, "sns", 200)
    client.create_topic(Name="a")
    assert order == ["limiter", "guard"]


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "asked"),
    [
        ("sns", "list_topics", {}, 0),
        ("sns", "get_topic_attributes", {"TopicArn": "arn:aws:sns:us-east-1:1:a"}, 0),
        ("cloudformation", "describe_stacks", {}, 0),
        ("cloudformation", "validate_template", {"TemplateBody": "{}"}, 0),
        ("s3", "head_object", {"Bucket": "zips", "Key": "a"}, 0),
        ("s3", "put_object", {"Bucket": "zips", "Key": "a", "Body": b""}, 1),
        ("cloudformation", "cancel_update_stack", {"StackName": "a"}, 1),
        ("sns", "set_topic_attributes", {"TopicArn": "arn:aws:sns:us-east-1:1:a", **NAMED}, 1),
    ],
)
def test_what_only_reads_asks_nobody(
    service: str, operation: str, parameters: dict[str, Any], asked: int, session: Session
) -> None:
    client, given = answering(session, service, 200)
    session.guard = guard = Guard()
    getattr(client, operation)(**parameters)
    assert (guard.asked, given) == (asked, [200])


def test_a_receive_from_a_queue_counts_as_a_change() -> None:
    """It hides messages from whoever else looks."""
    assert not "ReceiveMessage".startswith(READING)
    assert not "ChangeMessageVisibilityBatch".startswith(READING)


def test_an_unguarded_session_is_the_same_and_asks_nobody(session: Session) -> None:
    apart = session.unguarded(Config(read_timeout=2))
    client, _ = answering(apart, "sns", 200)
    session.guard = apart.guard = None
    session.guard = guard = Guard()
    client.create_topic(Name="a")
    assert guard.asked == 0
    assert client.meta.config.read_timeout == 2
    assert client.meta.config.connect_timeout == CONNECT_SECONDS
    assert client.meta.config.retries == session.client("sns").meta.config.retries


def test_an_attempt_of_a_change_has_the_seconds_that_a_takeover_waits_for(
    session: Session,
) -> None:
    client = session.client("cloudformation")
    assert (client.meta.config.connect_timeout, client.meta.config.read_timeout) == (5, 30)
    assert client.meta.config.connect_timeout + client.meta.config.read_timeout == (
        IN_FLIGHT_SECONDS - ANSWER_SECONDS
    )


def test_a_session_keeps_what_led_to_it() -> None:
    session = Session.open(None, "eu-west-1", None)
    assert session.command("payment-infra deploy") == "payment-infra deploy"
    session.flags = "--region eu-west-1"
    for one in (session, session.quick(), session.unguarded(Config())):
        assert one.command("payment-infra deploy") == "payment-infra deploy --region eu-west-1"


def test_a_command_of_the_aws_cli_leads_where_the_session_does(
    no_configuration: Path,
) -> None:
    no_configuration.write_text("[profile 'my own']\nregion = eu-west-1\n")
    session = Session.open("my own", None, "http://localhost:4566")
    flags = "--region eu-west-1 --endpoint-url http://localhost:4566 --profile 'my own'"
    assert session.aws("sqs list-queues", "sns list-topics") == (
        f"aws sqs list-queues {flags} && aws sns list-topics {flags}"
    )
    assert Session.open(None, "us-west-2", None).aws("sqs list-queues") == (
        "aws sqs list-queues --region us-west-2"
    )
