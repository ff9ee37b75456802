"""Runs the embedded AWS, closed to web pages.

A script, which `keeper` runs by its path: it knows the standard library and that package alone.
ministack answers whoever asks, and lets every web page read its answers
(`Access-Control-Allow-Origin: *`). So any page that is open in a browser of this machine could read
the secrets in it, and run code here as a function.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from importlib import import_module
from typing import Any

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]

# "Fetch Metadata Request Headers": what a page makes a browser ask of another place than its own.
OF_A_PAGE = (b"cross-site", b"same-site")
REFUSAL = json.dumps({"message": "The embedded AWS answers no web page"}).encode()


def closed_to_pages(app: App) -> App:
    """Return an ASGI application that refuses what a web page asks; programs send no such header.

    A browser adds Origin to every request that can change something, or whose answer a page of
    another origin could read ("Fetch", Origin header); an address that is another machine's to
    these pages ("DNS rebinding") does not change that.
    """

    async def closed(scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if b"origin" not in headers and headers.get(b"sec-fetch-site") not in OF_A_PAGE:
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            content = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 403, "headers": content})
            await send({"type": "http.response.body", "body": REFUSAL})

    return closed


def main(package: str, *unsaved: str) -> None:
    """Run the package, as `python -m` does.

    Args:
        package: ministack.
        unsaved: modules of its services whose state is not saved, however it ends; what it has
            loaded stays in their file (`save_all` of its core/persistence.py).
    """
    served = vars(import_module(f"{package}.app"))
    served["app"] = closed_to_pages(served["app"])
    for name in unsaved:
        vars(import_module(name))["get_state"] = lambda: None
    sys.argv = [package]
    runpy.run_module(package, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
