"""Time-outs that one request brings along: they hold instead of its server's, shorter or longer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.core.errors import UpstreamTimeout
from gateway.core.http_body import CHUNKED
from gateway.upstream import ClientFaulty, ExchangeRequest, Upstream, UpstreamTimeouts
from gateway.upstream.errors import NotConnected
from tests.fakes.alone import relayed
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.raw_upstream import Peer, RawUpstream, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LONG = UpstreamTimeouts(connect_s=30, first_byte_s=30, idle_s=30)


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
        yield listening.getsockname()[1]


async def ask(upstream: Upstream, timeouts: UpstreamTimeouts, caller: AsgiCaller | None = None, framing=None):
    caller = caller or AsgiCaller()
    request = ExchangeRequest(method="POST", target=b"/", lines=[], body_framing=framing, timeouts=timeouts)
    return await relayed(
        upstream,
        request,
        caller.receive,
        caller.send,
    )


async def silence(peer: Peer) -> None:
    await peer.head()
    await peer.until_closed()


async def test_short_ones_are_kept_to_the_moment_although_the_servers_are_long():
    loop = asyncio.get_running_loop()
    async with RawUpstream(silence) as server:
        upstream = Upstream(server.url, timeouts=LONG)
        took_s = []
        for _ in range(10):
            began_at = loop.time()
            with pytest.raises(UpstreamTimeout):
                await ask(upstream, UpstreamTimeouts(first_byte_s=0.02))
            took_s.append(loop.time() - began_at)
        assert min(took_s) < 0.2, "each took 0.25 s, if the servers' were looked at as seldom as before"
        await upstream.aclose()


async def test_after_them_the_servers_connections_are_looked_at_as_seldom_as_before():
    async with RawUpstream(silence, answering(OK)) as server:
        upstream = Upstream(server.url, timeouts=LONG)
        usual_s = upstream.pool.tick_s
        with pytest.raises(UpstreamTimeout):
            await ask(upstream, UpstreamTimeouts(first_byte_s=0.1))
        assert upstream.pool.tick_s < usual_s
        await ask(upstream, LONG)
        while upstream.pool.tick_s != usual_s:  # noqa: ASYNC110 - the pool signals nothing
            await asyncio.sleep(0.01)
        await upstream.aclose()


async def test_a_request_waits_no_longer_for_its_connection_than_it_says(silent):
    upstream = Upstream(f"http://127.0.0.1:{silent}", timeouts=LONG)
    async with asyncio.timeout(20):
        with pytest.raises(NotConnected):
            await ask(upstream, UpstreamTimeouts(connect_s=0.05))
    await upstream.aclose()


async def test_a_request_may_wait_longer_for_its_connection_than_its_server_says(silent):
    upstream = Upstream(f"http://127.0.0.1:{silent}", timeouts=UpstreamTimeouts(connect_s=0.05))
    asking = asyncio.create_task(ask(upstream, UpstreamTimeouts(connect_s=30)))
    await asyncio.sleep(0.3)
    assert not asking.done()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await upstream.aclose()


async def test_a_body_that_stops_before_anybody_was_asked_is_waited_for_no_longer_than_it_says():
    async with RawUpstream(silence) as server:
        upstream = Upstream(server.url, timeouts=LONG)
        caller = AsgiCaller(b"x", more=True)
        async with asyncio.timeout(20):
            with pytest.raises(ClientFaulty, match="stopped sending"):
                await ask(upstream, UpstreamTimeouts(idle_s=0.05), caller, framing=100)
        assert server.accepted == 0
        await upstream.aclose()


async def test_the_whole_time_begins_with_the_body_and_its_end_speaks_against_who_is_waited_for():
    """A caller who sends slowly must not have a healthy server left alone."""
    async with RawUpstream(silence) as server:
        upstream = Upstream(server.url, timeouts=LONG)
        for body, error in ((AsgiCaller(b"x", more=True), ClientFaulty), (AsgiCaller(b"x"), UpstreamTimeout)):
            async with asyncio.timeout(20):
                with pytest.raises(error):
                    await ask(
                        upstream, UpstreamTimeouts(total_s=0.05), body, framing=1 if error is UpstreamTimeout else 9
                    )
        dribbling = AsgiCaller(b"x", more=True)

        async def dribble():
            while True:
                dribbling.feed(b"x")
                await asyncio.sleep(0.01)

        feeding = asyncio.create_task(dribble())
        async with asyncio.timeout(20):
            with pytest.raises(ClientFaulty):
                await ask(upstream, UpstreamTimeouts(total_s=0.2), dribbling, framing=CHUNKED)
        feeding.cancel()
        await upstream.aclose()


async def test_waiting_for_a_connection_is_part_of_the_whole_time(silent):
    upstream = Upstream(f"http://127.0.0.1:{silent}", timeouts=LONG)
    async with asyncio.timeout(20):
        with pytest.raises(UpstreamTimeout, match="longer than it may"):
            await ask(upstream, UpstreamTimeouts(connect_s=30, total_s=0.1))
    await upstream.aclose()
