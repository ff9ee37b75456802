"""How a payment gateway's class reaches the gateway from this machine: by its user's network."""

from __future__ import annotations

import os
from collections.abc import Mapping

# As urllib.request reads them (`getproxies_environment`), which botocore and others ask.
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# OpenSSL's ("SSL_CTX_load_verify_locations"), for every program that trusts what the system does.
TRUSTED = ("SSL_CERT_FILE", "SSL_CERT_DIR")
# Where no proxy leads: the embedded AWS, and what stands in for a gateway.
HERE = "127.0.0.1,localhost,::1"


def network_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a program needs to reach others as this machine's user does.

    Proxies have both spellings, since who reads them knows one or the other; the user's own
    lower-case one comes first, as in urllib. Where AWS_CA_BUNDLE alone names whom the user trusts
    ("AWS CLI environment variables"), a gateway is reached by the same: such a network opens all
    that leaves it.

    Args:
        environ: the environment of whoever runs this; a relative path is as seen from here.
    """
    found = {name: os.path.abspath(environ[name]) for name in TRUSTED if environ.get(name)}
    if "SSL_CERT_FILE" not in found and (bundle := environ.get("AWS_CA_BUNDLE")):
        found["SSL_CERT_FILE"] = os.path.abspath(bundle)
    proxies = {name: value for name in PROXIES if (value := _either(environ, name))}
    if proxies:
        others = _either(environ, "no_proxy")
        proxies["no_proxy"] = others if others == "*" else ",".join(filter(None, (others, HERE)))
    return found | proxies | {name.upper(): value for name, value in proxies.items()}


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""
