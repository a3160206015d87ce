"""Limits what the pages take in: bodies of JSON, of at most LARGEST bytes."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.responses import JSONResponse

from dashboards.guard import ASGI, Receive, Scope, Send

LARGEST = 16_384  # bytes
NO_STORE = {"cache-control": "no-store", "content-security-policy": "default-src 'none'"}


def limited(web: ASGI) -> ASGI:
    """`web` behind that limit; it gets every body whole, in one message."""

    async def within(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await web(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            await JSONResponse({"error": "not_json"}, 415, NO_STORE)(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            await JSONResponse({"error": "too_large", "limit": LARGEST}, 413, NO_STORE)(scope, receive, send)
            return
        await web(scope, once(body, receive), send)

    return within


async def _body(receive: Receive) -> bytes | None:
    """The whole body, or None when it is too large."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST:
            return None
        more = message.get("more_body", False)
    return body


def once(body: bytes, receive: Receive) -> Callable[[], Awaitable[Any]]:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Any:
        return waiting.pop() if waiting else await receive()

    return next_message
