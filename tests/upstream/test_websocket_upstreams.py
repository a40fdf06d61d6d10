"""What upstreams that lie, stall, truncate and hang up can do to a WebSocket: end it, with the right word."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from dataclasses import replace

import pytest

from gateway.core.errors import (
    CapacityReduced,
    InvalidKey,
    MalformedRequest,
    UpgradeRefused,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.upstream import Upstream
from gateway.upstream.errors import ClientLeft, NotConnected
from gateway.upstream.websocket import WebSocketRequest
from tests.fakes.raw_upstream import Peer, RawUpstream, answering
from tests.fakes.websocket_caller import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    QUICK,
    TEXT,
    WebSocketCaller,
    asking,
    frame,
    read_close,
    read_frame,
    switch,
    switched,
)

pytestmark = pytest.mark.slow

START = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


# The handshake.


async def test_the_handshake_holds_what_it_was_given_and_its_own_fields_only(monkeypatch):
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "ws_proxy", "WS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("WEBSOCKETS_USER_AGENT", "not me")
    given = [b"x-b: 1", b"x-a: 2", b"x-b: 3", b"origin: o"]
    request = asking(b"/p%2Fq?x=%41", *given, subprotocols=("b", "a"))
    caller = WebSocketCaller()
    async with RawUpstream(
        answering(b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n")
    ) as server:
        outcome = await caller.relay(server.port, request=request)
    assert (outcome.status, server.accepted) == (302, 1)
    key = server.requests[0].field(b"sec-websocket-key")
    assert key is not None
    assert len(key) == 24
    assert server.requests[0].head.split(b"\r\n") == [
        b"GET /p%2Fq?x=%41 HTTP/1.1",
        b"host: up",
        b"x-b: 1",
        b"x-a: 2",
        b"x-b: 3",
        b"origin: o",
        b"connection: Upgrade",
        b"upgrade: websocket",
        b"sec-websocket-version: 13",
        b"sec-websocket-key: " + key,
        b"sec-websocket-protocol: b, a",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [(InvalidKey(), 1008), (UpgradeRefused("No more."), 1008), (CapacityReduced("Not now."), 1013)],
    ids=lambda value: getattr(value, "code", None),
)
async def test_a_charge_that_fails_ends_it_with_the_errors_code(error, code):
    def charge(_size: int) -> None:
        raise error

    async def script(peer: Peer) -> None:
        await switched(peer)
        assert await read_close(peer) == 1001
        await peer.close()

    caller = WebSocketCaller()
    caller.say("hello")
    async with RawUpstream(script) as server:
        outcome = await caller.relay(server.port, on_message=charge)
    assert (caller.close, outcome.cause, outcome.messages_up) == ((code, error.code), "denied", 0)


async def test_a_field_with_a_line_break_is_never_sent():
    request = asking(b"/", b"x: 1\r\ny: 2")
    with pytest.raises(MalformedRequest):
        await WebSocketCaller().relay(1, request=request)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([b"Sec-WebSocket-Extensions: permessage-deflate"], id="an-extension"),
        pytest.param([b"Sec-WebSocket-Protocol: other"], id="a-protocol-not-offered"),
        pytest.param([b"Sec-WebSocket-Protocol: a, b"], id="two-protocols"),
        pytest.param([b"Sec-WebSocket-Protocol: a", b"Sec-WebSocket-Protocol: a"], id="a-protocol-twice"),
        pytest.param([b"Sec-WebSocket-Protocol: A"], id="a-protocol-in-another-case"),
        pytest.param([b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="], id="a-second-key"),
        pytest.param([b"Upgrade: h2c"], id="a-second-upgrade"),
        pytest.param([b"Content-Length: 5"], id="a-length"),
        pytest.param([b"Transfer-Encoding: chunked"], id="a-coding"),
        pytest.param([b"X: " + b"y" * 70_000], id="too-long"),
        pytest.param([b"no colon"], id="no-colon"),
    ],
)
async def test_a_handshake_with_something_wrong_is_invalid(fields):
    async def script(peer: Peer) -> None:
        await switched(peer, *fields)
        await peer.until_closed()

    request = asking(subprotocols=("a", "b"))
    await _is_invalid(script, request=request)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(START + b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", id="wrong-key"),
        pytest.param(START + b"\r\n", id="no-key"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="no-upgrade"),
        pytest.param(b"HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", id="http-1.0"),
        pytest.param(b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, id="interim-without-end"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", id="bare-line-feeds"),
        pytest.param(b"\x81\x02hi\r\n\r\n", id="frames-at-once"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another-protocol-entirely"),
    ],
)
async def test_an_answer_that_is_none_is_invalid(answer):
    await _is_invalid(answering(answer))


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(START, id="in-the-switch"),
        pytest.param(b"HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\nhe", id="in-a-sized-body"),
        pytest.param(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", id="in-a-chunk"),
    ],
)
async def test_a_truncated_answer_is_invalid(beginning):
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(beginning)
        await peer.close()

    await _is_invalid(script)


async def test_a_connection_that_closes_unanswered_is_unreachable():
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        with pytest.raises(UpstreamUnreachable):
            await caller.relay(server.port)
    assert caller.events == []


async def test_a_silent_upstream_is_given_up_in_time():
    async def script(peer: Peer) -> None:
        await peer.until_closed()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        with pytest.raises(UpstreamTimeout):
            await caller.relay(server.port, replace(QUICK, first_byte_s=0.1))
    assert caller.events == []


async def test_a_connect_that_hangs_is_given_up_in_time():
    async def say_nothing(peer: Peer) -> None:
        await peer.until_closed()

    async with RawUpstream(say_nothing) as server:
        to = Upstream(f"https://127.0.0.1:{server.port}")
        with pytest.raises(NotConnected):
            await WebSocketCaller().relay(to, replace(QUICK, connect_s=0.1))


async def test_a_caller_that_leaves_meanwhile_ends_the_attempt():
    left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        caller.leave(1006)
        await peer.until_closed()
        left.set()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        with pytest.raises(ClientLeft):
            await caller.relay(server.port)
        await asyncio.wait_for(left.wait(), 10)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        pytest.param(b"401 No\r\nContent-Length: 2\r\n\r\nno", 401, b"no", id="sized"),
        pytest.param(b"404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 404, b"no", id="chunked"),
        pytest.param(b"503 No\r\nRetry-After: 7\r\n\r\nno", 503, b"no", id="until-closed"),
        pytest.param(b"200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", id="success"),
        pytest.param(b"204 OK\r\n\r\n", 204, b"", id="no-body"),
        pytest.param(b"100 Go\r\n\r\nHTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n", 426, b"", id="after-interim"),
        pytest.param(b"413 No\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, 413, b"", id="longer-than-told"),
    ],
)
async def test_a_plain_answer_is_the_callers_answer(answer, status, body):
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 " + answer)
        await peer.close()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        outcome = await caller.relay(server.port)
    assert caller.refusal is not None
    assert (outcome.status, outcome.cause, caller.refusal[0], caller.refusal[2]) == (status, "refused", status, body)
    assert not {name for name, _ in caller.refusal[1]} & {b"content-length", b"transfer-encoding", b"connection"}


# Frames.


async def test_frames_that_come_with_the_101_are_not_lost():
    async def script(peer: Peer) -> None:
        request = await peer.head()
        await peer.send(switch(request) + frame(TEXT, b"first") + frame(CLOSE, b"\x03\xe8"))
        await read_close(peer)

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        await caller.relay(server.port)
    assert caller.got.get_nowait() == "first"
    assert caller.close == (1000, "")


async def test_what_follows_the_end_does_not_hide_what_came_before():
    async def script(peer: Peer) -> None:
        await switched(peer)
        await peer.send(frame(TEXT, b"one") + frame(TEXT, b"two") + frame(CLOSE, b"\x0f\xa0"))
        assert await read_close(peer) == 4000
        await peer.send(frame(TEXT, b"after the end"))
        await peer.close()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        relaying = asyncio.create_task(caller.relay(server.port))
        await caller.accepted.wait()
        caller.reading.clear()
        await asyncio.sleep(0.1)
        caller.reading.set()
        await relaying
    assert [caller.got.get_nowait(), caller.got.get_nowait()] == ["one", "two"]
    assert (caller.got.empty(), caller.close) == (True, (4000, ""))


async def test_a_frame_may_come_byte_by_byte():
    async def script(peer: Peer) -> None:
        await switched(peer)
        for byte in frame(TEXT, "é".encode() * 100) + frame(CLOSE, b"\x0f\xa0bye"):
            await peer.send(bytes([byte]))
        await read_close(peer)

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        await caller.relay(server.port)
    assert caller.got.get_nowait() == "é" * 100
    assert caller.close == (4000, "bye")


@pytest.mark.parametrize(
    ("data", "to_caller", "to_upstream"),
    [
        pytest.param(b"\x81\x82\0\0\0\0hi", 1011, 1002, id="masked"),
        pytest.param(frame(TEXT, b"hi", first=0xC0), 1011, 1002, id="compressed-unasked"),
        pytest.param(frame(0x3, b"hi"), 1011, 1002, id="unknown-opcode"),
        pytest.param(frame(CONT, b"hi"), 1011, 1002, id="continuation-of-nothing"),
        pytest.param(frame(TEXT, b"a", first=0) + frame(TEXT, b"b"), 1011, 1002, id="message-in-a-message"),
        pytest.param(frame(PING, b"", first=0), 1011, 1002, id="fragmented-ping"),
        pytest.param(frame(PING, b"x" * 126), 1011, 1002, id="long-ping"),
        pytest.param(frame(CLOSE, b"\x03"), 1011, 1002, id="half-a-code"),
        pytest.param(frame(CLOSE, b"\x03\xed"), 1011, 1002, id="code-1005"),
        pytest.param(frame(CLOSE, b"\x03\xee"), 1011, 1002, id="code-1006"),
        pytest.param(frame(CLOSE, b"\x07\xd0"), 1011, 1002, id="unassigned-code"),
        pytest.param(frame(CLOSE, b"\x03\xe8\xff"), 1007, 1007, id="reason-not-utf-8"),
        pytest.param(frame(TEXT, b"\xff"), 1007, 1007, id="text-not-utf-8"),
        pytest.param(frame(TEXT, b"\xc3", first=0) + frame(CONT, b"("), 1007, 1007, id="fragments-not-utf-8"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, 1007, id="surrogate"),
        pytest.param(b"\x82\x7f\x7f" + b"\xff" * 7, 1009, 1009, id="huge-length"),
    ],
)
async def test_a_broken_rule_ends_both_sides(data, to_caller, to_upstream):
    told: list[int] = []

    async def script(peer: Peer) -> None:
        await switched(peer)
        await peer.send(frame(TEXT, b"good") + data)
        told.append(await read_close(peer))

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        outcome = await caller.relay(server.port)
    assert caller.got.get_nowait() == "good"
    assert caller.close is not None
    assert (caller.close[0], told, outcome.ended_by) == (to_caller, [to_upstream], "gateway")


async def test_text_split_within_a_character_is_text():
    async def script(peer: Peer) -> None:
        await switched(peer)
        await peer.send(frame(TEXT, b"\xc3", first=0) + frame(PING, b"p") + frame(CONT, b"\xa9") + frame(CLOSE))
        assert await read_frame(peer) == (PONG, b"p")
        assert await read_close(peer) == 1005

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        outcome = await caller.relay(server.port)
    assert caller.got.get_nowait() == "é"
    assert (caller.close, outcome.code) == ((1000, ""), 1005)


@pytest.mark.parametrize("rest", [frame(TEXT, b"hello")[:4], frame(TEXT, b"hello", first=0), b""])
async def test_a_connection_that_breaks_off_is_lost(rest):
    async def script(peer: Peer) -> None:
        await switched(peer)
        await peer.send(frame(TEXT, b"good") + rest)
        await peer.close()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        outcome = await caller.relay(server.port)
    assert (caller.got.get_nowait(), caller.got.empty()) == ("good", True)
    assert (caller.close, outcome.cause, outcome.code_to_upstream) == ((1011, "the upstream was lost"), "lost", None)


# Time.


async def test_an_upstream_that_shows_no_life_is_lost():
    async def script(peer: Peer) -> None:
        await switched(peer)
        assert (await read_frame(peer))[0] == PING
        await peer.until_closed()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        outcome = await caller.relay(server.port, replace(QUICK, ping_s=0.1, pong_s=0.1))
    assert (outcome.ended_by, outcome.cause, caller.close) == ("upstream", "lost", (1011, "the upstream was lost"))


async def test_an_upstream_that_answers_pings_lives():
    async def script(peer: Peer) -> None:
        await switched(peer)
        for _ in range(5):
            opcode, payload = await read_frame(peer)
            assert opcode == PING
            await peer.send(frame(PONG, payload))
        await peer.send(frame(CLOSE, b"\x0f\xa0"))
        await peer.until_closed()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        await caller.relay(server.port, replace(QUICK, ping_s=0.05, pong_s=20))
    assert caller.close == (4000, "")


async def test_an_upstream_that_never_answers_the_close_is_cut():
    async def script(peer: Peer) -> None:
        await switched(peer)
        assert await read_close(peer) == 4001
        await peer.until_closed()
        gone.set()

    gone = asyncio.Event()
    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        relaying = asyncio.create_task(caller.relay(server.port, replace(QUICK, close_s=0.2)))
        await caller.accepted.wait()
        caller.leave(4001, "done")
        outcome = await asyncio.wait_for(relaying, 10)
        await asyncio.wait_for(gone.wait(), 10)
    assert (outcome.code_to_upstream, outcome.code_to_caller) == (4001, None)


async def test_messages_on_their_way_do_not_hide_the_answer_to_a_close():
    async def script(peer: Peer) -> None:
        await switched(peer)
        await peer.send(frame(BINARY, b"x" * 60_000) * 20)
        assert await read_close(peer) == 4001
        await peer.send(frame(BINARY, b"x" * 60_000) * 20 + frame(CLOSE, b"\x0f\xa1"))
        await peer.close()

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        relaying = asyncio.create_task(caller.relay(server.port, replace(QUICK, close_s=30)))
        await caller.accepted.wait()
        caller.reading.clear()
        caller.leave(4001)
        await asyncio.wait_for(relaying, 20)


async def test_a_cancelled_relay_closes_both_sides():
    async def script(peer: Peer) -> None:
        await switched(peer)
        told.append(await read_close(peer))

    told: list[int] = []
    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        relaying = asyncio.create_task(caller.relay(server.port))
        await caller.accepted.wait()
        await asyncio.sleep(0.05)
        relaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await relaying
    assert (caller.close, told) == ((1012, ""), [1001])


# Memory.


@pytest.mark.slow
async def test_a_caller_that_does_not_read_is_not_read_for():
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await switched(peer)
        message = frame(BINARY, b"x" * 100_000)
        peer.writer.transport.set_write_buffer_limits(0)
        with contextlib.suppress(OSError):  # TimeoutError is one
            while sent < 500_000_000:
                await asyncio.wait_for(peer.send(message), 1)
                sent += len(message)

    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        relaying = asyncio.create_task(caller.relay(server.port, replace(QUICK, stall_s=2.5)))
        await caller.accepted.wait()
        caller.reading.clear()
        tracemalloc.start()
        outcome = await asyncio.wait_for(relaying, 30)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (outcome.cause, outcome.code_to_caller, outcome.code_to_upstream) == ("stalled", 1008, 1001)
    assert outcome.messages_down <= 1
    assert sent < 20_000_000  # the kernel's buffers take their part
    assert most < 4_000_000


async def test_an_upstream_that_does_not_read_is_not_read_for():
    async def script(peer: Peer) -> None:
        await switched(peer)
        peer.writer.transport.pause_reading()
        await given_up.wait()

    given_up = asyncio.Event()
    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        message = b"x" * 100_000
        for _ in range(1000):
            caller.say(message)
        outcome = await asyncio.wait_for(caller.relay(server.port, replace(QUICK, stall_s=1)), 60)
        given_up.set()
    assert (outcome.cause, outcome.code_to_caller) == ("stalled", 1011)
    assert caller.received < 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(frame(TEXT), id="empty-messages"),
        pytest.param(frame(PONG), id="pongs"),
        pytest.param(frame(PING, b"x" * 125), id="pings-whose-pongs-are-not-read"),
        pytest.param(frame(CONT, first=0), id="empty-fragments"),
    ],
)
async def test_a_flood_of_tiny_frames_takes_little_memory(unit):
    async def script(peer: Peer) -> None:
        await switched(peer)
        peer.writer.transport.pause_reading()
        with peer.own_socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await peer.send(frame(BINARY, first=0) if unit == frame(CONT, first=0) else b"")
        piece = unit * (20_000 // len(unit))
        with contextlib.suppress(OSError):  # TimeoutError is one
            for _ in range(5 if len(unit) < 10 else 600):
                await asyncio.wait_for(peer.send(piece), 5)

    caller = WebSocketCaller()
    caller.kept_messages = False
    async with RawUpstream(script) as server:
        tracemalloc.start()
        await asyncio.wait_for(caller.relay(server.port, replace(QUICK, close_s=0.1)), 50)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 4_000_000


async def _is_invalid(script, request: WebSocketRequest | None = None) -> None:
    caller = WebSocketCaller()
    async with RawUpstream(script) as server:
        with pytest.raises(UpstreamInvalid):
            await caller.relay(server.port, request=request)
    assert caller.events == []
