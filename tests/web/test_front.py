"""Our server protocol over raw sockets, in front of an app that tells what it saw."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway.cli.workers import server_config
from gateway.settings import Settings
from gateway.upstream import ExchangeBroken, Outcome

pytestmark = pytest.mark.slow

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def tell(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    seen = {
        "path": scope["path"],
        "names": sorted(name.decode() for name, _ in scope["headers"]),
        "body": body.decode(),
    }
    told = json.dumps(seen).encode() + b"\n"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[uvicorn.Server]:
    """As `tiergate serve` would."""
    served = server_config(Settings.model_construct(workers=1, shutdown_grace_s=1))
    config = uvicorn.Config(
        app,
        port=0,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws=served.ws,
        http=served.http,
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:  # of no named protocol, as what a service manager hands over may be
        listener.bind(("127.0.0.1", 0))
        running = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag only
            await asyncio.sleep(0.005)
        try:
            yield server
        finally:
            server.should_exit = True
            await running


def port_of(server: uvicorn.Server) -> int:
    number: int = server.servers[0].sockets[0].getsockname()[1]
    return number


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    async with serving(tell) as server:
        yield server


@pytest.fixture
def port(server) -> int:
    return port_of(server)


async def talk(port: int, *parts: bytes) -> list[dict[str, Any]]:
    """Send the parts one by one; what the app saw of each request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.005)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return [json.loads(line) for line in answer.splitlines() if line.startswith(b"{")]


CHUNKED = b"POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("at_once", [True, False])
async def test_trailer_fields_are_not_headers(port, at_once):
    parts = [CHUNKED, b"3\r\nabc\r\n", b"0\r\nX-Tiergate-Tier: forged\r\nCookie: a=b\r\n\r\n", LAST]
    first, last = await talk(port, *([b"".join(parts)] if at_once else parts))
    assert first == {"path": "/first", "names": ["host", "transfer-encoding"], "body": "abc"}
    assert last == {"path": "/last", "names": ["connection", "host"], "body": ""}


BODIES = {
    "none": (b"", b"", ""),
    "empty": (b"Content-Length: 0\r\n", b"", ""),
    "of known length": (b"Content-Length: 5\r\n", b"hello", "hello"),
    "chunked": (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", "hello"),
    "like a request": (b"Content-Length: 48\r\n", LAST[:48], LAST[:48].decode()),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("cut", ["nowhere", "after the head", "everywhere"])
async def test_an_offer_to_switch_protocols_changes_nothing(port, caplog, kind, cut):
    framing, body, expected = BODIES[kind]
    head = b"POST /first HTTP/1.1\r\nHost: x\r\n" + OFFER + framing + b"\r\n"
    sent = head + body + LAST
    cuts = {"nowhere": [sent], "after the head": [head, body + LAST], "everywhere": [bytes([b]) for b in sent]}
    first, last = await talk(port, *cuts[cut])
    assert (first["path"], first["body"]) == ("/first", expected)
    assert "x-trailer" not in first["names"]
    assert last["path"] == "/last"
    assert not caplog.records


async def test_what_is_not_http_is_refused(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + OFFER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def write_on(writer: asyncio.StreamWriter) -> None:
    for _ in range(100):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


BROKEN = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"


async def test_a_caller_that_stays_after_its_body_was_refused_is_not_waited_for(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(BROKEN)
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 400 ")
    try:
        with pytest.raises(ConnectionError):  # the other end is closed, not only its half
            await write_on(writer)
    finally:
        writer.transport.abort()


HEADS = {
    "in its head": b"HEAD * HTTP/1.1\r\nHost: x\r\n\r\n",
    "in its body": b"HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("where", HEADS)
async def test_the_refusal_of_a_head_request_has_no_body(port, where):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEADS[where])
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.partition(b"\r\n\r\n")[2] == b""


async def test_requests_are_not_served_while_earlier_answers_are_not_taken():
    """Or a caller could have as much held here as it likes, 60 KB for 40 bytes."""
    served = 0

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG001 - its signature is ASGI's
        nonlocal served
        served += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"60000")]})
        await send({"type": "http.response.body", "body": b"x" * 60_000})

    many = 1500
    async with serving(app) as server:
        port = port_of(server)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * (many - 1) + LAST)
        await asyncio.sleep(0.5)
        served_untaken = served
        read = 0
        while data := await reader.read(2**20):
            read += data.count(b"HTTP/1.1 200")
        writer.close()
    assert served_untaken < many / 2  # what fits into the buffers of both sockets
    assert served == many
    assert read >= many - 5  # a head may lie across two reads


async def test_what_is_written_leaves_at_once(server, port):
    """Else the second part of an answer waits until the first is confirmed: 40 ms, if the caller is in no hurry."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    while not server.server_state.connections:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.005)
    (connection,) = server.server_state.connections
    held = connection._transport.get_extra_info("socket")
    assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()


async def test_what_follows_the_last_request_does_not_reset_its_answer(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(LAST + b"x" * 500_000)  # more than is read at once
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"}\n")


async def test_a_part_is_not_taken_for_the_whole_by_a_caller_that_reads_until_the_end():
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG001 - its signature is ASGI's
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
        raise ExchangeBroken("it broke off", Outcome(status=200, response_bytes=6, request_bytes=0, ended="timeout"))

    async with serving(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 30)
        writer.close()
