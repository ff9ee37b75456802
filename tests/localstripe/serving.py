"""The HTTP of the stand-in: connections, the page for customers, and what others control.

A page and a few POSTs with JSON are for whoever has no object in the same process:

    GET  /_control/authenticate/ID            the page where a customer authenticates, or does not
    POST /_control/bank/ID                    the bank decides
    POST /_control/faults                     {"call": "confirm", "fault": "500-done", "times": 1}
    POST /_control/arrive, /_control/rotate   what is late arrives; the API key is changed
    POST /_control/notify                     {"url": ...}: where notifications are sent
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.localstripe.answers import Answer, Refused

if TYPE_CHECKING:
    from tests.localstripe.standin import Stripe

CONTROL = "/_control"
PAGE = f"{CONTROL}/authenticate"
PAGE_TEXT = """<!doctype html>
<title>Stand-in of Stripe</title>
<p>The bank of the customer wants to know who pays.</p>
<p><a href="{id}/complete">Complete</a> or <a href="{id}/fail">fail</a> the authentication.</p>
"""


class Dropped(Exception):
    """The connection ends without an answer."""


@dataclass(frozen=True)
class Connection:
    """A call of the API; parameters are the query's or the form's, headers in lower case."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: a second one waits for the first to be acknowledged.
    wbufsize = -1

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        if url.path.startswith(CONTROL):
            self._control(url.path.removeprefix(CONTROL), body)
            return
        text = url.query if self.command == "GET" else body.decode()
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
        # The members of a list have the same name: each gets its place.
        parameters = {
            name.replace("[]", f"[{place}]"): value for place, (name, value) in enumerate(pairs)
        }
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.server.account.answer(
                Connection(self.command, url.path, parameters, headers)
            )
        except Dropped:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        is_json = not isinstance(answer.body, bytes)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        told = {"Content-Type": "application/json" if is_json else "text/html", **answer.headers}
        self.send_response(answer.status)
        for name, value in (*told.items(), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _control(self, path: str, body: bytes) -> None:
        try:
            self._answer(_controlled(self.server.account, self.command, path, body))
        except Refused as refused:
            self._answer(refused.answer)
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            self._answer(Answer(400, {"error": f"{type(error).__name__}: {error}"}))

    do_GET = do_POST = _serve

    def log_message(self, *_: Any) -> None: ...


def _controlled(account: Stripe, method: str, path: str, body: bytes) -> Answer:
    match method, path.strip("/").split("/"):
        case "GET", ["authenticate", payment_id]:
            account.intents.fetch(payment_id, {})
            return Answer(200, PAGE_TEXT.format(id=payment_id).encode())
        case "GET", ["authenticate", payment_id, ("complete" | "fail") as what]:
            back = account.authenticate(payment_id, succeeds=what == "complete")
            return Answer(303, b"", {"Location": back or "/"})
        case "POST", ["bank", payment_id]:
            account.decide(payment_id)
        case "POST", ["faults"]:
            account.fail(**json.loads(body))
        case "POST", ["notify"]:
            account.notify(**json.loads(body))
        case "POST", ["arrive"]:
            account.arrive()
        case "POST", ["rotate"]:
            account.rotate()
            return Answer(200, json.loads(account.secret()))
        case _:
            return Answer(404, {"error": f"There is no {method} {CONTROL}{path}."})
    return Answer(200, {})


class _Server(ThreadingHTTPServer):
    # Its threads are waited for when it is closed: until then a connection may be kept open.
    daemon_threads = False

    def __init__(self, account: Stripe, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.account = account
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: Any) -> None: ...  # a client that did not wait for its answer

    def server_close(self) -> None:
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        super().server_close()


@contextmanager
def serving(account: Stripe, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 until the end of the block; yields the URL."""
    server = _Server(account, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        account.release()
        server.shutdown()
        thread.join()
        server.server_close()
