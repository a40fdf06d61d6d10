"""Connections: how many, how long, and for whom."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import UpstreamBusy, UpstreamUnreachable
from gateway.upstream import UpstreamTimeouts
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.raw_upstream import Peer, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_one_connection_serves_requests_that_follow_each_other(serve):
    rig = await serve(answering(OK))
    for _ in range(20):
        await rig.ask()
    stats = rig.upstream.stats
    assert (stats.opened, stats.reused, stats.open_connections, stats.idle_connections) == (1, 19, 1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="close"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", id="close-among-others"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", id="old-version"),
        pytest.param(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok", id="about-to-close"),
    ],
)
async def test_a_connection_that_the_upstream_will_close_is_not_kept(serve, answer):
    rig = await serve(answering(answer))
    for _ in range(2):
        caller, _ = await rig.ask()
        assert caller.body == b"ok"
    assert (rig.server.accepted, rig.upstream.stats.idle_connections) == (2, 0)


async def test_no_more_connections_than_allowed_and_nobody_is_lost(serve):
    all_busy = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        if len(rig.server.requests) == 3:
            all_busy.set()
        await all_busy.wait()
        await peer.send(OK)
        await answering(OK)(peer)

    rig = await serve(script, max_connections=3)
    results = await asyncio.gather(*(rig.ask() for _ in range(50)))
    assert {caller.body for caller, _ in results} == {b"ok"}
    assert (rig.server.accepted, rig.upstream.stats.waited) == (3, 47)


async def test_a_request_waits_for_a_connection_and_no_longer_than_allowed(serve):
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(OK)
        await answering(OK)(peer)

    rig = await serve(script, max_connections=1, timeouts=UpstreamTimeouts(pool_wait_s=1))
    holding = asyncio.create_task(rig.ask())
    while not rig.server.requests:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0)
    with pytest.raises(UpstreamBusy):
        await rig.ask()
    waiting = asyncio.create_task(rig.ask())
    await asyncio.sleep(0)
    release.set()
    await holding
    caller, _ = await waiting
    assert (caller.body, rig.server.accepted) == (b"ok", 1)


async def test_a_place_that_a_broken_connection_leaves_goes_to_whoever_waits(serve):
    async def closes(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        await peer.close()

    rig = await serve(closes, max_connections=2)
    results = await asyncio.gather(*(rig.ask() for _ in range(20)))
    assert {caller.body for caller, _ in results} == {b"ok"}
    assert rig.server.accepted == 20


async def test_requests_that_give_up_waiting_do_not_hold_places(serve):
    rig = await serve(answering(OK), max_connections=1)
    asking = [asyncio.create_task(rig.ask()) for _ in range(20)]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 10
    caller, _ = await rig.ask()
    assert caller.body == b"ok"
    assert rig.upstream.stats.open_connections == 1


async def test_an_idle_connection_is_closed_after_its_time(serve):
    rig = await serve(answering(OK), keepalive_s=0.1)
    await rig.ask()
    assert rig.upstream.stats.idle_connections == 1
    while rig.upstream.stats.open_connections:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0.01)
    assert rig.upstream.stats.expired == 1
    assert rig.upstream.pool._timer is None or rig.upstream.pool._timer.when() > 0


async def test_no_keep_alive_time_keeps_no_connection(serve):
    rig = await serve(answering(OK), keepalive_s=0)
    await rig.ask()
    await rig.ask()
    assert (rig.server.accepted, rig.upstream.stats.idle_connections) == (2, 0)


async def test_closing_ends_what_goes_on_and_refuses_what_comes(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    rig = await serve(script, max_connections=1)
    holding = asyncio.create_task(rig.ask())
    while not rig.server.requests:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0)
    waiting = asyncio.create_task(rig.ask())
    await asyncio.sleep(0)
    await rig.upstream.aclose()
    for task in (holding, waiting):
        with pytest.raises(UpstreamUnreachable):
            await task
    with pytest.raises(UpstreamUnreachable):
        await rig.ask()


async def test_quick_exchanges_need_no_second_look_at_the_caller(serve):
    rig = await serve(answering(OK))
    await rig.ask()
    caller = AsgiCaller()
    await rig.ask(caller)
    assert caller.receives == 0


async def test_many_exchanges_at_once_get_their_own_answers(serve):
    async def echo(peer: Peer) -> None:
        while True:
            try:
                request = await peer.request()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            target = request.line.split()[1]
            if hash(target) % 3 == 0:
                await asyncio.sleep(0)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    patient = UpstreamTimeouts(connect_s=60, first_byte_s=60, idle_s=60, pool_wait_s=60)
    rig = await serve(echo, max_connections=8, timeouts=patient)
    targets = [b"/%d" % number for number in range(300)]
    results = await asyncio.gather(*(rig.ask(target=target) for target in targets))
    assert [caller.body for caller, _ in results] == targets
