"""Responses that are read on without their caller, because what is behind the body is needed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.core.http_body import CHUNKED
from gateway.upstream import (
    ExchangeBroken,
    ExchangeCancelled,
    ExchangeRequest,
    UpstreamTimeouts,
)
from gateway.upstream.reading_on import READ_ON_BYTES
from tests.fakes.alone import relayed
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.raw_upstream import Peer

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
END = b"5\r\nlater\r\n0\r\nX-Cost: 7\r\n\r\n"


_TOLD = 2
"""How often a caller without a body is asked, when it has said that it left."""


class Stream:
    """A response whose second part comes when `go` is set."""

    def __init__(self, rest: bytes = END) -> None:
        self.rest = rest
        self.asked = 0
        self.go = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await peer.head()
                self.asked += 1
                await peer.send(HEAD)
                await self.go.wait()
                await peer.send(self.rest)
                if not self.rest.endswith(b"\r\n\r\n"):
                    await peer.close()
                    break
        self.left.set()


def needed() -> bool:
    return True


async def start(rig, caller, *, needs_end=needed, **options):
    """Ask for a stream, and leave after its first part."""
    asking = asyncio.create_task(rig.ask(caller, needs_end=needs_end, **options))
    await caller.got_body.wait()
    return asking


async def leave(rig, caller, *, needs_end=needed, **options):
    asking = await start(rig, caller, needs_end=needs_end, **options)
    caller.leave()
    while caller.receives < _TOLD:  # noqa: ASYNC110 - the exchange hears of it in that turn, and signals nothing
        await asyncio.sleep(0.001)
    return asking


async def test_the_rest_is_read_and_thrown_away_and_the_connection_used_again(serve):
    script = Stream()
    rig = await serve(script)
    caller = AsgiCaller()
    asking = await leave(rig, caller)
    script.go.set()
    _, outcome = await asking
    assert (outcome.ended, outcome.response_bytes, outcome.trailers) == ("client-left", 5, [b"X-Cost: 7"])
    assert caller.body == b"hello"
    await rig.ask()
    assert (script.asked, rig.server.accepted) == (2, 1)


async def test_an_end_with_nothing_behind_it_is_an_end(serve):
    script = Stream(b"0\r\n\r\n")
    rig = await serve(script)
    asking = await leave(rig, AsgiCaller())
    script.go.set()
    _, outcome = await asking
    assert (outcome.ended, outcome.trailers) == ("client-left", ())


@pytest.mark.parametrize(
    ("rest", "ended"), [(b"", "upstream-broke"), (b"5\r\nlat", "upstream-broke"), (b"z\r\n\r\n", "upstream-broke")]
)
async def test_an_upstream_that_breaks_it_off_has_broken_it_off(serve, rest, ended):
    script = Stream(rest)
    rig = await serve(script)
    asking = await leave(rig, AsgiCaller())
    script.go.set()
    _, outcome = await asking
    assert (outcome.ended, outcome.trailers) == (ended, None)


@pytest.mark.parametrize(
    ("timeouts", "ended"),
    [
        (UpstreamTimeouts(read_on_s=0.1), "client-left"),
        (UpstreamTimeouts(idle_s=1), "timeout"),
        (UpstreamTimeouts(total_s=1), "timeout"),
    ],
    ids=["its own time", "silence", "the time of the whole"],
)
async def test_it_ends_by(serve, timeouts, ended):
    script = Stream()
    rig = await serve(script, timeouts=timeouts)
    _, outcome = await (await leave(rig, AsgiCaller()))
    assert (outcome.ended, outcome.trailers) == (ended, None)
    assert rig.upstream.stats.idle_connections == 0
    script.go.set()
    await script.left.wait()


async def test_it_ends_by_its_size(serve):
    size = READ_ON_BYTES + 1
    script = Stream(b"%x\r\n" % size + b"x" * size)
    rig = await serve(script)
    asking = await leave(rig, AsgiCaller())
    script.go.set()
    _, outcome = await asking
    assert (outcome.ended, outcome.response_bytes, outcome.trailers) == ("client-left", 5, None)


NOT_READ_ON = {
    "because nothing behind it is needed": {"needs_end": lambda: False},
    "because nobody ever needs it": {"needs_end": None},
    "because policy does not wait": {"timeouts": UpstreamTimeouts(read_on_s=0)},
}


@pytest.mark.parametrize("case", NOT_READ_ON)
async def test_it_is_closed_at_once(serve, case):
    options = dict(NOT_READ_ON[case])
    rig = await serve(Stream(), **({"timeouts": options.pop("timeouts")} if "timeouts" in options else {}))
    asking = await leave(rig, AsgiCaller(), **options)
    _, outcome = await asyncio.wait_for(asking, 30)
    assert (outcome.ended, outcome.trailers) == ("client-left", None)


async def test_it_is_closed_at_once_if_its_caller_had_not_sent_all(serve):
    rig = await serve(Stream())
    caller = AsgiCaller(b"part", more=True)
    asking = await start(rig, caller, method="POST", framing=CHUNKED)
    caller.leave()
    _, outcome = await asyncio.wait_for(asking, 30)
    assert (outcome.ended, outcome.trailers) == ("client-left", None)


async def test_a_body_with_a_length_has_nothing_behind_it(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await peer.until_closed()

    rig = await serve(script)
    _, outcome = await asyncio.wait_for(await leave(rig, AsgiCaller()), 30)
    assert (outcome.ended, outcome.trailers) == ("client-left", None)


async def test_a_caller_that_does_not_read_is_cut_and_the_rest_read_without_it(serve):
    size = 1_000_000
    script = Stream(b"%x\r\n" % size + b"x" * size + b"\r\n" + END)
    rig = await serve(script, timeouts=UpstreamTimeouts(idle_s=0.3))
    caller = AsgiCaller()
    asking = await start(rig, caller)
    caller.reading.clear()
    script.go.set()
    with pytest.raises(ExchangeBroken) as broken:
        await asking
    outcome = broken.value.outcome
    assert (outcome.ended, outcome.trailers) == ("client-left", [b"X-Cost: 7"])


async def test_a_server_that_says_by_an_error_that_its_caller_has_left_is_understood(serve):
    script = Stream()
    rig = await serve(script)

    async def send(message: dict[str, object]) -> None:
        if message.get("body"):
            script.go.set()
            raise OSError("gone")

    request = ExchangeRequest("GET", b"/", [])
    outcome = await relayed(rig.upstream, request, AsgiCaller().receive, send, max_body=0, needs_end=needed)
    assert (outcome.ended, outcome.trailers) == ("client-left", [b"X-Cost: 7"])


async def test_a_gateway_that_stops_ends_it(serve):
    script = Stream()
    rig = await serve(script)
    asking = await leave(rig, AsgiCaller())
    await rig.upstream.aclose()
    _, outcome = await asking
    assert (outcome.ended, outcome.trailers) == ("upstream-broke", None)
    script.go.set()


async def test_a_task_that_is_cancelled_says_how_far_it_came(serve):
    script = Stream()
    rig = await serve(script)
    asking = await leave(rig, AsgiCaller())
    for _ in range(10):  # turns of the loop, until it waits for the rest
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(ExchangeCancelled) as cancelled:
        await asking
    assert (cancelled.value.outcome.ended, cancelled.value.outcome.trailers) == ("upstream-broke", None)
    script.go.set()
