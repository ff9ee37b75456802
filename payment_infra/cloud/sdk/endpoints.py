"""Where the services are: at AWS's own hosts, or at what stands for AWS; never some at each."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

# The SDK's names of all services that are called.
SERVICES = (
    *("apigateway", "backup", "cloudformation", "cloudwatch", "dynamodb", "events", "iam", "kms"),
    *("lambda", "logs", "s3", "secretsmanager", "sns", "sqs", "sts"),
)
# AWS SDKs and Tools, "Service-specific endpoints".
VARIABLE = "AWS_ENDPOINT_URL"
# The account of emulators, which no customer of AWS has.
EMULATED_ACCOUNT = "000000000000"


@dataclass(frozen=True)
class Endpoint:
    """Where a service is.

    url is None for AWS's own hosts, and source says what named it, "" if that is not known.
    """

    service: str
    url: str | None
    source: str = ""

    @property
    def host(self) -> str:
        """The host without its port, one name for this machine's own, "" for AWS's."""
        return "this machine" if is_loopback(self.url) else urlsplit(self.url or "").hostname or ""

    @property
    def place(self) -> str:
        """Where that is, for people."""
        return f"{self.url or 'AWS'} ({self.source})" if self.source else self.url or "AWS"


def is_loopback(url: str | None) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def are_named(profile: object) -> bool:
    """Whether the environment, or the profile's keys, can name endpoints for single services."""
    keys = profile if isinstance(profile, dict) else {}
    return "services" in keys or any(name.startswith(f"{VARIABLE}_") for name in os.environ)


def variable(service_id: str) -> str:
    """Return the variable that names a service's endpoint alone, by the service's id."""
    return f"{VARIABLE}_{service_id.replace(' ', '_').replace('-', '_').upper()}"


def source(service_id: str, url: str | None) -> str:
    """Return what names a service's endpoint, "" if nothing does: the first that does counts.

    Args:
        service_id: the service's id, as `API Gateway`.
        url: what stands for AWS there, None if nothing does.
    """
    for name in (variable(service_id), VARIABLE):
        if os.environ.get(name):
            return name
    return "endpoint_url of the AWS profile" if url else ""


def apart(found: Iterable[Endpoint]) -> str:
    """Say which services are in another place than CloudFormation; "" if none is.

    It has the resources that the others are asked about, and AWS itself is one place.
    """
    by_service = {endpoint.service: endpoint for endpoint in found}
    own = by_service["cloudformation"]
    others: dict[str, list[str]] = {}
    for service, endpoint in by_service.items():
        if endpoint.host != own.host:
            others.setdefault(endpoint.place, []).append(service)
    if not others:
        return ""
    told = " and ".join(f"{', '.join(names)} at {place}" for place, names in others.items())
    return (
        f"the endpoints are of more than one AWS: cloudformation is at {own.place}, {told}; name "
        f"one for all services ({VARIABLE}, --endpoint-url), or none "
        "(AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true)"
    )
