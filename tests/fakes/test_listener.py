"""The fakes leave nothing behind: a fake that does makes some other test fail."""

import asyncio
import contextlib
import gc
import socket

import pytest

from tests.fakes.listener import Listener


async def wait_for_ever(_reader, _writer):
    await asyncio.sleep(3600)


@pytest.mark.parametrize("steps", range(8))
async def test_a_connection_is_closed_however_far_it_had_come_when_the_listener_stopped(steps):
    listener = Listener(wait_for_ever)
    await listener.open()
    with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as caller:
        for _ in range(steps):
            await asyncio.sleep(0)
        await listener.close()
        with contextlib.suppress(ConnectionResetError):
            assert caller.recv(1) == b""
    gc.collect()


async def test_a_connection_ends_with_its_handler():
    async def greet(_reader, writer):
        writer.write(b"hello")

    async with Listener(greet) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
