"""What callers that flood, stall and lie can do to our own WebSocket protocol, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest

from tests.fakes.raw_upstream import Peer, RawUpstream
from tests.fakes.websocket_caller import read_close, read_frame, switch
from tests.fakes.websocket_server import RelayServer, serving
from tests.fakes.websocket_upstream import WebSocketUpstream, websocket_upstream

MASK = b"\0\0\0\0"

pytestmark = [
    pytest.mark.asyncio(loop_factories=["asyncio"]),  # the relay runs in a process of its own
    pytest.mark.slow,  # floods and stalls take their time
]


@pytest.fixture(scope="module")
def server() -> Iterator[RelayServer]:
    with serving("front") as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[WebSocketUpstream]:
    async with websocket_upstream() as running:
        yield running


class RawCaller:
    """A client that writes whatever bytes it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def stop_reading(self) -> None:
        self.writer.transport.pause_reading()

    async def flood(self, unit: bytes, total: int) -> int:
        """Write until `total` bytes are gone or nothing is taken any more; returns how many were."""
        piece = unit * max(1, 50_000 // len(unit))
        sent = 0
        with contextlib.suppress(OSError):  # a TimeoutError is one
            while sent < total:
                self.writer.write(piece)
                await asyncio.wait_for(self.writer.drain(), 2)
                sent += len(piece)
        return sent

    async def until_closed(self) -> bytes:
        with contextlib.suppress(OSError):
            self.writer.transport.resume_reading()
        with contextlib.suppress(OSError):
            return await asyncio.wait_for(self.reader.read(), 20)
        return b""


@pytest.fixture
async def opened(server, upstream) -> AsyncIterator[RawCaller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(handshake(upstream.port, b"manual", b"stall_s=2&close_s=0.5&idle_s=20"))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101 "), head
    yield RawCaller(reader, writer)
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    await server.outcome()


def handshake(upstream_port: int, rest: bytes, query: bytes, *fields: bytes) -> bytes:
    lines = [
        b"GET /%d/%b?%b HTTP/1.1" % (upstream_port, rest, query),
        b"Host: api.example",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *fields,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    assert len(payload) < 126
    return bytes([first | opcode, 0x80 | len(payload)]) + MASK + payload


@pytest.mark.parametrize(
    ("begin", "unit", "total"),
    [
        pytest.param(b"", frame(0x9, b"x" * 125), 60_000_000, id="pings-whose-pongs-are-not-read"),
        pytest.param(frame(0x1, b"a", first=0), frame(0x0, first=0), 3_000_000, id="empty-fragments"),
        pytest.param(frame(0x1, b"a", first=0), frame(0x0, b"a", first=0), 3_000_000, id="fragments-of-one-byte"),
        pytest.param(b"", frame(0x1), 1_000_000, id="empty-messages"),
    ],
)
async def test_a_flood_takes_little_memory(server, opened, begin, unit, total):
    process = psutil.Process(server.process.pid)
    opened.stop_reading()
    before = process.memory_info().rss
    opened.writer.write(begin)
    await opened.flood(unit, total)
    await asyncio.sleep(0.5)  # what was sent is worked on
    assert process.memory_info().rss - before < 5_000_000


async def test_a_caller_that_stops_reading_is_cut(server, upstream, opened):
    opened.stop_reading()
    connection = await upstream.last()
    with contextlib.suppress(Exception):
        for _ in range(1000):
            await asyncio.wait_for(connection.send(b"x" * 100_000), 5)
    process = psutil.Process(server.process.pid)
    for _ in range(300):
        if not any(link.laddr.port == server.port and link.raddr for link in process.net_connections()):
            return
        await asyncio.sleep(0.1)
    pytest.fail("the connection stays")


async def test_a_message_in_many_parts_arrives_whole(upstream, opened):
    connection = await upstream.last()
    parts = [frame(0x2, b"1", first=0), *(frame(0x0, b"%d" % (n % 10), first=0) for n in range(5000)), frame(0x0, b"!")]
    opened.writer.write(b"".join(parts))
    expected = b"1" + b"".join(b"%d" % (n % 10) for n in range(5000)) + b"!"
    assert await asyncio.wait_for(connection.recv(), 20) == expected


async def test_frames_come_whole_however_they_are_cut(upstream, opened):
    connection = await upstream.last()
    for byte in frame(0x1, "é".encode()) + frame(0x9, b"p") + frame(0x2, b"\xff"):
        opened.writer.write(bytes([byte]))
        await asyncio.sleep(0.002)
    assert await asyncio.wait_for(connection.recv(), 10) == "é"
    assert await asyncio.wait_for(connection.recv(), 10) == b"\xff"


async def test_messages_sent_ahead_of_a_close_arrive(upstream, opened):
    connection = await upstream.last()
    opened.writer.write(b"".join(frame(0x1, b"%d" % n) for n in range(5000)) + frame(0x8, b"\x0f\xa0bye"))
    for number in range(5000):
        assert await asyncio.wait_for(connection.recv(), 10) == str(number)
    await connection.wait_closed()
    assert (connection.close_code, connection.close_reason) == (4000, "bye")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\x81\x02hi", 1002, id="not-masked"),
        pytest.param(frame(0x1, b"hi", first=0xC0), 1002, id="compressed-unasked"),
        pytest.param(frame(0x3, b"hi"), 1002, id="unknown-opcode"),
        pytest.param(frame(0x1, b"\xff"), 1007, id="text-not-utf-8"),
        pytest.param(b"\x82\xff" + b"\x7f" + b"\xff" * 7 + MASK, 1009, id="huge-length"),
    ],
)
async def test_a_broken_rule_is_told_to_both_sides(upstream, opened, data, code):
    opened.writer.write(data)
    answer = await opened.until_closed()
    assert answer[:1] == b"\x88"
    assert int.from_bytes(answer[2:4], "big") == code
    connection = await upstream.last()
    await asyncio.wait_for(connection.wait_closed(), 10)
    assert connection.close_code == code


async def test_what_comes_before_the_101_waits_for_it(server):
    sent = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.head()
        await sent.wait()
        await peer.send(switch(request))
        assert await read_frame(peer) == (0x1, b"early")
        assert await read_close(peer) == 4000

    async with RawUpstream(script) as slow:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(handshake(slow.port, b"", b""))
        await asyncio.sleep(0.1)
        writer.write(frame(0x9, b"ping") + frame(0x1, b"early") + frame(0x8, b"\x0f\xa0"))
        await asyncio.sleep(0.1)
        sent.set()
        head, _, rest = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == b"\x8a\x04ping\x88\x02\x0f\xa0"
    assert (await server.outcome())["code"] == 4000


async def test_a_caller_that_leaves_before_the_101_ends_the_attempt(server):
    async def script(peer: Peer) -> None:
        await peer.head()
        writer.transport.abort()
        await peer.until_closed()
        gone.set()

    gone = asyncio.Event()
    async with RawUpstream(script) as slow:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(handshake(slow.port, b"", b""))
        await asyncio.wait_for(gone.wait(), 10)
    assert await server.outcome() == {"error": "client-left"}


async def test_a_handshake_that_the_library_would_not_read_is_answered(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(handshake(1, b"", b"", b"Cookie: " + b"c" * 9000))
    try:
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")
    finally:
        writer.close()


async def test_nothing_is_logged_of_a_query(upstream, capfd):
    with serving("front") as logging:
        async with logging.open(upstream.port, secret="tg_live_abc"):
            pass
        await logging.outcome()
        with contextlib.suppress(Exception):
            await logging.open(upstream.port, "refuse", secret="tg_live_abc")
    written = capfd.readouterr()
    assert "tg_live_abc" not in written.out + written.err
    assert "handshake" not in written.err
