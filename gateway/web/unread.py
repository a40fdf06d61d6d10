"""An answer that begins before its request's body was received ends the connection, and says so.

Somebody has to read the rest of such a body, or no other request is found behind it. Our own front does
(web/front), but an app under another server cannot know: stock uvicorn reads on, Granian closes without
a word, and the caller's next request on that connection is lost now and then. A caller that still sends
when its connection closes may lose the answer too, so what it sends is read for a while longer: by then the
call has ended, and holds nothing.

Source: RFC 9112 sections 9.3 and 9.6.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from gateway.core.request_gate import body_framing

if TYPE_CHECKING:
    from gateway.web.asgi import Receive, Scope, Send

_WITHOUT_CONNECTION_FIELDS = frozenset({"2", "3"})
_LINGER_S = 1.0
"""How long a caller may go on sending after its answer. Longer only holds the connection for who never ends."""


def ends_unread(scope: Scope, receive: Receive, send: Send) -> Unread | None:
    """What closes a request's connection with the answer unless all of its body was received. None: it has none."""
    if scope["http_version"] in _WITHOUT_CONNECTION_FIELDS or not body_framing(scope["headers"], scope["http_version"]):
        return None
    return Unread(receive, send, waits=any(name == b"expect" for name, _ in scope["headers"]))


class Unread:
    """A request with a body, and its answer.

    Args:
        receive: ASGI's.
        send: ASGI's.
        waits: It sends its body only when it is asked to.
    """

    __slots__ = ("_closes", "_is_complete", "_is_unread", "_receive", "_receiving", "_send", "_waits")

    def __init__(self, receive: Receive, send: Send, *, waits: bool) -> None:
        self._receive, self._send = receive, send
        self._waits = waits
        """Still so: to receive asks."""
        self._receiving = 0
        self._is_unread = True
        self._closes = False
        self._is_complete = False

    async def receive(self) -> dict[str, Any]:
        """ASGI's."""
        self._waits = False
        self._receiving += 1
        try:
            message: dict[str, Any] = await self._receive()
        finally:
            self._receiving -= 1
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._is_unread = False
        return message

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's."""
        if message["type"] == "http.response.start" and self._is_unread:
            self._closes = True
            fields = [field for field in message.get("headers", ()) if field[0] != b"connection"]
            message = {**message, "headers": [*fields, (b"connection", b"close")]}
        elif self._closes and message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_complete = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Close the connection, if its answer says so; to be called when the call has ended."""
        if self._is_complete:
            self._is_complete = False
            await self._linger()
            await self._send({"type": "http.response.body", "body": b""})

    async def _linger(self) -> None:
        if self._waits or self._receiving:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while self._is_unread:
                    await self.receive()
