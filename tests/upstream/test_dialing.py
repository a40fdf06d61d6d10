"""A connection is made to whichever address answers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.upstream.dialing import Address, Dialer, resolve
from tests.fakes.authority import Authority
from tests.fakes.raw_upstream import RawUpstream, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Line(asyncio.Protocol):
    def __init__(self) -> None:
        self.made: asyncio.BaseTransport | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed.set()

    async def end(self) -> tuple[str, int]:
        assert self.made is not None
        peer = self.made.get_extra_info("peername")
        self.made.close()
        await self.closed.wait()
        return peer[:2]


def naming(*addresses: tuple[str, int]):
    async def names(_host: str, _port: int) -> list[Address]:
        return [
            (socket.AF_INET6, (host, port, 0, 0)) if ":" in host else (socket.AF_INET, (host, port))
            for host, port in addresses
        ]

    return names


async def dial(*addresses: tuple[str, int], **options: object) -> tuple[str, int]:
    line = await asyncio.wait_for(Dialer("api.test", 1, resolve=naming(*addresses), **options).dial(Line), 10)
    return await line.end()


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port on which nobody listens, and nobody else may."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that answers no connection, as a host that is not there: its queue is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listening.getsockname())
        probe = stack.enter_context(socket.socket())
        probe.settimeout(0.3)
        if probe.connect_ex(listening.getsockname()) == 0:
            pytest.skip("this system accepts more connections than a full queue holds")
        yield listening.getsockname()[1]


async def test_an_address_that_refuses_is_followed_by_the_next_at_once(refusing):
    async with RawUpstream(answering(OK)) as server:
        assert await dial(("127.0.0.1", refusing), ("127.0.0.1", server.port)) == ("127.0.0.1", server.port)


async def test_a_name_with_both_families_is_reached_where_only_one_listens():
    async with RawUpstream(answering(OK)) as server:
        assert await dial(("::1", server.port), ("127.0.0.1", server.port)) == ("127.0.0.1", server.port)


async def test_an_address_that_never_answers_does_not_keep_the_next_one_waiting(silent):
    async with RawUpstream(answering(OK)) as server:
        assert await dial(("127.0.0.1", silent), ("127.0.0.1", server.port)) == ("127.0.0.1", server.port)


async def test_when_no_address_answers_the_first_ones_failure_is_told(refusing):
    with pytest.raises(ConnectionRefusedError):
        await dial(("127.0.0.1", refusing), ("127.0.0.1", refusing))


async def test_a_name_without_addresses_is_no_connection():
    with pytest.raises(OSError, match="no address"):
        await dial()


async def test_giving_up_in_mid_race_leaves_nothing_open(silent):
    before = asyncio.all_tasks()
    dialling = asyncio.create_task(dial(("127.0.0.1", silent), ("127.0.0.1", silent)))
    while not any(task.get_name() == "upstream address" for task in asyncio.all_tasks()):  # noqa: ASYNC110 - no signal
        await asyncio.sleep(0)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert asyncio.all_tasks() == before


async def test_the_winner_of_the_race_speaks_tls_and_is_verified(tmp_path, refusing):
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    trusting, strange = (ssl.create_default_context(cafile=each.ca_file) for each in (authority, other))
    async with RawUpstream(answering(OK), ssl_context=authority.server_context("api.test")) as server:
        addresses = ("127.0.0.1", refusing), ("127.0.0.1", server.port)
        assert await dial(*addresses, tls=trusting) == ("127.0.0.1", server.port)
        with pytest.raises(ssl.SSLError):
            await dial(*addresses, tls=strange)
        with pytest.raises(ssl.SSLError):
            await dial(*addresses, tls=trusting, server_name="elsewhere.test")


async def test_giving_up_while_tls_is_spoken_closes_the_connection(refusing):
    reached, closed = asyncio.Event(), asyncio.Event()

    async def says_nothing(peer):
        await peer.reader.read(1)
        reached.set()
        await peer.until_closed()
        closed.set()

    async with RawUpstream(says_nothing) as server:
        dialling = asyncio.create_task(
            dial(("127.0.0.1", refusing), ("127.0.0.1", server.port), tls=ssl.create_default_context())
        )
        await reached.wait()
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        await asyncio.wait_for(closed.wait(), 10)


async def test_names_are_resolved_by_the_system():
    found = await resolve("localhost", 80)
    assert {address[1] for _, address in found} == {80}
    assert {address[0] for _, address in found} <= {"127.0.0.1", "::1"}
