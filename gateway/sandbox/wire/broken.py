"""An answer that begins and breaks off: its length promises more than comes before the connection ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Response
from litestar.response.base import ASGIResponse

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send


class BrokenOff(Response[bytes]):
    """Looks like success. The server ends the connection when the app returns in the middle of an answer."""

    def __init__(self) -> None:
        super().__init__(b"")

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """What sends it."""
        return _Half()


class _Half(ASGIResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's own shape
        """Send a head and the beginning of a body."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"id": "', "more_body": True})
