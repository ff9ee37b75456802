"""The embedded AWS answers programs, and no web page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from payment_infra.local.serving import closed_to_pages

if TYPE_CHECKING:
    from payment_infra.local.serving import Message, Receive, Send


def answered(scope: dict[str, Any]) -> list[Message]:
    """Return what is sent to who asks."""
    sent: list[Message] = []

    async def app(_scope: Message, _receive: Receive, send: Send) -> None:
        await send({"type": "answer"})

    async def receive() -> Message:
        raise AssertionError("nothing is read of what is refused")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(closed_to_pages(app)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    "headers",
    [
        [(b"origin", b"https://page.example")],
        [(b"origin", b"null")],
        [(b"origin", b"http://127.0.0.1:4566")],
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
    ],
)
def test_what_a_web_page_asks_is_refused_and_not_for_it_to_read(
    headers: list[tuple[bytes, bytes]],
) -> None:
    start, body = answered({"type": "http", "headers": headers})
    assert start["status"] == 403
    assert [name for name, _ in start["headers"]] == [b"content-type"]
    assert body["body"] == b'{"message": "The embedded AWS answers no web page"}'
    closed = {"type": "websocket.close", "code": 1008}
    assert answered({"type": "websocket", "headers": headers}) == [closed]


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "lifespan"},
        {"type": "http", "headers": []},
        {"type": "http", "headers": [(b"sec-fetch-site", b"none")]},
        {"type": "http", "headers": [(b"x-amz-target", b"secretsmanager.GetSecretValue")]},
    ],
)
def test_a_program_and_a_person_are_answered(scope: dict[str, Any]) -> None:
    assert answered(scope) == [{"type": "answer"}]
