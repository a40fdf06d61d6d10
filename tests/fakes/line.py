"""A TCP port that leads to a server's unix socket, until it is cut, slowed down or told to pass nothing on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tests.fakes.listener import Listener


class Line(Listener):
    """The line. `open`, `close` and `cut` are a `Listener`'s."""

    def __init__(self, socket_path: str) -> None:
        super().__init__(self._connect)
        self._socket_path = socket_path
        self._passing = asyncio.Event()
        self._passing.set()
        self._answer_bytes: int | None = None
        self._is_swallowing = False
        self._delay_s = 0.0
        self.accepted = 0

    @property
    def url(self) -> str:
        """How a client names this line."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def is_open(self) -> bool:
        """Whether it can be dialled."""
        return self._server is not None

    def hang(self) -> None:
        """Accept everything, pass nothing on."""
        self._passing.clear()

    def heal(self) -> None:
        """Pass on what came meanwhile, and what comes."""
        self._passing.set()

    def deafen(self) -> None:
        """Pass on what is asked, and cut the connection instead of answering."""
        self._answer_bytes = 0

    def swallow(self) -> None:
        """Pass on nothing of what is asked, and cut the connection."""
        self._is_swallowing = True

    def cut_answers_after(self, count: int) -> None:
        """Pass on what is asked, and cut the connection after so many bytes of each answer."""
        self._answer_bytes = count

    def hear(self) -> None:
        """Questions and answers arrive again."""
        self._answer_bytes = None
        self._is_swallowing = False

    def slow_down(self, delay_s: float) -> None:
        """Pass on everything, so much later."""
        self._delay_s = delay_s

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await self._dial()
            try:
                await asyncio.gather(self._pass(reader, inner_writer), self._pass(inner_reader, writer, answers=True))
            finally:
                inner_writer.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self._socket_path)

    def _hearing(self) -> Callable[[bytes], bytes]:
        """What makes of the bytes of a connection's answers what arrives; one for each connection."""
        return bytes

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        hear = self._hearing()
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._passing.wait()
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self._is_swallowing and not answers:
                    break
                if answers:
                    data = hear(data)
                if answers and self._answer_bytes is not None:
                    writer.write(data[: self._answer_bytes])
                    await writer.drain()
                    break
                writer.write(data)
                await writer.drain()
        writer.close()
