"""HTTP to Stripe, by the urllib3 that botocore brings: one request, one answer, within a time.

Certificates are verified, redirects are not followed, and nothing is sent twice.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    NewConnectionError,
    ProxyError,
    SSLError,
    TimeoutError,
)

# A lost first packet is sent again after a second (RFC 6298, 2.1).
CONNECT_SECONDS = 2.0
# A page of a list, the longest answer there is, has some hundred kilobytes.
MAX_BODY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class HttpRequest:
    """A request; nothing of it may get into a log."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class HttpAnswer:
    """An answer; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class NotSent(Exception):
    """Stripe got nothing of the request. code is a short one for the log, and stays is whether the
    next one will not get there either."""

    def __init__(self, code: str, *, stays: bool = False) -> None:
        super().__init__(code)
        self.code, self.stays = code, stays


class NotAnswered(Exception):
    """Whether Stripe got the request is unknown. code is a short one for the log."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


Send = Callable[[HttpRequest, float], HttpAnswer]


def send(request: HttpRequest, seconds: float) -> HttpAnswer:
    """Send a request, and return its answer, within so many seconds.

    A name that does not resolve, or an answer that trickles, has no time-out of urllib3's, so this
    waits for a thread, and leaves it to its own end. Raises NotSent or NotAnswered.
    """
    if seconds <= 0:
        raise NotSent("no_time_left")
    came: list[HttpAnswer | NotSent | NotAnswered] = []
    thread = Thread(target=lambda: came.append(_exchange(request, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    if not came:
        raise NotAnswered("timeout")
    [outcome] = came
    if isinstance(outcome, HttpAnswer):
        return outcome
    raise outcome


def _exchange(request: HttpRequest, seconds: float) -> HttpAnswer | NotSent | NotAnswered:
    try:
        answer = _pool(request.url).request(
            request.method,
            request.url,
            body=request.body,
            headers=dict(request.headers),
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), read=seconds),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        body = answer.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            answer.close()
            return NotAnswered("too_long")
    except (NewConnectionError, ConnectTimeoutError, ProxyError) as error:
        return NotSent(type(error).__name__)
    except SSLError as error:
        refused = any(isinstance(each, ssl.SSLCertVerificationError) for each in _causes(error))
        return NotSent("certificate", stays=True) if refused else NotAnswered("SSLError")
    except TimeoutError:
        return NotAnswered("timeout")
    except Exception as error:  # noqa: BLE001 - a thread would print it, and what is in its text
        return NotAnswered(type(error).__name__)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return HttpAnswer(answer.status, headers, body)


def _causes(error: BaseException) -> list[object]:
    """Return an error, and what it comes from."""
    return [error, error.__cause__, error.__context__, *error.args]


def _pool(url: str) -> Any:
    """Return the connections to a host, those of this process for as long as it lives."""
    parts = urlsplit(url)
    proxy = None
    if parts.scheme == "https" and not proxy_bypass(parts.netloc):
        proxy = getproxies().get("https")
    return _connections(proxy)


@cache
def _connections(proxy: str | None) -> Any:
    # With the certificates of the system, which SSL_CERT_FILE may name (Python, "ssl").
    verifying: dict[str, Any] = {"ssl_context": ssl.create_default_context(), "maxsize": 2}
    if proxy is not None:
        # A name and a password in its address are for a proxy that asks for them (RFC 7617).
        auth = urllib3.util.parse_url(proxy).auth
        headers = urllib3.make_headers(proxy_basic_auth=unquote(auth)) if auth else None
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **verifying)
    return urllib3.PoolManager(**verifying)
