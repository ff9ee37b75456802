"""Requests over real connections, on this machine: what is known of each when it fails."""

from __future__ import annotations

import base64
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from handlers.shared import stripe_http
from handlers.shared.stripe_http import HttpRequest, NotAnswered, NotSent, send
from tests.servers import AUTHORITY, serving

# Far longer than an answer takes here, and, where none comes, than anybody wants to wait.
LONG, SHORT = 30.0, 0.2
Peer = Callable[[socket.socket, threading.Event], object]


@pytest.fixture
def offline() -> None:
    """This module connects, to this machine."""


@pytest.fixture(autouse=True)
def _own_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use no proxy of this machine, and no connection of another test."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    stripe_http._connections.cache_clear()
    yield
    stripe_http._connections.cache_clear()


BODY = "amount=1&currency=usd"


def post(url: str) -> HttpRequest:
    return HttpRequest("POST", url, {"Authorization": "Bearer canary"}, BODY)


def received(connection: socket.socket) -> bytes:
    """Return the whole of a request, which may come in parts."""
    came = b""
    while not came.endswith(BODY.encode()):
        part = connection.recv(65_536)
        if not part:
            raise ConnectionError
        came += part
    return came


@contextmanager
def peer(*behaviours: Peer) -> Iterator[tuple[str, list[bytes]]]:
    """Accept connections, one after the other, each for one behaviour, which is told when the test
    is done; yield URL and what came."""
    came: list[bytes] = []
    done = threading.Event()

    def accept() -> None:
        for behave in behaviours:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    came.append(received(connection))
                    behave(connection, done)
        done.wait(LONG)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", came
        done.set()
    thread.join(LONG)


def says(text: bytes) -> Peer:
    return lambda connection, _: connection.sendall(text)


ANSWER = b"HTTP/1.1 402 Payment Required\r\nRequest-Id: req_1\r\nContent-Length: 2\r\n\r\n{}"


def test_a_request_gets_its_answer_whatever_its_status() -> None:
    with peer(says(ANSWER)) as (url, came):
        answer = send(post(url), LONG)
    assert (answer.status, answer.headers["request-id"], answer.body) == (402, "req_1", b"{}")
    assert came[0].startswith(b"POST /v1 HTTP/1.1\r\n")
    assert b"Authorization: Bearer canary\r\n" in came[0]


def test_a_connection_is_used_again_and_a_redirect_is_not_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"

    def twice(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(moved)
        second.append(received(connection))
        connection.sendall(ANSWER)

    second: list[bytes] = []
    with peer(twice) as (url, came):
        assert send(post(url), LONG).status == 302
        assert send(post(url), LONG).status == 402
    assert (len(came), len(second)) == (1, 1)


def test_a_connection_that_stripe_has_closed_meanwhile_is_not_used_again() -> None:
    closed = threading.Event()

    def close(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(ANSWER)
        connection.close()
        closed.set()

    with peer(close, says(ANSWER)) as (url, came):
        assert send(post(url), LONG).status == 402
        assert closed.wait(LONG)
        assert send(post(url), LONG).status == 402
    assert len(came) == 2


@pytest.mark.parametrize(
    "behave",
    [
        says(b""),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        says(b"nothing of HTTP\r\n\r\n"),
    ],
)
def test_what_ends_without_an_answer_may_have_been_done_and_is_not_sent_again(
    behave: Peer,
) -> None:
    with peer(behave) as (url, came):
        with pytest.raises(NotAnswered):
            send(post(url), LONG)
        assert len(came) == 1


def _never(_: socket.socket, done: threading.Event) -> None:
    done.wait(LONG)


# So many take ten times as long as they are waited for.
PIECES = 100


def _trickles(start: bytes, end: bytes = b"") -> Peer:
    """Send an answer piece by piece, so that no single read takes long, and all of it does."""

    def trickle(connection: socket.socket, done: threading.Event) -> None:
        connection.sendall(start)
        for _ in range(PIECES):
            done.wait(SHORT / 10)
            connection.sendall(b"a")
        connection.sendall(end)

    return trickle


@pytest.mark.parametrize(
    "behave",
    [
        _never,
        _trickles(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PIECES),
        _trickles(b"HTTP/1.1 200 OK\r\nLong: ", b"\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_an_answer_that_does_not_end_is_not_waited_for(behave: Peer) -> None:
    with peer(behave) as (url, _):
        with pytest.raises(NotAnswered) as lost:
            send(post(url), SHORT)
        assert lost.value.code == "timeout"


def _zipped(length: int) -> bytes:
    content = gzip.compress(b" " * length)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _plain(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b" " * length


@pytest.mark.parametrize("made", [_zipped, _plain])
def test_an_answer_that_is_far_too_long_is_not_read_to_its_end(
    made: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_http, "MAX_BODY_BYTES", 1000)
    with peer(says(made(1000)), says(made(1001))) as (url, _):
        assert send(post(url), LONG).body == b" " * 1000
        stripe_http._connections.cache_clear()
        with pytest.raises(NotAnswered) as lost:
            send(post(url), LONG)
    assert lost.value.code == "too_long"


def test_what_there_is_no_time_for_is_not_sent() -> None:
    with peer(says(ANSWER)) as (url, came):
        for seconds in (0.0, -1.0):
            with pytest.raises(NotSent):
                send(post(url), seconds)
        assert came == []
        assert send(post(url), LONG).status == 402


def test_a_name_that_does_not_resolve_in_time_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(10 * SHORT) and [])
    with pytest.raises(NotAnswered) as lost:
        send(post("http://stripe.invalid/v1"), SHORT)
    assert lost.value.code == "timeout"
    asked.set()


def test_a_port_where_nobody_listens_gets_nothing() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSent) as failure:
        send(post(f"http://127.0.0.1:{port}/v1"), LONG)
    assert (failure.value.code, failure.value.stays) == ("NewConnectionError", False)


def test_a_name_that_there_is_not_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "canary")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotSent) as failure:
        send(post("http://stripe.invalid/v1"), LONG)
    assert "canary" not in str(failure.value)


def test_a_certificate_that_nobody_vouches_for_gets_nothing() -> None:
    with serving(tls=True) as server:
        with pytest.raises(NotSent) as failure:
            send(post(f"{server.url}/v1"), LONG)
        assert (failure.value.code, failure.value.stays) == ("certificate", True)
        assert server.lines == []


def test_the_certificates_of_the_machine_are_those_that_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    with serving(tls=True, body=b"{}") as server:
        assert send(post(f"{server.url}/v1"), LONG).body == b"{}"
        assert server.lines == ["POST /v1"]


def test_a_proxy_of_the_machine_leads_to_stripe_and_not_to_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(status=407) as proxy, serving(body=b"{}") as local:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(NotSent):
            send(post("https://stripe.invalid/v1"), LONG)
        assert proxy.lines == ["CONNECT stripe.invalid:443"]
        assert "canary" not in str(proxy.headers)
        assert send(post(local.url), LONG).body == b"{}"
        monkeypatch.setenv("NO_PROXY", "stripe.invalid")
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        with pytest.raises(NotSent):
            send(post("https://stripe.invalid/v1"), LONG)
        assert len(proxy.lines) == 1


def test_a_proxy_that_asks_for_a_password_gets_that_of_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(status=407) as proxy:
        address = proxy.url.replace("http://", "http://name:pass%40word@")
        monkeypatch.setenv("HTTPS_PROXY", address)
        with pytest.raises(NotSent) as failure:
            send(post("https://stripe.invalid/v1"), LONG)
        told = base64.b64encode(b"name:pass@word").decode()
        assert proxy.headers[0]["proxy-authorization"] == f"Basic {told}"
        assert "pass" not in str(failure.value)
