"""A gateway's class reaches the gateway by the network of whoever runs it, and nothing else."""

from __future__ import annotations

import os
import urllib.request

import pytest

from payment_infra.gateway_network import network_variables

PROXY = "http://proxy.example:8080"
HERE = "127.0.0.1,localhost,::1"


def test_where_the_user_says_nothing_there_is_nothing() -> None:
    assert network_variables({"PATH": "/bin", "AWS_PROFILE": "prod", "STRIPE_KEY": "sk"}) == {}


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_a_proxy_is_known_by_both_spellings_and_leads_nowhere_on_this_machine(name: str) -> None:
    assert network_variables({name: PROXY}) == {
        "https_proxy": PROXY,
        "HTTPS_PROXY": PROXY,
        "no_proxy": HERE,
        "NO_PROXY": HERE,
    }


def test_of_two_spellings_the_lower_case_one_is_meant() -> None:
    found = network_variables({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"})
    assert found["HTTPS_PROXY"] == PROXY


def test_what_the_user_excludes_is_excluded_too() -> None:
    assert network_variables({"ALL_PROXY": PROXY, "NO_PROXY": "a.example"})["no_proxy"] == (
        f"a.example,{HERE}"
    )
    assert network_variables({"ALL_PROXY": PROXY, "NO_PROXY": "*"})["no_proxy"] == "*"


def test_the_embedded_aws_is_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in network_variables({"HTTP_PROXY": PROXY}).items():
        monkeypatch.setenv(name, value)
    assert urllib.request.getproxies()["http"] == PROXY
    assert urllib.request.proxy_bypass("127.0.0.1:4566")
    assert not urllib.request.proxy_bypass("api.stripe.com")


def test_who_is_trusted_is_named_with_the_whole_path() -> None:
    assert network_variables({"SSL_CERT_FILE": "/ca.pem", "AWS_CA_BUNDLE": "/other.pem"}) == {
        "SSL_CERT_FILE": "/ca.pem"
    }
    assert network_variables({"AWS_CA_BUNDLE": "ca.pem"}) == {
        "SSL_CERT_FILE": os.path.join(os.getcwd(), "ca.pem")
    }
