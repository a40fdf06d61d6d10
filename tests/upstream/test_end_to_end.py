"""Through a real server: uvicorn in front, raw sockets on both sides."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway.core.errors import TiergateError, UpstreamUnreachable
from gateway.core.forwarding import HeaderRules
from gateway.core.request_gate import body_framing, check_request
from gateway.upstream import ClientLeft, ExchangeRequest, Upstream, UpstreamTimeouts
from tests.fakes.alone import relayed
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.certificate import certificate
from tests.fakes.raw_upstream import Peer, RawUpstream, answering

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets", "ignore::DeprecationWarning:uvicorn")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def forwarder(upstream: Upstream) -> Callable[..., Awaitable[None]]:
    """The smallest gateway: gate, header rules, exchange."""
    rules = HeaderRules()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = list(scope["headers"])
        try:
            check_request(scope["method"], scope["raw_path"], headers, scope["http_version"])
            query = scope["query_string"]
            request = ExchangeRequest(
                method=scope["method"],
                target=scope["raw_path"] + b"?" + query if query else scope["raw_path"],
                lines=rules.forward(
                    headers, None, peer=scope["client"][0], scheme="http", http_version=scope["http_version"]
                ).lines,
                body_framing=body_framing(headers, scope["http_version"]),
            )
            await relayed(upstream, request, receive, send)
        except TiergateError as error:
            body = error.code.encode()
            await send(
                {"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"%d" % len(body))]}
            )
            await send({"type": "http.response.body", "body": body})
        except ClientLeft:
            pass

    return app


@asynccontextmanager
async def front(app: Any) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app, port=0, lifespan="off", log_config=None, access_log=False, ws="none", server_header=False,
        date_header=False, timeout_graceful_shutdown=1, http="httptools",
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag only
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def gateway() -> AsyncIterator[Callable[..., Awaitable[tuple[int, RawUpstream]]]]:
    async with AsyncExitStack() as stack:

        async def start(*scripts: Any) -> tuple[int, RawUpstream]:
            server = await stack.enter_async_context(RawUpstream(*scripts))
            upstream = Upstream(server.url, timeouts=UpstreamTimeouts(first_byte_s=60, idle_s=60))
            stack.push_async_callback(upstream.aclose)
            return await stack.enter_async_context(front(forwarder(upstream))), server

        yield start


async def talk(port: int, request: bytes) -> bytes:
    """Send, then read until the gateway hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


async def test_a_request_and_its_answer_pass_through(gateway):
    port, server = await gateway(answering(OK))
    request = b"POST /a%20b?c=%2f HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello"
    answer = await talk(port, request)
    assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 tiergate\r\nconnection: close\r\n\r\nok"
    (seen,) = server.requests
    assert (seen.line, seen.body) == (b"POST /a%20b?c=%2f HTTP/1.1", b"hello")
    assert seen.field(b"x-a") == b"1"
    assert seen.field(b"x-forwarded-host") == b"x"
    assert seen.field(b"connection") is None


async def test_a_truncated_response_reaches_the_caller_truncated(gateway, caplog):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKS + b"5\r\nhello\r\n")
        await asyncio.sleep(0.05)
        await peer.close()

    port, _ = await gateway(script)
    answer = await talk(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"5\r\nhello\r\n")
    caplog.clear()


async def test_an_early_refusal_reaches_a_caller_in_mid_upload(gateway):
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.until_closed()

    port, _ = await gateway(script)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 70_000)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    assert head.startswith(b"HTTP/1.1 413")
    assert await reader.readexactly(3) == b"big"
    writer.close()


async def test_a_caller_that_hangs_up_ends_the_exchange_long_before_its_time(gateway):
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.until_closed()
        left.set()

    port, _ = await gateway(script)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asked.wait()
    writer.close()
    await asyncio.wait_for(left.wait(), 30)


async def test_a_caller_that_hangs_up_in_mid_upload_ends_the_exchange_long_before_its_time(gateway):
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.until_closed()
        left.set()

    port, _ = await gateway(script)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
    await asked.wait()
    writer.close()
    await asyncio.wait_for(left.wait(), 30)


async def test_two_hundred_megabytes_pass_through_each_way_in_bounded_memory(gateway):
    size, part = 200_000_000, b"x" * 100_000

    async def script(peer: Peer) -> None:
        request = await peer.head()
        left = int(request.field(b"content-length") or 0)
        while left:
            left -= len(await peer.reader.read(min(left, 2**18)))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(part)):
            await peer.send(part)
        await peer.until_closed()

    port, _ = await gateway(script)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**18)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
    for _ in range(size // len(part)):
        writer.write(part)
        await writer.drain()
    await reader.readuntil(b"\r\n\r\n")
    received = 0
    while data := await reader.read(2**18):
        received += len(data)
    writer.close()
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert received == size
    assert grown_kb < 20_000  # the test's own two ends included


async def test_tls_is_spoken_and_connections_are_reused(tmp_path):
    seen: list[str | None] = []
    context, _ = certificate("localhost", tmp_path)
    context.sni_callback = lambda _sock, name, _context: seen.append(name)
    async with RawUpstream(answering(OK), ssl_context=context) as server:
        upstream = Upstream(server.url, ca_file=tmp_path / "certificate.pem")
        for _ in range(3):
            caller = AsgiCaller()
            request = ExchangeRequest(method="GET", target=b"/", lines=[])
            await relayed(upstream, request, caller.receive, caller.send, max_body=0)
            assert caller.body == b"ok"
        await upstream.aclose()
    assert seen[0] == "localhost"
    assert len(seen) <= 2  # the first may be given up for a session ticket that had not been read


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_that_does_not_fit_is_never_accepted(tmp_path, trusted):
    context, _ = certificate("elsewhere.example" if trusted else "localhost", tmp_path)
    async with RawUpstream(answering(OK), ssl_context=context) as server:
        upstream = Upstream(server.url, ca_file=tmp_path / "certificate.pem" if trusted else None)
        caller = AsgiCaller()
        request = ExchangeRequest(method="GET", target=b"/", lines=[])
        with pytest.raises(UpstreamUnreachable):
            await relayed(upstream, request, caller.receive, caller.send, max_body=0)
        await upstream.aclose()
        assert server.requests == []
