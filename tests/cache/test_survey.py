"""Asking one server of a cluster who has which slots."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from gateway.cache.survey import fetch_slots
from gateway.core.cache_url import parse_cache_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ASKED = 600
_LEAST_S, _STEP_S = 0.0005, 0.00001


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server that has all slots and says so at once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\na\r\n" % bound
            writer.write(slots if b"SLOTS" in data else b"+OK\r\n" * data.count(b"*"))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    bound: int = server.sockets[0].getsockname()[1]
    yield bound
    server.close()


async def test_a_limit_that_ends_at_any_moment_leaves_no_connection_open(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_open: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: left_open.append(str(raised.exc_value)))
    address = parse_cache_url(f"redis+cluster://127.0.0.1:{port}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(_ASKED):
            with contextlib.suppress(RedisError, OSError):
                await fetch_slots(address, ("127.0.0.1", port), _LEAST_S + number * _STEP_S)
        assert await fetch_slots(address, ("127.0.0.1", port), 30)
        gc.collect()
    assert left_open == []
