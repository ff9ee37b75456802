"""localstripe itself: a process of its own, from an environment of its own, on 127.0.0.1."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = REPOSITORY / ".venv-localstripe"
CALL_SECONDS = 30

# It ends when what started it does, since its stdin does then.
_PROGRAM = """
import os, socket, sys, threading
from aiohttp import web
from localstripe import server

def end():
    sys.stdin.buffer.read()
    os._exit(0)

threading.Thread(target=end, daemon=True).start()
server.store.dump_to_disk = lambda: None
listener = socket.socket(fileno=int(sys.argv[1]))
web.run_app(server.app, sock=listener, access_log=None, print=None)
"""


class Localstripe:
    """Asks a localstripe that is running."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=CALL_SECONDS)

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return the status of an answer, and what it says."""
        answer = self._pool.request(
            method,
            f"{self._url}{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Bearer sk_test_12345", "Content-Type": "application/json"},
        )
        told = json.loads(answer.data) if answer.data else {}
        assert isinstance(told, dict), told
        return answer.status, told

    def made(self, path: str, **body: object) -> dict[str, Any]:
        """Return what localstripe has made, which it cannot refuse to."""
        status, told = self.call("POST", path, body)
        assert status == 200, (path, status, told)
        return told

    def forget(self) -> None:
        """Let it forget all it has."""
        status, _ = self.call("DELETE", "/_config/data")
        assert status == 200, status

    def close(self) -> None:
        self._pool.clear()


def install() -> None:
    """Have the Makefile install localstripe, unless it is there."""
    subprocess.run(
        ["make", "--silent", f"{ENVIRONMENT.name}/installed"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        check=True,
    )


@contextmanager
def localstripe() -> Iterator[Localstripe]:
    """Run localstripe until the end of the block."""
    install()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # Whoever calls before it has started waits for it: the socket is open already.
        process = subprocess.Popen(
            [ENVIRONMENT / "bin" / "python", "-I", "-c", _PROGRAM, str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
    client = Localstripe(f"http://127.0.0.1:{port}")
    with process:
        try:
            yield client
        finally:
            client.close()
            process.kill()
