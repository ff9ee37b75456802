"""Servers on this machine that stand for AWS, for an API behind a private CA, and for a proxy."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CERTIFICATES = Path(__file__).parent / "certificates"
# The CA that has signed what the server shows; neither opens anything.
AUTHORITY = CERTIFICATES / "authority.pem"
SERVER = CERTIFICATES / "server.pem"


@dataclass
class Requests:
    """Where a server is, and what has come there: method and target, and the headers of each."""

    url: str
    lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving(
    *, tls: bool = False, status: int = 200, body: bytes = b"", content: str = "application/json"
) -> Iterator[Requests]:
    """Answer everything that comes with this, CONNECT as well, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            requests.lines.append(f"{self.command} {self.path}")
            requests.headers.append(dict(self.headers.items()))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_CONNECT = _answer

        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None: ...  # a client that does not trust it

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(SERVER)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    requests = Requests(f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
