"""A real cache server for the session, and a line to it that can be cut."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache, CacheServer
from tests.fakes.line import Line

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


@pytest.fixture
async def line(cache_server: CacheServer) -> AsyncIterator[Line]:
    async with Line(unquote(urlsplit(cache_server.url).path)) as line:
        line.url = f"redis://127.0.0.1:{line.port}/0"
        yield line
