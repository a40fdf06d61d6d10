"""A caller, as an ASGI app sees it: `receive` and `send` written out, nothing hidden."""

from __future__ import annotations

import asyncio
from typing import Any


class AsgiCaller:
    """One request's `receive` and `send`.

    Args:
        parts: Body parts that are there at once; the last one ends the body unless `more`.
        more: Further parts come through `feed`.
    """

    def __init__(self, *parts: bytes, more: bool = False) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = False
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.got_body = asyncio.Event()
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.receives = 0
        for number, part in enumerate(parts or (b"",)):
            self._messages.put_nowait(
                {"type": "http.request", "body": part, "more_body": more or number < len(parts) - 1}
            )

    def feed(self, part: bytes, *, more: bool = True) -> None:
        self._messages.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def leave(self) -> None:
        self._gone = True
        self._messages.put_nowait({"type": "http.disconnect"})

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    async def receive(self) -> dict[str, Any]:
        self.receives += 1
        if self._gone and self._messages.empty():
            return {"type": "http.disconnect"}
        return await self._messages.get()

    async def send(self, message: dict[str, Any]) -> None:
        await self.reading.wait()
        if self._gone:
            return
        if message["type"] == "http.response.start":
            assert self.status is None
            self.status = message["status"]
            self.headers = message["headers"]
            self.started.set()
            return
        assert self.status is not None
        assert not self.ended.is_set()
        if message.get("body"):
            self.parts.append(message["body"])
            self.got_body.set()
        if not message.get("more_body", False):
            self.ended.set()
