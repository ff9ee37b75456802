"""The OpenAPI document of the HTTP contract, which is kept beside the handlers."""

import json
from typing import Any
from urllib.parse import urlsplit

from payment_infra.artifacts import HANDLERS
from payment_infra.errors import PaymentInfraError, UsageError

DOCUMENT = HANDLERS / "openapi.json"


def read_document(server: str | None = None) -> dict[str, Any]:
    """Return the document.

    Args:
        server: the API's address, such as the stack's output APIEndpoint; without it, the document
            names a template of one.

    Raises:
        UsageError: the server is not an address that a client can call.
        PaymentInfraError: the document cannot be read.
    """
    try:
        document: dict[str, Any] = json.loads(DOCUMENT.read_bytes())
    except OSError as error:
        raise PaymentInfraError(
            f"{DOCUMENT}: cannot be read ({error.strerror}); install payment-infra anew"
        ) from error
    if server is not None:
        document["servers"] = [{"url": _server_url(server)}]
    return document


def _server_url(text: str) -> str:
    """Return the URL without the slash at its end, since paths begin with one."""
    try:
        url = urlsplit(text)
        callable_ = url.scheme in {"http", "https"} and bool(url.hostname)
    except ValueError:
        callable_ = False
    if not callable_ or url.query or url.fragment or any(map(str.isspace, text)):
        raise UsageError(
            f"--server {text!r} is not the address of an API, such as https://api.example.com/prod"
        )
    return text.rstrip("/")
