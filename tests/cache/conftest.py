"""A real cache server for the session, and a line to it that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache, CacheServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PATIENT_S = 5.0
"""Deadline in tests that are not about deadlines: the machine may be busy."""


@pytest.fixture(scope="session")
def cache_server() -> Iterator[CacheServer]:
    folder = tempfile.mkdtemp(prefix="tg")
    with CacheServer.start(Path(folder)) as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture
async def cache(cache_server: CacheServer) -> AsyncIterator[Cache]:
    cache = await Cache.connect(cache_server.url, deadline_s=PATIENT_S, on_reconnect=None)
    yield cache
    await cache.aclose()


@pytest.fixture
async def raw(cache_server: CacheServer) -> AsyncIterator[Redis]:
    """The same server without our code in between."""
    async with Redis.from_url(cache_server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def customer_id() -> str:
    return secrets.token_hex(6)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    folder = tempfile.mkdtemp(prefix="tg")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


class Line:
    """A TCP port that leads to the cache server, until it is cut or told to swallow everything."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.port = 0
        self.accepted = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse new connections and break the open ones."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Break the open connections; new ones are served."""
        for writer in list(self._writers):
            writer.close()

    def hang(self) -> None:
        """Accept everything, answer nothing."""
        self._passing.clear()

    def heal(self) -> None:
        self._passing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket_path)
            self._writers |= {writer, inner_writer}
            await asyncio.gather(self._pass(reader, inner_writer), self._pass(inner_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()


@pytest.fixture
async def line(cache_server: CacheServer) -> AsyncIterator[Line]:
    line = Line(unquote(urlsplit(cache_server.url).path))
    await line.open()
    yield line
    line.heal()
    await line.close()
    await asyncio.sleep(0.01)
