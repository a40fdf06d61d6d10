"""A TCP server on loopback that leaves nothing open, whenever it is stopped.

`asyncio.start_server` alone does: a handler that was cancelled before its first step never
reaches its `finally`, and its connection stays open until the garbage collector complains
about it in some later test. So connections are known here from the moment they are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_TURNS_TO_ARRIVE = 5
"""Turns of the event loop within which a connection that the system has accepted is handed to us."""


_TRIES, _TRY_AGAIN_S = 50, 0.1


class Listener:
    """Runs `handle` once per connection, and closes the connection when it returns. An async context manager."""

    def __init__(self, handle: Handler, **options: Any) -> None:
        self._handle = handle
        self._options = options
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen: on a free port, then always on that port, as soon as no connection of somebody else's has it."""
        for patience in reversed(range(_TRIES)):
            try:
                self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, **self._options)
                break
            except OSError:
                if not (self.port and patience):
                    raise
                await asyncio.sleep(_TRY_AGAIN_S)
        assert self._server is not None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Refuse new connections; open ones go on."""
        server, self._server = self._server, None
        if server is None:
            return
        for listening in server.sockets:  # asyncio loses a connection that was accepted just before `close`
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(_TURNS_TO_ARRIVE):
            await asyncio.sleep(0)
        server.close()

    def cut(self) -> None:
        """Break the open connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        """Refuse new connections, break the open ones, and wait until their handlers have ended."""
        await self.stop_listening()
        self.cut()
        ending = [writer.wait_closed() for writer in self._writers]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *ending, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._ended(task, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._handle(reader, writer)

    def _ended(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        self._writers.discard(writer)
        writer.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
