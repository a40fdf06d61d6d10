"""What well-behaved upstreams and callers get."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import BodyTooLarge, MalformedRequest
from gateway.core.http_body import CHUNKED
from gateway.upstream import ClientFaulty, ExchangeRequest, Upstream
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.raw_upstream import Peer, answering

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_plain_response_arrives_as_it_was_sent(serve):
    rig = await serve(answering(OK))
    caller, outcome = await rig.ask(target=b"/v1/x?a=%2F&b=%zz//")
    assert (caller.status, caller.body, outcome.ended) == (200, b"ok", "complete")
    assert (outcome.response_bytes, outcome.request_bytes, outcome.status) == (2, 0, 200)
    assert rig.server.requests[0].line == b"GET /v1/x?a=%2F&b=%zz// HTTP/1.1"


async def test_the_path_prefix_of_the_upstream_comes_first(serve):
    rig = await serve(answering(OK), prefix="/base/")
    await rig.ask(target=b"/v1")
    assert rig.server.requests[0].line == b"GET /base/v1 HTTP/1.1"


async def test_the_upstreams_own_host_is_sent_unless_one_is_given(serve):
    rig = await serve(answering(OK))
    await rig.ask()
    await rig.ask(headers=[(b"host", b"api.example")])
    assert rig.server.requests[0].field(b"host") == b"localhost:%d" % rig.server.port
    assert rig.server.requests[1].field(b"host") == b"api.example"


async def test_header_order_and_repetitions_are_kept_both_ways(serve):
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-B:  two \r\nset-cookie: b=\xe9\r\nContent-Length: 0\r\n\r\n"
    rig = await serve(answering(answer))
    sent = [(b"accept", b"*/*"), (b"x-one", b"1"), (b"accept", b"text/html"), (b"x-latin", b"\xe9")]
    caller, _ = await rig.ask(headers=sent)
    assert [field for field in rig.server.requests[0].fields if field[0] != b"host"] == sent
    assert caller.headers == [
        (b"set-cookie", b"a=1"),
        (b"x-b", b"two"),
        (b"set-cookie", b"b=\xe9"),
        (b"content-length", b"0"),
        (b"via", b"1.1 tiergate"),
    ]


async def test_hop_by_hop_fields_of_the_response_end_here(serve):
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=30\r\n"
        b"Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok"
    )
    rig = await serve(answering(answer))
    caller, _ = await rig.ask()
    assert [name for name, _ in caller.headers] == [b"content-length", b"via"]


async def test_a_length_that_the_response_counts_to_the_connection_still_delimits_its_body(serve):
    rig = await serve(answering(b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok"))
    caller, _ = await rig.ask()
    assert (dict(caller.headers)[b"content-length"], caller.body) == (b"2", b"ok")


async def test_the_response_start_can_be_given_more_fields(serve):
    rig = await serve(answering(OK))
    caller, _ = await rig.ask(on_start=lambda head: [*head.lines, b"x-seen: %d" % head.status])
    assert caller.headers[-1] == (b"x-seen", b"200")


async def test_a_chunked_response_arrives_without_its_framing_and_trailers(serve):
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n"
    )
    rig = await serve(answering(answer))
    for _ in range(2):
        caller, outcome = await rig.ask()
        assert (caller.body, outcome.ended) == (b"abcdefg", "complete")
        assert caller.headers == [(b"via", b"1.1 tiergate")]
    assert rig.server.accepted == 1


async def test_a_response_that_comes_byte_by_byte_is_the_same_response(serve):
    answer = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"
    )

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            for byte in answer:
                await peer.send(bytes((byte,)))
                await asyncio.sleep(0)
        await peer.until_closed()

    rig = await serve(script)
    for _ in range(2):
        caller, _ = await rig.ask()
        assert (caller.status, caller.body) == (200, b"abc")
    assert rig.server.accepted == 1


async def test_a_body_that_ends_with_the_connection_is_complete(serve):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello")
        await peer.close()

    rig = await serve(script)
    caller, outcome = await rig.ask()
    assert (caller.body, outcome.ended) == (b"hello", "complete")


async def test_events_leave_as_they_come(serve):
    """Lock step: the upstream sends the next event only after the caller has the one before."""
    caller = AsgiCaller()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        await caller.started.wait()
        for number in range(3):
            caller.got_body.clear()
            await peer.send(b"9\r\ndata: %d\n\n\r\n" % number)
            await caller.got_body.wait()
        await peer.send(b"0\r\n\r\n")
        await peer.until_closed()

    rig = await serve(script)
    await rig.ask(caller)
    assert caller.parts == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", id="sized"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="unframed"),
    ],
)
async def test_a_response_to_head_has_no_body_and_the_connection_lives(serve, answer):
    rig = await serve(answering(answer, OK))
    caller, _ = await rig.ask(method="HEAD")
    assert (caller.status, caller.body) == (200, b"")
    assert caller.values(b"content-length") == ([b"500"] if b"500" in answer else [])
    caller, _ = await rig.ask()
    assert caller.body == b"ok"
    assert rig.server.accepted == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_no_content_and_not_modified_have_no_body_whatever_they_say(serve, status):
    rig = await serve(answering(b'HTTP/1.1 %d X\r\nContent-Length: 10\r\nETag: "a"\r\n\r\n' % status, OK))
    caller, _ = await rig.ask()
    assert (caller.status, caller.body) == (status, b"")
    assert caller.headers == [(b"etag", b'"a"'), (b"via", b"1.1 tiergate")]
    caller, _ = await rig.ask()
    assert caller.body == b"ok"


async def test_interim_responses_are_swallowed(serve):
    rig = await serve(answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK))
    caller, _ = await rig.ask()
    assert (caller.status, caller.body) == (200, b"ok")
    assert caller.values(b"link") == []


async def test_a_body_of_known_length_arrives_whole(serve):
    rig = await serve(answering(OK))
    _, outcome = await rig.ask(AsgiCaller(b"he", b"llo"), method="POST", framing=5)
    assert (rig.server.requests[0].body, outcome.request_bytes) == (b"hello", 5)
    assert rig.server.requests[0].field(b"content-length") == b"5"


async def test_an_empty_body_keeps_its_length(serve):
    rig = await serve(answering(OK))
    await rig.ask(method="POST", framing=0)
    assert rig.server.requests[0].field(b"content-length") == b"0"


async def test_a_chunked_body_in_parts_travels_chunked(serve):
    caller = AsgiCaller(b"he", more=True)

    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert head.field(b"transfer-encoding") == b"chunked"
        assert await peer.reader.readexactly(7) == b"2\r\nhe\r\n"
        caller.feed(b"")
        caller.feed(b"llo")
        caller.feed(b"", more=False)
        assert await peer.reader.readexactly(13) == b"3\r\nllo\r\n0\r\n\r\n"
        await peer.send(OK)
        await peer.until_closed()

    rig = await serve(script)
    await rig.ask(caller, method="POST", framing=CHUNKED)
    assert rig.upstream.stats.idle_connections == 1


async def test_a_body_of_known_length_is_gathered_before_a_connection_is_taken(serve):
    rig = await serve(answering(OK))
    caller = AsgiCaller(b"he", more=True)
    asking = asyncio.create_task(rig.ask(caller, method="POST", framing=5))
    await asyncio.sleep(0.05)
    assert rig.upstream.stats.open_connections == 0
    caller.feed(b"llo", more=False)
    await asking
    assert rig.server.requests[0].body == b"hello"


async def test_a_chunked_body_that_is_all_there_gets_a_length(serve):
    rig = await serve(answering(OK))
    await rig.ask(AsgiCaller(b"hello"), method="POST", framing=CHUNKED)
    await rig.ask(AsgiCaller(b""), method="POST", framing=CHUNKED)
    await rig.ask(AsgiCaller(b""), method="GET", framing=CHUNKED)
    lengths = [request.field(b"content-length") for request in rig.server.requests]
    assert lengths == [b"5", b"0", None]


async def test_upload_and_response_can_overlap(serve):
    """An upstream that answers each part as it comes."""
    caller = AsgiCaller(b"one", more=True)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert await peer.reader.readexactly(8) == b"3\r\none\r\n"
        await peer.send(b"3\r\nONE\r\n")
        await caller.got_body.wait()
        caller.feed(b"two", more=False)
        assert await peer.reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
        await peer.send(b"3\r\nTWO\r\n0\r\n\r\n")
        await peer.until_closed()

    rig = await serve(script)
    await rig.ask(caller, method="POST", framing=CHUNKED)
    assert caller.body == b"ONETWO"
    assert rig.upstream.stats.idle_connections == 1


async def test_a_body_announced_too_large_opens_no_connection(serve):
    rig = await serve(answering(OK))
    caller = AsgiCaller(b"hello")
    with pytest.raises(BodyTooLarge):
        await rig.ask(caller, method="POST", framing=5, max_body=4)
    assert (rig.server.accepted, caller.receives) == (0, 0)


async def test_a_body_that_grows_too_large_ends_the_exchange(serve):
    async def script(peer: Peer) -> None:
        await peer.head()
        caller.feed(b"67890")
        await peer.until_closed()

    rig = await serve(script)
    caller = AsgiCaller(b"12345", more=True)
    with pytest.raises(ClientFaulty) as caught:
        await rig.ask(caller, method="POST", framing=CHUNKED, max_body=8)
    assert isinstance(caught.value.refusal, BodyTooLarge)
    assert caller.status is None


@pytest.mark.parametrize("parts", [(b"123",), (b"12", b"3"), (b"123456",), (b"12", b"34567")])
async def test_a_body_unlike_its_length_is_never_passed_off_as_whole(serve, parts):
    got: list[bytes] = []

    async def script(peer: Peer) -> None:
        got.append(await peer.until_closed())

    rig = await serve(script)
    with pytest.raises(ClientFaulty):
        await rig.ask(AsgiCaller(*parts), method="POST", framing=5)
    await rig.upstream.aclose()
    assert all(not sent.endswith(b"12345") for sent in got)


async def test_a_line_break_in_a_field_is_refused(serve):
    rig = await serve(answering(OK))
    with pytest.raises(MalformedRequest):
        await rig.ask(headers=[(b"x", b"a\r\nb: c")])
    with pytest.raises(MalformedRequest):
        await rig.ask(target=b"/a\nb")


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://u:p@x/", "http://x/?a", "x"])
def test_other_urls_are_refused(url):
    with pytest.raises(ValueError, match="URL"):
        Upstream(url)


def test_a_request_is_a_value():
    assert ExchangeRequest(method="GET", target=b"/", lines=[]).body_framing is None
