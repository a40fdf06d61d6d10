"""What callers that leave, stall and read slowly can do."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.http_body import CHUNKED
from gateway.upstream import ClientFaulty, ClientLeft, Exchange, ExchangeBroken, ExchangeRequest, UpstreamTimeouts
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.raw_upstream import Peer

CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Watched:
    """A script that never ends by itself, and when the gateway hung up on it."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        await peer.head()
        self.asked.set()
        if self.answer:
            await peer.send(self.answer)
        await peer.until_closed()
        self.left.set()


async def test_a_caller_that_leaves_before_the_answer_ends_the_exchange(serve):
    script = Watched()
    rig = await serve(script)
    caller = AsgiCaller()
    asking = asyncio.create_task(rig.ask(caller))
    await script.asked.wait()
    caller.leave()
    with pytest.raises(ClientLeft):
        await asking
    await script.left.wait()


async def test_a_caller_that_leaves_in_mid_response_ends_the_exchange(serve):
    script = Watched(CHUNKS + b"5\r\nhello\r\n")
    rig = await serve(script)
    caller = AsgiCaller()
    asking = asyncio.create_task(rig.ask(caller))
    await caller.got_body.wait()
    caller.leave()
    _, outcome = await asking
    await script.left.wait()
    assert (outcome.ended, outcome.response_bytes) == ("client-left", 5)


async def test_a_caller_that_leaves_an_endless_stream_ends_it(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        try:
            await peer.send(CHUNKS)
            while True:
                await peer.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        except ConnectionError:
            pass

    rig = await serve(script)
    caller = AsgiCaller()
    asking = asyncio.create_task(rig.ask(caller))
    await caller.got_body.wait()
    caller.leave()
    _, outcome = await asyncio.wait_for(asking, 30)
    assert outcome.ended == "client-left"


async def test_a_caller_that_leaves_in_mid_upload_ends_the_exchange_at_once(serve):
    script = Watched()
    rig = await serve(script)
    caller = AsgiCaller(b"part", more=True)
    asking = asyncio.create_task(rig.ask(caller, method="POST", framing=CHUNKED))
    await script.asked.wait()
    caller.leave()
    with pytest.raises(ClientLeft):
        await asking
    await asyncio.wait_for(script.left.wait(), 30)


async def test_a_caller_that_leaves_before_its_body_opens_no_connection(serve):
    rig = await serve(Watched())
    caller = AsgiCaller(b"", more=True)
    caller.leave()
    with pytest.raises(ClientLeft):
        await rig.ask(caller, method="POST", framing=5)
    assert rig.server.accepted == 0


async def test_a_caller_that_leaves_while_it_waits_for_a_connection_is_forgotten(serve):
    script = Watched()
    rig = await serve(script, max_connections=1)
    first, second = AsgiCaller(), AsgiCaller()
    holding = asyncio.create_task(rig.ask(first))
    await script.asked.wait()
    waiting = asyncio.create_task(rig.ask(second))
    while not rig.upstream.stats.waited:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0)
    second.leave()
    with pytest.raises(ClientLeft):
        await asyncio.wait_for(waiting, 30)
    first.leave()
    with pytest.raises(ClientLeft):
        await holding


async def test_a_caller_that_stops_sending_is_cut_off(serve):
    rig = await serve(Watched(), timeouts=UpstreamTimeouts(idle_s=0.2))
    with pytest.raises(ClientFaulty):
        await rig.ask(AsgiCaller(b"part", more=True), method="POST", framing=CHUNKED)
    with pytest.raises(ClientFaulty):
        await rig.ask(AsgiCaller(b"", more=True), method="POST", framing=CHUNKED)


async def _large(peer: Peer) -> None:
    await peer.head()
    try:
        await peer.send(CHUNKS + b"7fffffff\r\n")
        while True:
            await peer.send(b"x" * 65_536)
    except ConnectionError:
        pass


async def test_a_caller_that_stops_reading_is_cut_off(serve):
    rig = await serve(_large, timeouts=UpstreamTimeouts(idle_s=0.2))
    caller = AsgiCaller()
    asking = asyncio.create_task(rig.ask(caller))
    await caller.got_body.wait()
    caller.reading.clear()
    with pytest.raises(ExchangeBroken) as broken:
        await asking
    assert broken.value.outcome.ended == "client-left"


async def test_a_caller_that_stops_reading_at_the_end_is_cut_off_and_holds_no_connection(serve):
    caller = AsgiCaller()
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(CHUNKS + b"3\r\none\r\n")
        await go.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await peer.until_closed()

    rig = await serve(script, timeouts=UpstreamTimeouts(idle_s=0.3))
    asking = asyncio.create_task(rig.ask(caller))
    await caller.got_body.wait()
    caller.reading.clear()
    go.set()
    while not rig.upstream.stats.idle_connections:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0.01)
    with pytest.raises(ExchangeBroken):
        await asking


async def test_cancelling_the_exchange_closes_its_connection(serve):
    script = Watched(CHUNKS + b"5\r\nhello\r\n")
    rig = await serve(script)
    caller = AsgiCaller()
    asking = asyncio.create_task(rig.ask(caller))
    await caller.got_body.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(script.left.wait(), 30)


async def test_what_a_slow_caller_has_not_read_stays_with_the_upstream(serve):
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        try:
            await peer.send(CHUNKS + b"7fffffff\r\n")
            while True:
                await peer.send(b"x" * 65_536)
                sent += 65_536
        except ConnectionError:
            pass

    rig = await serve(script)
    caller = AsgiCaller()
    asking = asyncio.create_task(rig.ask(caller))
    await caller.got_body.wait()
    caller.reading.clear()
    still = -1
    while sent != still:
        still = sent
        await asyncio.sleep(0.1)
    received = sum(map(len, caller.parts))
    assert sent - received < 32 * 2**20  # the rest is in socket buffers
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_a_caller_that_reads_on_before_its_request_is_sent_changes_nothing():
    request = ExchangeRequest(method="POST", target=b"/", lines=[], body_framing=5)
    Exchange(request, on_start=lambda head: head.lines, max_body=9).unblocked()
