"""What upstreams that lie, stall, truncate and hang up can do: nothing to anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

from gateway.core.errors import UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from gateway.core.http_body import CHUNKED
from gateway.upstream import ExchangeBroken, ExchangeRequest, Upstream, UpstreamTimeouts
from tests.fakes.alone import relayed
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.raw_upstream import Peer, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
START = b"HTTP/1.1 200 OK\r\n"
CHUNKS = START + b"Transfer-Encoding: chunked\r\n\r\n"
SECRET = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            START + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="length-and-coding"
        ),
        pytest.param(
            START + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", id="coding-and-length"
        ),
        pytest.param(START + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", id="two-lengths"),
        pytest.param(START + b"Content-Length: 5, 6\r\n\r\nhello", id="two-lengths-in-one-field"),
        pytest.param(START + b"Content-Length: -1\r\n\r\n", id="negative-length"),
        pytest.param(START + b"Content-Length: 0x5\r\n\r\nhello", id="hex-length"),
        pytest.param(START + b"Content-Length:\r\n\r\nhello", id="empty-length"),
        pytest.param(START + b"Content-Length: 99999999999999999999999\r\n\r\nhello", id="huge-length"),
        pytest.param(START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", id="two-codings"),
        pytest.param(START + b"Transfer-Encoding: identity\r\n\r\nhello", id="identity-coding"),
        pytest.param(START + b"Transfer-Encoding: xchunked\r\n\r\nhello", id="look-alike-coding"),
        pytest.param(
            START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="coding-twice"
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="coding-in-1.0"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", id="bare-line-feeds"),
        pytest.param(START + b"A: b\nContent-Length: 2\r\n\r\nok", id="one-bare-line-feed"),
        pytest.param(START + b"A: b\rC: d\r\nContent-Length: 2\r\n\r\nok", id="bare-carriage-return"),
        pytest.param(START + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nok", id="folded-field"),
        pytest.param(START + b"A : b\r\nContent-Length: 2\r\n\r\nok", id="space-before-colon"),
        pytest.param(START + b"A: b\0c\r\nContent-Length: 2\r\n\r\nok", id="nul"),
        pytest.param(START + b"nonsense\r\n\r\n", id="no-colon"),
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="another-version"),
        pytest.param(b"HTTP/1.1 99 Odd\r\nContent-Length: 2\r\n\r\nok", id="status-too-short"),
        pytest.param(b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok", id="status-too-low"),
        pytest.param(b"HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok", id="status-too-high"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz", id="switch-unasked"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", id="switch-to-nothing"),
        pytest.param(b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + OK, id="interim-with-body"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, id="interim-without-end"),
        pytest.param(START + b"X: " + b"y" * 70_000 + b"\r\n\r\n", id="head-too-long"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", id="tls-on-a-plain-port"),
    ],
)
async def test_an_ambiguous_head_is_an_invalid_response(serve, answer):
    rig = await serve(answering(answer), answering(OK))
    caller = AsgiCaller()
    with pytest.raises(UpstreamInvalid):
        await rig.ask(caller)
    assert caller.status is None
    caller, _ = await rig.ask()
    assert (caller.body, rig.server.accepted) == (b"ok", 2)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", id="space-after-size"),
        pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", id="prefixed-size"),
        pytest.param(b"+5\r\nhello\r\n0\r\n\r\n", id="signed-size"),
        pytest.param(b"\r\nhello\r\n0\r\n\r\n", id="no-size"),
        pytest.param(b"5\nhello\r\n0\r\n\r\n", id="bare-line-feed"),
        pytest.param(b"5;a\nb\r\nhello\r\n0\r\n\r\n", id="line-feed-in-extension"),
        pytest.param(b"5\r\nhello!\r\n0\r\n\r\n", id="chunk-too-long"),
        pytest.param(b"5\r\nhello\n0\r\n\r\n", id="bare-line-feed-after-chunk"),
        pytest.param(b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n", id="huge-size"),
        pytest.param(b"5;" + b"a" * 9000 + b"\r\nhello\r\n0\r\n\r\n", id="endless-extension"),
        pytest.param(b"0\r\nno colon\r\n\r\n", id="malformed-trailer"),
        pytest.param(b"0\r\n" + b"a: b\r\n" * 9000 + b"\r\n", id="endless-trailers"),
    ],
)
async def test_a_broken_chunk_breaks_the_exchange(serve, body):
    caller = AsgiCaller()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(CHUNKS)
        await caller.started.wait()
        await peer.send(body)
        await peer.until_closed()

    rig = await serve(script, answering(OK))
    with pytest.raises(ExchangeBroken) as broken:
        await rig.ask(caller)
    assert broken.value.outcome.ended == "upstream-broke"
    assert not caller.ended.is_set()
    caller, _ = await rig.ask()
    assert caller.body == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"\r\n", id="empty-line"),
        pytest.param(OK + b"\r", id="half-a-line"),
        pytest.param(OK + SECRET, id="second-answer"),
        pytest.param(CHUNKS + b"2\r\nok\r\n0\r\n\r\n\r\n", id="empty-line-after-chunks"),
        pytest.param(CHUNKS + b"2\r\nok\r\n0\r\n\r\n" + SECRET, id="second-answer-after-chunks"),
        pytest.param(START + b"Content-Length: 2\r\n\r\nokX", id="longer-than-its-length"),
    ],
)
async def test_what_follows_a_response_never_answers_the_next_request(serve, answer):
    rig = await serve(answering(answer), answering(START + b"Content-Length: 4\r\n\r\nmine"))
    caller, outcome = await rig.ask()
    assert (caller.body, outcome.ended) == (b"ok", "complete")
    caller, _ = await rig.ask()
    assert (caller.body, rig.server.accepted) == (b"mine", 2)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"200 OK"])
async def test_a_body_where_there_can_be_none_never_answers_the_next_request(serve, status):
    method = "HEAD" if status[:1] == b"2" else "GET"
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 45\r\n\r\n" + SECRET
    rig = await serve(answering(answer), answering(OK))
    caller, _ = await rig.ask(method=method)
    assert caller.body == b""
    caller, _ = await rig.ask()
    assert (caller.body, rig.server.accepted) == (b"ok", 2)


async def test_bytes_on_an_idle_connection_never_answer_the_next_request(serve):
    go = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await go.wait()
        await peer.send(SECRET)
        await peer.until_closed()

    rig = await serve(late, answering(OK))
    await rig.ask()
    go.set()
    while rig.upstream.stats.open_connections:  # noqa: ASYNC110 - looks at the pool's own figures, which signal nothing
        await asyncio.sleep(0)
    caller, _ = await rig.ask()
    assert (caller.body, rig.server.accepted) == (b"ok", 2)


async def test_bytes_that_the_loop_has_not_read_yet_never_answer_the_next_request(serve):
    """The stray answer is in the socket, and the next request comes before the loop looks."""
    peers: list[Peer] = []

    async def remember(peer: Peer) -> None:
        peers.append(peer)
        await answering(OK)(peer)

    rig = await serve(remember, answering(START + b"Content-Length: 4\r\n\r\nmine"))
    await rig.ask()
    with peers[0].own_socket() as sock:
        sock.send(SECRET)
    caller, _ = await rig.ask()
    assert (caller.body, rig.server.accepted) == (b"mine", 2)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(START + b"Content-Length: 10\r\n\r\nhello", id="sized"),
        pytest.param(CHUNKS + b"5\r\nhello\r\n", id="before-last-chunk"),
        pytest.param(CHUNKS + b"9\r\nhello", id="inside-a-chunk"),
        pytest.param(CHUNKS + b"5\r\nhello\r\n0\r\n", id="inside-the-last-chunk"),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_truncation_is_never_a_clean_end(serve, answer, reset):
    caller = AsgiCaller()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await caller.got_body.wait()
        if reset:
            peer.reset()
        else:
            await peer.close()

    rig = await serve(script)
    with pytest.raises(ExchangeBroken) as broken:
        await rig.ask(caller)
    assert (caller.body, caller.ended.is_set()) == (b"hello", False)
    assert (broken.value.outcome.status, broken.value.outcome.response_bytes) == (200, 5)


async def test_a_reset_is_no_end_of_an_unframed_body(serve):
    caller = AsgiCaller()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(START + b"\r\nhello")
        await caller.got_body.wait()
        peer.reset()

    rig = await serve(script)
    with pytest.raises(ExchangeBroken):
        await rig.ask(caller)
    assert not caller.ended.is_set()


async def test_a_head_that_breaks_off_is_an_invalid_response(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nConte")
        await peer.close()

    rig = await serve(script)
    with pytest.raises(UpstreamInvalid):
        await rig.ask()


async def test_a_new_connection_that_closes_unanswered_is_not_tried_again(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.close()

    rig = await serve(script)
    with pytest.raises(UpstreamUnreachable):
        await rig.ask()
    assert rig.server.accepted == 1


async def _dies_on_the_second_request(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK)
    await peer.head()
    peer.reset()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_a_kept_connection_that_dies_is_replaced_for_an_idempotent_request(serve, method):
    rig = await serve(_dies_on_the_second_request, answering(OK))
    await rig.ask()
    caller, _ = await rig.ask(method=method)
    assert (caller.status, rig.server.accepted) == (200, 2)


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [("POST", b"", None), ("POST", b"", 0), ("PATCH", b"", None), ("PUT", b"data", 4), ("PUT", b"data", CHUNKED)],
)
async def test_a_request_that_may_have_had_effect_is_never_sent_twice(serve, method, body, framing):
    rig = await serve(_dies_on_the_second_request, answering(OK))
    await rig.ask()
    with pytest.raises(UpstreamUnreachable):
        await rig.ask(AsgiCaller(body), method=method, framing=framing)
    assert (rig.server.accepted, len(rig.server.requests)) == (1, 2)


async def test_nothing_is_sent_twice_once_a_response_byte_has_come(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")
        await peer.close()

    rig = await serve(script, answering(OK))
    await rig.ask()
    with pytest.raises(UpstreamInvalid):
        await rig.ask()
    assert rig.server.accepted == 1


async def test_a_connection_closed_while_idle_is_not_used_even_for_a_post(serve):
    peers: list[Peer] = []

    async def closes(peer: Peer) -> None:
        peers.append(peer)
        await peer.request()
        await peer.send(OK)
        await peer.until_closed()

    rig = await serve(closes, answering(OK))
    await rig.ask()
    with peers[0].own_socket() as sock:
        sock.shutdown(socket.SHUT_WR)  # the close is in the kernel, the loop has not seen it
    caller, _ = await rig.ask(AsgiCaller(b"x"), method="POST", framing=1)
    assert (caller.status, rig.server.accepted) == (200, 2)


async def test_a_refused_connection_is_unreachable_after_one_more_try(serve):
    rig = await serve(answering(OK))
    await rig.server.stop_listening()
    with pytest.raises(UpstreamUnreachable):
        await rig.ask()
    assert rig.upstream.stats.connect_failures == 2


async def test_a_name_that_does_not_resolve_is_unreachable():
    upstream = Upstream("http://does-not-exist.invalid:1")
    caller = AsgiCaller()
    request = ExchangeRequest(method="GET", target=b"/", lines=[])
    with pytest.raises(UpstreamUnreachable):
        await relayed(upstream, request, caller.receive, caller.send, max_body=0)
    await upstream.aclose()


async def _answers_never(peer: Peer) -> None:
    await peer.head()
    await peer.until_closed()


async def test_an_upstream_that_does_not_answer_times_out(serve):
    rig = await serve(_answers_never, timeouts=UpstreamTimeouts(first_byte_s=0.2))
    began_at = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        await rig.ask()
    assert time.monotonic() - began_at >= 0.2


async def test_a_head_that_drips_does_not_extend_its_time(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        with contextlib.suppress(ConnectionError):
            for byte in OK:
                await peer.send(bytes((byte,)))
                await asyncio.sleep(0.05)

    rig = await serve(script, timeouts=UpstreamTimeouts(first_byte_s=0.3))
    with pytest.raises(UpstreamTimeout):
        await rig.ask()


async def test_a_body_that_stalls_breaks_the_exchange(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(START + b"Content-Length: 10\r\n\r\nhello")
        await peer.until_closed()

    rig = await serve(script, timeouts=UpstreamTimeouts(idle_s=0.2))
    caller = AsgiCaller()
    with pytest.raises(ExchangeBroken) as broken:
        await rig.ask(caller)
    assert (broken.value.outcome.ended, caller.body) == ("timeout", b"hello")


async def test_a_stream_that_goes_on_outlives_the_idle_time(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKS)
        for _ in range(6):
            await asyncio.sleep(0.25)
            await peer.send(b"1\r\nx\r\n")
        await peer.send(b"0\r\n\r\n")
        await peer.until_closed()

    rig = await serve(script, timeouts=UpstreamTimeouts(idle_s=1.2))
    caller, _ = await rig.ask()
    assert caller.body == b"xxxxxx"


async def test_the_total_time_ends_even_a_stream_that_goes_on(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKS)
        while True:
            await asyncio.sleep(0.02)
            await peer.send(b"1\r\nx\r\n")

    async def until_cut(peer: Peer) -> None:
        with contextlib.suppress(ConnectionError):
            await script(peer)

    rig = await serve(until_cut, timeouts=UpstreamTimeouts(total_s=0.3))
    with pytest.raises(ExchangeBroken) as broken:
        await rig.ask()
    assert broken.value.outcome.ended == "timeout"


async def test_an_upstream_that_stops_reading_an_upload_times_out(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reader._transport.pause_reading()
        await asyncio.Event().wait()

    rig = await serve(script, timeouts=UpstreamTimeouts(idle_s=0.3))
    caller = AsgiCaller(*[b"x" * 2**18] * 100, more=True)
    with pytest.raises(UpstreamTimeout):
        await rig.ask(caller, method="POST", framing=CHUNKED)
    assert caller.receives < 90


async def test_an_early_refusal_reaches_the_caller_and_stops_the_upload(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.until_closed()

    rig = await serve(script)
    caller = AsgiCaller(b"x" * 70_000, more=True)
    caller, outcome = await rig.ask(caller, method="POST", framing=10**6)
    assert (caller.status, caller.body, outcome.ended) == (413, b"big", "complete")
    assert rig.upstream.stats.idle_connections == 0


async def test_an_early_refusal_reaches_a_caller_that_never_stops_sending(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.read(100_000)
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await peer.until_closed()

    rig = await serve(script)
    caller = AsgiCaller(b"part", more=True)

    async def pump() -> None:
        while not caller.ended.is_set():
            caller.feed(b"x" * 65_536)
            await asyncio.sleep(0)

    pumping = asyncio.create_task(pump())
    await rig.ask(caller, method="POST", framing=CHUNKED)
    await pumping
    assert (caller.status, caller.body) == (413, b"big")


async def test_an_upstream_that_hangs_up_on_an_upload_is_unreachable(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    rig = await serve(script)
    with pytest.raises(UpstreamUnreachable):
        await rig.ask(AsgiCaller(b"x" * 70_000, more=True), method="POST", framing=10**6)


async def test_what_the_system_said_stays_with_the_error(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()

    rig = await serve(script)
    with pytest.raises(UpstreamUnreachable) as caught:
        await rig.ask(method="POST", framing=None)
    assert isinstance(caught.value.__cause__, OSError)
