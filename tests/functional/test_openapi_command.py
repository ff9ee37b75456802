"""`payment-infra openapi`: the document as it is kept, or with a server of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.functional.conftest import REPOSITORY, Cli, refused

KEPT = json.loads((REPOSITORY / "handlers" / "openapi.json").read_text())


def test_openapi_prints_the_document_and_nothing_else(cli: Cli) -> None:
    result = cli("openapi")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == KEPT
    [server] = KEPT["servers"]
    url = server["url"].format(api="a1", region="cn-north-1", domain="amazonaws.com.cn")
    assert url == "https://a1.execute-api.cn-north-1.amazonaws.com.cn/prod"
    assert not cli.connected


def test_openapi_writes_a_file(cli: Cli, clean: Path) -> None:
    result = cli("openapi", "-o", "openapi.json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (clean / "openapi.json").read_text() == cli("openapi", "-o", "-").stdout


@pytest.mark.parametrize("url", ["https://api.example.com/prod", "https://api.example.com/prod/"])
def test_a_server_takes_the_place_of_the_template(cli: Cli, url: str) -> None:
    document = json.loads(cli("openapi", "--server", url).stdout)
    assert document == KEPT | {"servers": [{"url": "https://api.example.com/prod"}]}


@pytest.mark.parametrize(
    "url",
    [
        *("", "api.example.com", "/prod", "ftp://api.example.com", "https://", "http://["),
        *("https://a/?b=c", "https://a/#b", "https://a/b c"),
    ],
)
def test_a_server_that_is_no_address_is_refused(cli: Cli, url: str) -> None:
    assert "--server" in refused(cli("openapi", "--server", url), 2)
