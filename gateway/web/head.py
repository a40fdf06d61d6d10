"""HEAD, wherever GET is served: the same answer without its body.

Source: RFC 9110 section 9.1 (every server supports GET and HEAD) and 9.3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.web.asgi import ASGIApp, Receive, Scope, Send


class AnswersHead:
    """An ASGI app that has GET, asked with HEAD.

    To handlers the request is a GET, so that no route has to name both and none is forgotten.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))
        else:
            await self._app(scope, receive, _naming_head(send))


def _without_body(send: Send) -> Send:
    """Content-Length stays: it is that of the answer to a GET."""
    naming = _naming_head(send)

    async def send_head(message: dict[str, Any]) -> None:
        await naming({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


def _naming_head(send: Send) -> Send:
    """Allow fields name HEAD beside GET."""

    async def send_naming(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            fields = [
                (name, _with_head(value) if name == b"allow" else value) for name, value in message.get("headers", ())
            ]
            message = {**message, "headers": fields}
        await send(message)

    return send_naming


def _with_head(value: bytes) -> bytes:
    methods = [method.strip() for method in value.split(b",")]
    return b", ".join([*methods, b"HEAD"]) if b"GET" in methods and b"HEAD" not in methods else value
