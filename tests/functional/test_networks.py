"""The way to AWS and to the API: real files, real servers on this machine, and the real SDK."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore import exceptions as aws

from payment_infra.cloud.environment.smoke import Api
from payment_infra.cloud.sdk import network
from payment_infra.cloud.sdk.errors import explain, is_passing, translated
from payment_infra.cloud.sdk.session import Session
from payment_infra.errors import AwsError, UsageError
from tests.servers import AUTHORITY, Requests, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = b"""<GetCallerIdentityResponse><GetCallerIdentityResult>
<Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/alice</Arn>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""
HEALTHY = b'{"overall_status": "healthy", "checks": []}'


@pytest.fixture
def offline() -> None:
    """This module alone connects, to this machine."""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the AWS configuration file of a user who has set nothing else."""
    for name in list(os.environ):
        if name.upper().startswith("AWS_") or name.upper().endswith(("_PROXY", "_CA_BUNDLE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    file = tmp_path / "config"
    file.write_text("[default]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    return file


@pytest.fixture
def private() -> Iterator[Requests]:
    """AWS behind a private CA."""
    with serving(tls=True, body=IDENTITY, content="text/xml") as requests:
        yield requests


def ask(url: str | None = None) -> str:
    return Session.open(None, "eu-central-1", url).account()


def refusal(url: str | None = None) -> str:
    with pytest.raises(AwsError) as failed:
        ask(url)
    return str(failed.value).removeprefix("AWS account in eu-central-1: ")


def api(url: str) -> Api:
    session = Session.open(None, "eu-central-1", None)
    return Api(url, "eu-central-1", session.credentials, http=session.http(url))


@pytest.mark.parametrize("source", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
def test_a_private_authority_is_trusted_by_clients_and_by_requests_to_the_api(
    source: str, private: Requests, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source.isupper():
        monkeypatch.setenv(source, str(AUTHORITY))
    else:
        config.write_text(f"[default]\n{source} = {AUTHORITY}\n")
    assert ask(private.url) == "123456789012"
    with serving(tls=True, body=HEALTHY) as behind:
        assert api(f"{behind.url}/prod/").call("GET", "health").status == 200


def test_an_authority_that_is_not_trusted_is_told_as_that(private: Requests) -> None:
    where = private.url.removeprefix("https://")
    told = (
        f"the certificate of {where} is not trusted (unable to get local issuer certificate); "
        "set AWS_CA_BUNDLE, or the profile's ca_bundle, to a file with the CA that has signed it"
    )
    assert refusal(private.url) == told
    called = api(f"{private.url}/prod/")
    assert called.call("GET", "health").body == told
    with pytest.raises(AwsError) as failed:
        called.find_authorization()
    assert str(failed.value) == f"{private.url}/prod/: no answer: {told}"
    assert private.lines == []


def test_what_is_not_trusted_now_will_not_be_a_little_later(private: Requests) -> None:
    with pytest.raises(AwsError) as failed:
        ask(private.url)
    assert not is_passing(failed.value)


def test_a_server_without_tls_is_told_as_that() -> None:
    with serving() as plain:
        url = plain.url.replace("http:", "https:")
        assert "cannot be spoken to by TLS (wrong version number)" in refusal(url)


@pytest.mark.parametrize("source", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), ("nothing\n", "no certificates in it")],
)
def test_a_file_of_certificates_that_is_none_is_named_before_anything_is_sent(
    content: str | None,
    reason: str,
    source: str,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    if source.isupper():
        monkeypatch.setenv(source, str(bundle))
    else:
        config.write_text(f"[default]\n{source} = {bundle}\n")
    with pytest.raises(UsageError) as refused:
        ask()
    named = source if source.isupper() else f"{source} of the AWS profile default"
    assert str(refused.value) == (
        f"{named}: the file of trusted certificates '{bundle}' cannot be used ({reason})"
    )


def test_a_proxy_is_used_by_clients_and_by_requests_to_the_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(body=IDENTITY, content="text/xml") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//alice:secret@"))
        assert ask("http://sts.example") == "123456789012"
        assert api("http://api.example/prod/").call("GET", "health").status == 200
        assert proxy.lines == ["POST http://sts.example/", "GET http://api.example/prod/health"]
        assert {one["Proxy-Authorization"] for one in proxy.headers} == {"Basic YWxpY2U6c2VjcmV0"}
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with serving(body=IDENTITY, content="text/xml") as direct:
            assert ask(direct.url) == "123456789012"
            assert api(f"{direct.url}/").call("GET", "health").status == 200
        assert (len(proxy.lines), len(direct.lines)) == (2, 2)


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("http://alice:secret@127.0.0.1:9", "the proxy 127.0.0.1:9 refuses the connection; "),
        ("alice:secret@127.0.0.1:9", "the proxy 127.0.0.1:9 refuses the connection; "),
        ("http://alice:secret@proxy.invalid:3128", "the proxy proxy.invalid:3128: this name"),
    ],
)
def test_a_proxy_that_is_not_there_is_told_and_never_its_password(
    proxy: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    answers = (
        refusal("https://sts.example"),
        str(api("https://api.example/prod/").call("GET", "health").body),
    )
    for answer in answers:
        assert answer.startswith(told)
        assert answer.endswith("check HTTP_PROXY, HTTPS_PROXY and NO_PROXY")
        assert "secret" not in answer


def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
    if host.endswith(".invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.mark.parametrize(("status", "passing"), [(407, False), (403, False), (502, True)])
def test_a_proxy_that_lets_nobody_through_is_told(
    status: int, passing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(status=status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//alice:secret@"))
        told = refusal("https://sts.example")
        where = proxy.url.removeprefix("http://")
        assert told.startswith(f"the proxy {where} lets nothing through ({status} ")
        assert "secret" not in told
        assert api("https://api.example/").call("GET", "health").body == told
        with pytest.raises(AwsError) as failed:
            ask("https://sts.example")
    assert is_passing(failed.value) == passing


@pytest.mark.parametrize(
    "proxy",
    [
        *("http://alice:sec/ret@127.0.0.1:9", "http://alice:secret@127.0.0.1:x", "http://"),
        *("socks5://alice:secret@127.0.0.1:9", "http://alice:secrét@127.0.0.1:9"),
    ],
)
def test_an_address_that_is_no_proxys_is_refused_and_not_shown(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    for call in (lambda: ask("https://sts.example"), lambda: api("https://api.example/")):
        with pytest.raises(UsageError) as refused:
            call()
        assert str(refused.value).startswith("HTTPS_PROXY: no address of a proxy; it has the form")
        assert "127" not in str(refused.value)
    assert ask_nothing("http://sts.example").startswith("https")


def ask_nothing(url: str) -> str:
    """Return the address that a client of an endpoint without a proxy has, or AWS's own."""
    client = Session.open(None, "eu-central-1", url).client("sts")
    return str(client.meta.endpoint_url).replace("http:", "https:")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            aws.EndpointConnectionError(
                endpoint_url="https://a.example/x", error=OSError(errno.ENETUNREACH, "No network")
            ),
            "a.example cannot be reached (No network); ",
        ),
        (
            aws.EndpointConnectionError(
                endpoint_url="https://a.example:444/x", error=socket.gaierror(-2, "Not known")
            ),
            "a.example:444: this name cannot be resolved (Not known); ",
        ),
        (aws.ConnectTimeoutError(endpoint_url="https://a/"), "a cannot be reached in time; "),
        (aws.ReadTimeoutError(endpoint_url="http://a:80/"), "a has not answered in time; "),
        (
            aws.ConnectionClosedError(endpoint_url="https://user:secret@a:443/"),
            "a has closed the connection without an answer; ",
        ),
        (
            aws.HTTPClientError(error=ValueError("secret")),
            "the endpoint: the connection has failed (ValueError); ",
        ),
    ],
)
def test_what_fails_on_the_way_is_named_in_a_line(error: Any, told: str) -> None:
    assert explain(error) == f"{told}check the network, --region and --endpoint-url"
    assert network.told(error, "x") == f"{told}x"
    with pytest.raises(AwsError) as failed, translated("queue"):
        raise error
    assert str(failed.value).startswith(f"queue: {told}")
    assert is_passing(failed.value)


def test_requests_to_the_api_say_who_sends_them_as_the_clients_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "payments-team")
    with serving(body=HEALTHY) as server:
        api(f"{server.url}/").call("GET", "health")
    with serving(body=IDENTITY, content="text/xml") as sts:
        ask(sts.url)
    for requests in (server, sts):
        (headers,) = requests.headers
        assert headers["User-Agent"].startswith("Boto")
        assert "app/payments-team" in headers["User-Agent"].split()


def test_a_proxy_that_wants_a_password_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """For http, a proxy answers the request itself (RFC 9110)."""
    with serving(status=407, body=b"<html>no</html>", content="text/html") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        told = "a proxy lets nothing through without credentials that it takes; check HTTP_PROXY"
        assert refusal("http://aws.example").startswith(told)
