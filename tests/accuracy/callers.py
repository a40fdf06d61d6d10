"""Callers of one customer who never rest: each asks again when it was answered, or when its connection broke."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

_ANSWER_S = 30.0
_PAUSE_S = 0.05
_STATUS = slice(9, 12)


class Callers:
    """So many connections to a gateway.

    Args:
        port: Its.
        key: The customer's.
        pace: Requests a second of all together.
    """

    def __init__(self, port: int, key: bytes, *, connections: int, pace: float) -> None:
        self._port = port
        self._request = b"GET /v1/x HTTP/1.1\r\nHost: api.example\r\nX-API-Key: " + key + b"\r\n\r\n"
        self._each_s = connections / pace
        self._connections = connections
        self.answers: Counter[int] = Counter()
        """By status."""
        self.lost = 0
        """Requests whose connection ended before an answer."""
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    def start(self) -> None:
        """Call until `stop`."""
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(self._connections)]

    async def stop(self) -> None:
        """End after the answers that are awaited."""
        self._is_stopping = True
        await asyncio.gather(*self._tasks)

    async def _call(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._each_s * number / self._connections
        while not self._is_stopping:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    goes_on = True
                    while goes_on and not self._is_stopping:
                        await asyncio.sleep(max(0.0, due - loop.time()))
                        due = max(due + self._each_s, loop.time() - 1)
                        goes_on = await self._ask(reader, writer)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(_PAUSE_S)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. Returns whether the connection can be used again."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                lowered = head.lower()
                _, _, rest = lowered.partition(b"content-length:")
                await reader.readexactly(int(rest.split(b"\r\n", 1)[0]))
        except (OSError, asyncio.IncompleteReadError):
            self.lost += 1
            return False
        self.answers[int(head[_STATUS])] += 1
        return b"connection: close" not in lowered
