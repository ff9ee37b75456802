"""A client that was made before a snapshot works after it: its connections are dead by then, and
its credentials have expired."""

from __future__ import annotations

import json
import socket
import struct
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.session
import pytest

from handlers.shared.aws.clients import time_budget
from handlers.shared.aws.table import Table

# What becomes of a connection that has been used once: the other side has closed it, answers with a
# reset, or has forgotten it without a word.
CLOSED, RESET, SILENT = "closed", "reset", "silent"


class Service:
    """Answers the first request of each connection; keys are what requests were signed with."""

    def __init__(self, then: str) -> None:
        self.then = then
        self.keys: list[str] = []
        self.connections = 0
        self.expiring: list[str] = []
        self._over = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            answered = 0

            def setup(self) -> None:
                super().setup()
                service.connections += 1

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.answer(service.credentials())

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if self.answered:
                    service.end(self.connection)
                    self.close_connection = True
                    return
                self.answered = 1
                credential = self.headers["Authorization"].partition("Credential=")[2]
                service.keys.append(credential.partition("/")[0])
                self.answer({})
                if service.then == CLOSED:
                    self.close_connection = True

            def answer(self, document: Any) -> None:
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Service:
        threading.Thread(target=self._server.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def end(self, connection: socket.socket) -> None:
        """Let a connection end without an answer."""
        if self.then == RESET:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            self._over.wait()

    def credentials(self) -> Any:
        """Return credentials that have to be renewed before the next call."""
        key = f"KEY{len(self.expiring)}"
        self.expiring.append(key)
        expires = datetime.now(UTC) + timedelta(minutes=1)
        return {
            "AccessKeyId": key,
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": expires.isoformat(timespec="seconds"),
        }


@pytest.fixture(autouse=True)
def as_in_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def client_of(service: Service, monkeypatch: pytest.MonkeyPatch) -> Any:
    # SnapStart gives a function its credentials this way, so that they can be renewed (Lambda,
    # "Improving startup performance with Lambda SnapStart", Compatibility).
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/credentials")
    return botocore.session.Session().create_client(
        "dynamodb", config=time_budget(read_timeout_seconds=0.3), endpoint_url=service.url
    )


@pytest.mark.parametrize("then", [CLOSED, RESET, SILENT])
def test_a_call_on_a_connection_that_died_meanwhile_is_made_on_another(
    then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Service(then) as service:
        table = Table(client_of(service, monkeypatch), "transactions-dev")
        assert table.put({"transaction_id": "before"}).done
        assert table.put({"transaction_id": "after"}).done
        assert len(service.keys) == 2


def test_credentials_from_before_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Service(CLOSED) as service:
        table = Table(client_of(service, monkeypatch), "transactions-dev")
        assert table.put({"transaction_id": "before"}).done
        assert table.put({"transaction_id": "after"}).done
        first, second = service.keys
        assert first != second
