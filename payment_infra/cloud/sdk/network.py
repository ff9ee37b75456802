"""The way to AWS and to what runs there: requests beside the SDK's own, and what fails on the way.

Both go by what the user has set for the SDK: trusted certificates, proxies and time-outs. What
fails is named in one line, which never shows what a proxy asks for.
"""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore import exceptions as aws
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from payment_infra.errors import UsageError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest, AWSResponse
    from botocore.exceptions import BotoCoreError

# What botocore raises if nothing of an answer has come, or not all of it.
FAILURES = (aws.ConnectionError, aws.HTTPClientError)
CHECK = "check the network, --region and --endpoint-url"
TRUST = "set AWS_CA_BUNDLE, or the profile's ca_bundle, to a file with the CA that has signed it"
PROXIES = "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY"
# What http.client says of a proxy that has refused to CONNECT, with the proxy's answer; and of one
# that will refuse it again.
TUNNEL = re.compile(r"Tunnel connection failed: (\d+[\w -]*)")
WAY_REFUSED = re.compile(r"Tunnel connection failed: 4")
# The port that an address of the scheme has if it names none (RFC 9110, "HTTP-Related Schemes").
PORTS = {"http": 80, "https": 443}


class Http:
    """Sends requests as the SDK's clients do."""

    def __init__(self, session: URLLib3Session | None = None, user_agent: str = "") -> None:
        """Send nothing yet.

        Args:
            session: sends; None: one that goes directly, by the SDK's defaults.
            user_agent: the header that says who sends; "" for none.
        """
        self._session = session or URLLib3Session()
        self._headers = {"User-Agent": user_agent} if user_agent else {}

    def send(self, request: AWSRequest) -> AWSResponse:
        """Send a request and return what came back.

        Raises:
            BotoCoreError: one of FAILURES.
        """
        for name, value in self._headers.items():
            request.headers[name] = value
        answer: AWSResponse = self._session.send(request.prepare())
        return answer


def http(url: str, verify: Any, config: Any) -> Http:
    """Return what sends requests to an address.

    Args:
        url: the address, which decides whether there is a proxy.
        verify: the file of the CAs that are trusted; True: the SDK's own.
        config: that of a client: its time-outs, its proxies, and who it says it is.

    Raises:
        UsageError: the proxy's address cannot be used.
    """
    timeout: Any = config.connect_timeout, config.read_timeout
    session = URLLib3Session(
        verify=verify,
        proxies=proxies(url) if config.proxies is None else config.proxies,
        timeout=timeout,
        client_cert=config.client_cert,
        proxies_config=config.proxies_config,
    )
    app = config.user_agent_appid
    return Http(session, f"{config.user_agent} app/{app}" if app else config.user_agent)


def proxies(url: str) -> Mapping[str, str]:
    """Return the proxies for an address, scheme to URL, as the environment names them.

    Raises:
        UsageError: that of the address cannot be used; the error does not show it.
    """
    found: Mapping[str, str] = get_environ_proxies(url)
    scheme = urlsplit(url).scheme
    if (proxy := found.get(scheme)) and not _is_usable(proxy):
        raise UsageError(
            f"{scheme.upper()}_PROXY: no address of a proxy; it has the form "
            "http://USER:PASSWORD@HOST:PORT, with special characters as %40 for @"
        )
    return found


def _is_usable(proxy: str) -> bool:
    try:
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        named = address.scheme in PORTS and address.hostname and address.port != 0
    except ValueError:
        return False
    return bool(named) and proxy.isascii()


def told(error: BotoCoreError, check: str = CHECK) -> str:
    """Say what failed on the way, and what to do next.

    Args:
        error: one of FAILURES.
        check: what may be wrong, if nothing better is known.
    """
    where = host(str(error.kwargs.get("endpoint_url") or "the endpoint"))
    reason = error.kwargs.get("error")
    proxy = f"the proxy {host(str(error.kwargs.get('proxy_url', '')))}".rstrip()
    chain = list(_causes(reason))
    for cause in chain:
        if found := TUNNEL.search(str(cause)):
            return f"{proxy} lets nothing through ({found[1]}); {PROXIES}"
    match error:
        case aws.SSLError():
            return _untrusted(where, chain, check)
        case aws.ProxyConnectionError():
            return f"{_unreached(proxy, chain)}; {PROXIES}"
        case aws.ReadTimeoutError():
            return f"{where} has not answered in time; {check}"
        case aws.ConnectTimeoutError():
            return f"{where} cannot be reached in time; {check}"
        case aws.ConnectionClosedError():
            return f"{where} has closed the connection without an answer; {check}"
        case aws.EndpointConnectionError():
            return f"{_unreached(where, chain)}; {check}"
        case _:
            kind = type(reason or error).__name__
            return f"{where}: the connection has failed ({kind}); {check}"


def is_passing(error: BotoCoreError) -> bool:
    """Whether what failed on the way may go well a little later."""
    chain = list(_causes(error.kwargs.get("error")))
    if isinstance(error, aws.SSLError):
        return not _is_untrusted(chain)
    return not any(WAY_REFUSED.search(str(cause)) for cause in chain)


def host(url: str) -> str:
    """Return the host of an address, with its port if that is special, and nothing else of it."""
    scheme, _, rest = url.rpartition("://")
    named = rest.rpartition("@")[2].partition("/")[0]
    return named.removesuffix(f":{PORTS.get(scheme)}")


def _unreached(where: str, chain: list[BaseException]) -> str:
    for cause in chain:
        if isinstance(cause, OSError):
            if type(cause).__name__ == "gaierror":
                return f"{where}: this name cannot be resolved ({cause.strerror})"
            if cause.errno == errno.ECONNREFUSED:
                return f"{where} refuses the connection"
            return f"{where} cannot be reached ({cause.strerror or cause})"
    return f"{where} cannot be reached"


def _untrusted(where: str, chain: list[BaseException], check: str) -> str:
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {where} is not trusted ({cause.verify_message}); {TRUST}"
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or str(cause)).replace("_", " ").lower()
            return f"{where} cannot be spoken to by TLS ({reason}); {check}"
        if _is_other_name(cause):
            return f"the certificate of {where} is for another name ({cause}); {check}"
    return f"{where} cannot be spoken to by TLS; {check}"


def _is_untrusted(chain: list[BaseException]) -> bool:
    return any(
        isinstance(cause, ssl.SSLCertVerificationError) or _is_other_name(cause) for cause in chain
    )


def _is_other_name(error: BaseException) -> bool:
    return "doesn't match" in str(error)  # urllib3, CertificateError


def _causes(error: object) -> Iterator[BaseException]:
    """Yield an error of urllib3's, and what it came from, the outermost first."""
    seen = set[int]()
    left: list[object] = [error]
    while left:
        cause = left.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        held = [argument for argument in cause.args if isinstance(argument, BaseException)]
        left += [*held, cause.__cause__, cause.__context__]
