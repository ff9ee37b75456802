"""What the AWS CLI obeys is obeyed: variables and profiles, as files that the real SDK reads."""

from __future__ import annotations

import getpass
import json
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.session import Session as BotoSession

from payment_infra.cloud.environment.environment import Environment
from payment_infra.cloud.environment.locking import IN_FLIGHT_SECONDS
from payment_infra.cloud.environment.operations_table import ANSWER_SECONDS
from payment_infra.cloud.sdk.endpoints import SERVICES, variable
from payment_infra.cloud.sdk.session import Session
from payment_infra.config import StackConfig
from payment_infra.doctor.access import check_access
from payment_infra.errors import AwsError, PaymentInfraError, UsageError
from payment_infra.names import REST_API
from tests.servers import Requests, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class User:
    """Somebody's home, AWS configuration file and environment."""

    home: Path
    environ: pytest.MonkeyPatch

    def writes(self, text: str) -> None:
        (self.home / "config").write_text(text)

    def exports(self, **variables: str) -> None:
        for name, value in variables.items():
            self.environ.setenv(name, value)


@pytest.fixture
def offline() -> None:
    """This module alone connects, to this machine."""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> User:
    """Return a user who has keys, and nothing else."""
    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.upper().endswith(("_PROXY", "_CA_BUNDLE")):
            monkeypatch.delenv(name)
    user = User(tmp_path, monkeypatch)
    user.exports(
        HOME=str(tmp_path),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=str(tmp_path / "config"),
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"),
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )
    user.writes("[default]\n")
    return user


def config(profile: str | None = None) -> Any:
    return Session.open(profile, "eu-central-1", None).client("cloudformation").meta.config


def endpoint(service: str, url: str | None = None, profile: str | None = None) -> str:
    session = Session.open(profile, "eu-central-1", url)
    return str(session.client(service).meta.endpoint_url)


def test_without_a_word_of_the_user_there_are_five_attempts_of_35_seconds(user: User) -> None:
    found = config()
    assert found.retries == {"mode": "standard", "total_max_attempts": 5}
    assert (found.connect_timeout, found.read_timeout) == (5, 30)


def test_attempts_and_retry_mode_are_the_variables_then_the_profiles(user: User) -> None:
    user.writes("[default]\nmax_attempts = 9\nretry_mode = adaptive\n")
    assert config().retries == {"mode": "adaptive", "total_max_attempts": 9}
    user.exports(AWS_MAX_ATTEMPTS="2", AWS_RETRY_MODE="legacy")
    assert config().retries == {"mode": "legacy", "total_max_attempts": 2}


@pytest.mark.parametrize(
    ("mode", "seconds"), [("mobile", 30), ("in-region", 1.1), ("standard", 3.1), ("legacy", 5)]
)
def test_a_mode_of_defaults_says_how_long_to_connect(mode: str, seconds: float, user: User) -> None:
    user.exports(AWS_DEFAULTS_MODE=mode)
    found = config()
    assert (found.connect_timeout, found.read_timeout) == (seconds, 30)
    assert found.retries == {"mode": "standard", "total_max_attempts": 5}
    session = Session.open(None, "eu-central-1", None)
    assert session.attempt_seconds == seconds + 30
    assert Session.open(None, None, None).quick().client("sts").meta.config.connect_timeout == 5


def test_a_takeover_waits_by_default_for_one_attempt_and_the_answer_before(user: User) -> None:
    session = Session.open(None, "eu-central-1", None)
    assert session.attempt_seconds + ANSWER_SECONDS == IN_FLIGHT_SECONDS


@pytest.mark.parametrize(
    ("variable", "key", "value", "rule"),
    [
        ("AWS_MAX_ATTEMPTS", "max_attempts", "x", "a whole number"),
        ("AWS_MAX_ATTEMPTS", "max_attempts", "0", "at least 1"),
        ("AWS_RETRY_MODE", "retry_mode", "foo", "one of legacy, standard, adaptive"),
        (
            *("AWS_DEFAULTS_MODE", "defaults_mode", "foo"),
            "one of legacy, auto, standard, in-region, cross-region, mobile",
        ),
        (
            *("AWS_STS_REGIONAL_ENDPOINTS", "sts_regional_endpoints", "foo"),
            "one of legacy, regional",
        ),
        (
            *("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", "1s"),
            "a whole number",
        ),
    ],
)
def test_a_value_that_is_wrong_is_named_with_where_it_stands(
    variable: str, key: str, value: str, rule: str, user: User
) -> None:
    user.writes(f"[default]\n[profile p]\n{key} = {value}\n")
    with pytest.raises(UsageError) as refused:
        Session.open("p", "eu-central-1", None)
    assert str(refused.value) == f"{key} of the AWS profile p: {value!r} must be {rule}"
    user.exports(**{variable: value})
    with pytest.raises(UsageError) as refused:
        Session.open(None, "eu-central-1", None)
    assert str(refused.value) == f"{variable}: {value!r} must be {rule}"


def test_region_and_profile_are_found_in_the_order_of_the_aws_cli(user: User) -> None:
    user.writes("[profile a]\nregion = eu-west-1\n[profile b]\nregion = eu-west-2\n")
    user.exports(AWS_DEFAULT_PROFILE="b")
    assert Session.open(None, None, None).region == "eu-west-2"
    user.exports(AWS_PROFILE="a")
    assert Session.open(None, None, None).region == "eu-west-1"
    user.exports(AWS_DEFAULT_REGION="us-east-2")
    assert Session.open(None, None, None).region == "us-east-2"
    user.exports(AWS_REGION="us-west-2")
    assert Session.open("b", None, None).region == "us-west-2"
    assert Session.open("b", "eu-north-1", None).region == "eu-north-1"


def test_endpoints_are_found_in_the_order_of_the_sdk(user: User) -> None:
    assert endpoint("sqs") == "https://sqs.eu-central-1.amazonaws.com"
    user.writes(
        "[default]\nendpoint_url = http://1\nservices = mine\n"
        "[services mine]\nsqs =\n  endpoint_url = http://2\n"
    )
    assert (endpoint("sns"), endpoint("sqs")) == ("http://1", "http://2")
    user.exports(AWS_ENDPOINT_URL="http://3")
    assert (endpoint("sns"), endpoint("sqs")) == ("http://3", "http://3")
    user.exports(AWS_ENDPOINT_URL_SQS="http://4")
    assert (endpoint("sns"), endpoint("sqs")) == ("http://3", "http://4")
    assert endpoint("sqs", "http://5") == "http://5"
    user.exports(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    assert endpoint("sqs") == "https://sqs.eu-central-1.amazonaws.com"
    assert endpoint("sqs", "http://5") == "http://5"


def test_fips_and_dual_stack_endpoints_are_used_where_asked_for(user: User) -> None:
    user.exports(AWS_USE_FIPS_ENDPOINT="true")
    assert endpoint("sts") == "https://sts-fips.eu-central-1.amazonaws.com"
    session = Session.open(None, "us-east-1", None)
    assert (session.endpoint_url, session.embedded) == (None, False)
    user.writes("[default]\nuse_dualstack_endpoint = true\n")
    assert endpoint("sts") == "https://sts-fips.eu-central-1.api.aws"
    assert Session.open(None, "eu-central-1", None).endpoint_url is None


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "s3.us-east-1.amazonaws.com"),
        ("eu-central-1", "s3.eu-central-1.amazonaws.com"),
        ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "s3.us-iso-east-1.c2s.ic.gov"),
    ],
)
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_ENDPOINT_URL_S3": "https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com"},
    ],
)
def test_cloudformation_reads_templates_at_s3s_own_host_however_this_machine_gets_there(
    variables: dict[str, str], region: str, host: str, user: User
) -> None:
    user.exports(**variables)
    session = Session.open(None, region, None)
    assert session.s3_for_cloudformation == f"https://{host}"


def test_what_stands_for_cloudformation_reads_templates_where_s3_is(user: User) -> None:
    user.exports(AWS_ENDPOINT_URL="http://localhost:1", AWS_ENDPOINT_URL_S3="http://localhost:2")
    session = Session.open(None, "eu-central-1", None)
    assert session.s3_for_cloudformation == "http://localhost:2"
    user.exports(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    session = Session.open(None, "eu-central-1", None)
    assert session.s3_for_cloudformation == "https://s3.eu-central-1.amazonaws.com"


@pytest.mark.parametrize("source", ["flag", "variable", "variable of the service", "profile"])
def test_what_stands_for_aws_is_known_wherever_that_is_said(source: str, user: User) -> None:
    url = "http://localhost:4566"
    match source:
        case "variable":
            user.exports(AWS_ENDPOINT_URL=url)
        case "variable of the service":
            user.exports(AWS_ENDPOINT_URL_CLOUDFORMATION=url)
        case "profile":
            user.writes(f"[default]\nendpoint_url = {url}\n")
    session = Session.open(None, "mars", url if source == "flag" else None)
    assert session.endpoint_url == url
    assert f"--endpoint-url {url}" in session.aws("cloudformation list-stacks")


class OneApi:
    """What is used of a stack and of its state, once it has an API."""

    name, outputs = "payment-infra-dev", {"APIEndpoint": "https://abc.example/prod/"}

    def physical_ids(self) -> dict[str, str]:
        return {REST_API: "abc"}


def test_the_api_is_called_where_the_profile_says_that_aws_is(user: User) -> None:
    of_stack: Any = OneApi()

    def address() -> str:
        session = Session.open(None, "eu-central-1", None)
        return Environment(session, of_stack, of_stack).api().url

    assert address() == "https://abc.example/prod/"
    user.writes("[default]\nendpoint_url = http://localhost:4566/\n")
    assert address() == "http://localhost:4566/_aws/execute-api/abc/prod/"
    user.exports(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS="true")
    assert address() == "https://abc.example/prod/"


def test_a_service_that_is_elsewhere_stands_not_for_aws(user: User) -> None:
    user.exports(AWS_ENDPOINT_URL_DYNAMODB="http://localhost:8000")
    session = Session.open(None, "eu-central-1", None)
    assert (session.endpoint_url, session.embedded) == (None, False)
    flags = "--region eu-central-1"
    assert session.aws("sqs list-queues", "dynamodb list-tables") == (
        f"aws sqs list-queues {flags} && "
        f"aws dynamodb list-tables {flags} --endpoint-url http://localhost:8000"
    )


LOCAL = "http://localhost:8000"
ELSEWHERE = {
    "variable": ({"AWS_ENDPOINT_URL_DYNAMODB": LOCAL}, ""),
    "services": ({}, f"services = s\n[services s]\ndynamodb =\n  endpoint_url = {LOCAL}\n"),
    "reverse": (
        {"AWS_ENDPOINT_URL": LOCAL, "AWS_ENDPOINT_URL_DYNAMODB": "https://dynamodb.amazonaws.com"},
        "",
    ),
    "host": ({"AWS_ENDPOINT_URL": LOCAL, "AWS_ENDPOINT_URL_DYNAMODB": "http://db:8000"}, ""),
}
PLACES = {
    "variable": f"is at AWS, dynamodb at {LOCAL} (AWS_ENDPOINT_URL_DYNAMODB); name one for all ",
    "services": f"is at AWS, dynamodb at {LOCAL} (endpoint_url of the AWS profile); name",
    "reverse": f"is at {LOCAL} (AWS_ENDPOINT_URL), dynamodb at AWS (AWS_ENDPOINT_URL_DYNAMODB); ",
    "host": f"is at {LOCAL} (AWS_ENDPOINT_URL), dynamodb at http://db:8000 (AWS_ENDPOINT_URL_D",
}


@pytest.mark.parametrize("case", ELSEWHERE)
@pytest.mark.parametrize("service", ["dynamodb", "cloudformation"])
def test_nothing_is_changed_while_services_are_in_more_than_one_aws(
    case: str, service: str, user: User
) -> None:
    """The lock would be in one, and what it guards in another."""
    variables, text = ELSEWHERE[case]
    user.exports(**variables)
    user.writes(f"[default]\n{text}")
    session = Session.open(None, "eu-central-1", None)
    for place in (session, session.quick(), session.unguarded(Config(read_timeout=2))):
        client = place.client(service)
        sent = list[str]()
        client.meta.events.register_last("before-send", lambda **_: sent.append("it"))  # noqa: B023
        change, name = {
            "cloudformation": ("delete_stack", "StackName"),
            "dynamodb": ("delete_table", "TableName"),
        }[service]
        with pytest.raises(UsageError) as refused:
            getattr(client, change)(**{name: "payments"})
        assert f"cloudformation {PLACES[case]}" in str(refused.value)
        assert sent == []


def test_the_reverse_is_told_of_every_service(user: User) -> None:
    user.exports(AWS_ENDPOINT_URL_CLOUDFORMATION=LOCAL)
    others = ", ".join(name for name in SERVICES if name != "cloudformation")
    assert (
        f"cloudformation is at {LOCAL} (AWS_ENDPOINT_URL_CLOUDFORMATION), {others} at AWS; name"
        in Session.open(None, "eu-central-1", None).apart
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_ENDPOINT_URL": LOCAL},
        {"AWS_ENDPOINT_URL": LOCAL, "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:4566"},
        {"AWS_ENDPOINT_URL_DYNAMODB": LOCAL, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        {"AWS_ENDPOINT_URL_S3": "https://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com"},
        {"AWS_ENDPOINT_URL_REKOGNITION": LOCAL},
    ],
)
def test_one_aws_may_have_several_endpoints(variables: dict[str, str], user: User) -> None:
    user.exports(**variables)
    assert Session.open(None, "eu-central-1", None).apart == ""


def test_a_flag_is_for_every_service(user: User) -> None:
    user.exports(AWS_ENDPOINT_URL_DYNAMODB="http://db:8000")
    assert Session.open(None, "eu-central-1", LOCAL).apart == ""


def test_every_service_that_is_called_is_asked_where_it_is() -> None:
    calls = {
        name
        for file in (Path(__file__).parents[2] / "payment_infra").rglob("*.py")
        for name in re.findall(r'client\(\s*"(\w+)"', file.read_text("utf-8"))
    }
    assert calls <= set(SERVICES)
    ids = [BotoSession().get_service_model(service).service_id for service in SERVICES]
    assert {variable(service_id).removeprefix("AWS_ENDPOINT_URL_") for service_id in ids} >= {
        *("API_GATEWAY", "CLOUDWATCH", "CLOUDWATCH_LOGS", "EVENTBRIDGE", "LAMBDA", "S3")
    }


def test_the_doctor_names_every_service_that_is_elsewhere(user: User) -> None:
    with serving(body=ASSUMED.encode(), content="text/xml") as requests:
        user.exports(
            AWS_ENDPOINT_URL=requests.url,
            AWS_ENDPOINT_URL_DYNAMODB="http://db:8000",
            AWS_ENDPOINT_URL_SQS="http://queues:9324",
        )
        session = Session.open(None, "eu-central-1", None).quick()
        checks = check_access(session, StackConfig(), lambda: datetime.now(UTC))
        found = {check.name: check for check in islice(checks, 2)}
    assert found["endpoint"].level == "fail"
    assert (
        "dynamodb at http://db:8000 (AWS_ENDPOINT_URL_DYNAMODB) and sqs at http://queues:9324 "
        "(AWS_ENDPOINT_URL_SQS)"
    ) in found["endpoint"].message


def test_an_endpoint_of_awss_own_is_no_emulator(user: User) -> None:
    """An interface endpoint of a VPC (AWS PrivateLink, "Access AWS services")."""
    url = "https://vpce-1-2.cloudformation.eu-central-1.vpce.amazonaws.com"
    session = Session.open(None, "eu-central-1", url)
    assert session.endpoint_url is None
    assert session.aws("sqs list-queues").endswith(f"--endpoint-url {url}")


def told(profile: str | None = None, url: str | None = None) -> str:
    """Return what a command says that has to know who calls, in its one line."""
    with pytest.raises(PaymentInfraError) as failed:
        Session.open(profile, "eu-central-1", url).account()
    assert isinstance(failed.value, AwsError)
    line = str(failed.value)
    assert "\n" not in line
    assert "endpoint-url" not in line
    return line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("role_arn = arn:aws:iam::1:role/r\nsource_profile = p", "Infinite loop in credential"),
        ("role_arn = arn:aws:iam::1:role/r\nsource_profile = no", 'The source_profile "no" ref'),
        ("role_arn = arn:aws:iam::1:role/r", "Partial credentials found in assume-role, missing"),
        (
            "role_arn = arn:aws:iam::1:role/r\ncredential_source = Foo",
            'The credential source "Foo" referenced in profile "p" is not valid',
        ),
        ("aws_access_key_id = a", "Partial credentials found in config-file, missing"),
        (
            "services = none",
            'sts: The profile is configured to use the services section but the "n',
        ),
        ("credential_process = /no/such", "credential_process of the AWS profile gives no cred"),
        (
            "credential_process = false",
            "credential_process of the AWS profile has failed without a word; run it in a shell",
        ),
        (
            "credential_process = sh -c 'echo no key >&2; exit 1'",
            "credential_process of the AWS profile has failed: no key; run it in a shell to see",
        ),
        (
            "role_arn = arn:aws:iam::1:role/r\ncredential_source = Environment",
            "credential_source Environment gives no credentials (No credentials found in cred",
        ),
        ("credential_process = echo rubbish", "credential_process of the AWS profile gives no"),
        ('credential_process = echo "', "credential_process of the AWS profile gives no"),
        ("credential_process = echo '[1]'", "credential_process of the AWS profile gives no cred"),
        (
            "role_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = /no/such",
            "web_identity_token_file of the AWS profile p: the file of the token '/no/such' cannot",
        ),
        ("credential_process = echo {}", "credential_process of the AWS profile has failed: Unsup"),
        (
            "credential_process = echo '"
            '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","SessionToken":"c",'
            '"Expiration":"2001-01-01T00:00:00Z"}\'',
            "the AWS credentials have expired",
        ),
        (
            "sso_start_url = https://x\nsso_region = eu-central-1\nsso_account_id = 1\n"
            "sso_role_name = r",
            "not signed in (Error loading SSO Token",
        ),
        (
            "sso_session = s\nsso_account_id = 1\nsso_role_name = r\n[sso-session s]\n"
            "sso_region = eu-central-1\nsso_start_url = https://x",
            "not signed in (Error loading SSO Token",
        ),
    ],
)
def test_what_gives_no_credentials_is_told_as_what_it_is(text: str, line: str, user: User) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        user.environ.delenv(name)
    user.writes(f"[default]\n[profile p]\n{text}\n")
    assert line in told("p")


def test_no_credentials_at_all_are_told(user: User) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        user.environ.delenv(name)
    assert "no AWS credentials; set --profile or AWS_PROFILE" in told()


@pytest.mark.parametrize("content", [b"[default\n", b"[default]\nregion\n", b"\xff\xfe["])
def test_a_configuration_file_that_is_broken_is_named(content: bytes, user: User) -> None:
    (user.home / "config").write_bytes(content)
    assert f"Unable to parse config file: {user.home / 'config'}; mend" in told()


ASSUMED = """<AssumeRoleResponse><AssumeRoleResult><Credentials>
<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2120-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>
<GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult>
</AssumeRoleResponse>"""
DEVICE = "arn:aws:iam::1:mfa/alice"
WITH_CODE = f"""[default]
[profile base]
[profile p]
role_arn = arn:aws:iam::1:role/r
source_profile = base
mfa_serial = {DEVICE}
"""


@pytest.mark.parametrize(("account", "embedded"), [("000000000000", True), ("123456789012", False)])
def test_the_embedded_aws_is_known_by_its_account_as_well(
    account: str, embedded: bool, user: User
) -> None:
    """A tunnel to AWS, or a proxy that signs, is on this machine, too."""
    body = ASSUMED.replace("123456789012", account)
    with serving(body=body.encode(), content="text/xml") as requests:
        user.exports(AWS_ENDPOINT_URL=requests.url)
        assert Session.open(None, "eu-central-1", None).embedded is embedded


@pytest.fixture
def sts(user: User) -> Iterator[Requests]:
    """STS on this machine, for a role that wants a code."""
    (user.home / "credentials").write_text(
        "[base]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    user.writes(WITH_CODE)
    with serving(body=ASSUMED.encode(), content="text/xml") as requests:
        user.exports(AWS_ENDPOINT_URL=requests.url)
        yield requests


def typed(user: User, *codes: str) -> list[str]:
    """Have these codes entered at the terminal; return the questions, which fill as they come."""
    questions, left = list[str](), list(codes)

    def ask(prompt: str = "") -> str:
        questions.append(prompt)
        return left.pop(0)

    user.environ.setattr(getpass, "getpass", ask)
    return questions


def test_a_code_is_asked_for_once_and_kept_as_the_aws_cli_keeps_it(
    user: User, sts: Requests
) -> None:
    questions = typed(user, "123456")
    for _ in range(2):
        assert Session.open("p", "eu-central-1", None).account() == "123456789012"
    assert questions == [f"Enter MFA code for {DEVICE}: "]
    assert len(sts.lines) == 3  # one AssumeRole, and who calls, twice
    (file,) = (user.home / ".aws/cli/cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["Credentials"]["AccessKeyId"] == "ASIA"


def test_a_cache_of_the_aws_cli_is_read(user: User, sts: Requests) -> None:
    """Its name for a file is a digest of what is asked of AssumeRole, in order."""
    typed(user, "123456")
    Session.open("p", "eu-central-1", None).account()
    (file,) = (user.home / ".aws/cli/cache").iterdir()
    of_cli = import_module("awscli.customizations.assumerole")
    user.environ.setattr(of_cli, "CACHE_DIR", str(file.parent))
    core = BotoSession(profile="p")
    of_cli.inject_assume_role_provider_cache(core)
    found: Any = core.get_credentials()
    assert found.get_frozen_credentials().access_key == "ASIA"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"Credentials": 7}'])
def test_a_cache_that_cannot_be_used_does_no_harm(content: str, user: User, sts: Requests) -> None:
    typed(user, "123456", "123456")
    Session.open("p", "eu-central-1", None).account()
    (file,) = (user.home / ".aws/cli/cache").iterdir()
    file.write_text(content)
    assert Session.open("p", "eu-central-1", None).account() == "123456789012"
    assert "ASIA" in file.read_text()


def test_a_cache_that_cannot_be_written_does_no_harm(user: User, sts: Requests) -> None:
    (user.home / ".aws").write_text("no folder")
    typed(user, "123456")
    assert Session.open("p", "eu-central-1", None).account() == "123456789012"


def test_without_a_terminal_it_is_told_where_to_enter_the_code(user: User, sts: Requests) -> None:
    def no_terminal(*_: object) -> int:
        raise OSError

    user.environ.setattr("os.open", no_terminal)
    user.environ.setattr("sys.stdin", None)
    line = told("p")
    assert f"needs a code of the MFA device {DEVICE}, and there is no terminal to enter it" in line
    assert sts.lines == []


def test_no_code_is_told(user: User, sts: Requests) -> None:
    typed(user, " ")
    assert f"no code of the MFA device {DEVICE} was entered" in told("p")
    assert sts.lines == []
