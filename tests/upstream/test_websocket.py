"""A WebSocket through the relay, from the library's own client to its own server, under both real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fakes.websocket_server import RelayServer, ended, serving
from tests.fakes.websocket_upstream import WebSocketUpstream, websocket_upstream

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])  # the relay runs in a process of its own


@pytest.fixture(
    scope="module", params=["front", *(pytest.param(name, marks=pytest.mark.slow) for name in ("uvicorn", "granian"))]
)
def server(request) -> Iterator[RelayServer]:
    with serving(request.param) as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[WebSocketUpstream]:
    async with websocket_upstream() as running:
        yield running


async def test_text_and_binary_pass_both_ways(server, upstream):
    messages = ["héllo", b"\x00\xff", "", b"", "x" * 100_000, b"y" * 900_000]
    async with server.open(upstream.port) as client:
        for message in messages:
            await client.send(message)
            assert await client.recv() == message
    outcome = await server.outcome()
    sizes = sum(len(m.encode() if isinstance(m, str) else m) for m in messages)
    assert (outcome["messages_up"], outcome["messages_down"]) == (6, 6)
    assert (outcome["bytes_up"], outcome["bytes_down"]) == (sizes, sizes)
    assert (outcome["ended_by"], outcome["cause"], outcome["code"]) == ("caller", "closed", 1000)
    assert outcome["duration_s"] > 0


async def test_a_fragmented_message_arrives_whole(server, upstream):
    async with server.open(upstream.port, client={"compression": None}) as client:
        await client.send(iter(["ab", "", "cé", "d"]))
        assert await client.recv() == "abcéd"
        connection = await upstream.last()
        await connection.send(iter([b"1", b"2"]))
        assert await client.recv() == b"12"
    await server.outcome()


async def test_many_messages_keep_their_order(server, upstream):
    async with server.open(upstream.port) as client:

        async def write() -> None:
            for number in range(2000):
                await client.send(str(number))

        writing = asyncio.create_task(write())
        assert [int(await client.recv()) for _ in range(2000)] == list(range(2000))
        await writing
    assert (await server.outcome())["messages_up"] == 2000


async def test_only_end_to_end_fields_reach_the_upstream(server, upstream):
    fields = [("X-Twice", "1"), ("Origin", "https://app.example"), ("X-Twice", "2")]
    async with server.open(upstream.port, "a%2Fb", client={"additional_headers": fields}, note="%41"):
        pass
    await server.outcome()
    request = upstream.requests[0]
    assert request.path == "/a%2Fb?note=%41"
    names = [name for name, _ in request.headers.raw_items()]
    assert names[0] == "host"
    assert request.headers["host"] == "upstream.example"
    assert request.headers.get_all("X-Twice") == ["1", "2"]
    assert request.headers["Origin"] == "https://app.example"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert names.count("user-agent") == 1  # the caller's


async def test_the_upstream_chooses_among_the_offered_subprotocols(server, upstream):
    async with server.open(upstream.port, client={"subprotocols": ["other", "chat", "graphql"]}) as client:
        assert client.subprotocol == "graphql"
        assert upstream.requests[0].headers["Sec-WebSocket-Protocol"] == "other, chat, graphql"
    await server.outcome()


async def test_fields_are_added_to_the_101(server, upstream):
    async with server.open(upstream.port) as client:
        found = client.response.headers.get_all("Tiergate-Decision")
    assert found == (["d1"] if server.name != "granian" else [])  # Granian has no way to add one
    await server.outcome()


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4999])
async def test_the_callers_close_reaches_the_upstream(server, upstream, code):
    async with server.open(upstream.port) as client:
        await client.close(code, "enough é")
    assert await upstream.ended() == (code, "enough é" if server.name != "granian" else "")  # Granian drops reasons
    outcome = await server.outcome()
    assert (outcome["ended_by"], outcome["code"], outcome["code_to_upstream"]) == ("caller", code, code)
    assert outcome["code_to_caller"] is None


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1013, 3000, 4999])
async def test_the_upstreams_close_reaches_the_caller(server, upstream, code):
    async with server.open(upstream.port, "manual") as client:
        await (await upstream.last()).close(code, "enough é")
        assert await ended(client) == (code, "enough é")
    outcome = await server.outcome()
    assert (outcome["ended_by"], outcome["code"], outcome["code_to_caller"]) == ("upstream", code, code)


async def test_messages_before_a_close_arrive_before_it(server, upstream):
    async with server.open(upstream.port) as client:
        for message in ("one", "two", "goodbye"):
            await client.send(message)
        assert [message async for message in _until_closed(client)] == ["one", "two"]
        assert (client.close_code, client.close_reason) == (4123, "as you wish é")
    await server.outcome()


async def test_a_close_without_a_code_stays_one_towards_the_upstream(server, upstream):
    client = await server.open(upstream.port)
    client.protocol.send_close()
    client.transport.write(b"".join(client.protocol.data_to_send()))
    # Granian says the same of a close without a code and of none at all.
    assert (await upstream.ended())[0] == (1005 if server.name != "granian" else 1001)
    await client.wait_closed()
    await server.outcome()


async def test_a_close_without_a_code_is_a_normal_one_for_the_caller(server, upstream):
    async with server.open(upstream.port, "manual") as client:
        connection = await upstream.last()
        connection.protocol.send_close()
        connection.transport.write(b"".join(connection.protocol.data_to_send()))
        assert await ended(client) == (1000, "")
    assert (await server.outcome())["code"] == 1005


async def test_a_vanished_caller_is_going_away_for_the_upstream(server, upstream):
    client = await server.open(upstream.port, "manual")
    await upstream.last()
    client.transport.abort()
    assert (await upstream.ended())[0] == 1001
    outcome = await server.outcome()
    assert (outcome["ended_by"], outcome["cause"], outcome["code"]) == ("caller", "lost", 1006)


async def test_a_vanished_upstream_is_an_internal_error_for_the_caller(server, upstream):
    async with server.open(upstream.port, "manual") as client:
        (await upstream.last()).transport.abort()
        assert await ended(client) == (1011, "the upstream was lost")
    outcome = await server.outcome()
    assert (outcome["ended_by"], outcome["cause"], outcome["code"]) == ("upstream", "lost", 1006)


async def test_a_callers_message_over_the_bound_closes_both_sides(server, upstream):
    async with server.open(upstream.port, "manual", client={"compression": None}, max_message_bytes=1000) as client:
        await client.send("x" * 1000)
        await client.send("é" * 501)
        assert (await ended(client))[0] == 1009
    assert (await upstream.ended())[0] == 1009
    outcome = await server.outcome()
    assert (outcome["cause"], outcome["messages_up"]) == ("too-big", 1)


async def test_an_upstreams_message_over_the_bound_closes_both_sides(server, upstream):
    async with server.open(upstream.port, "manual", max_message_bytes=1000) as client:
        connection = await upstream.last()
        await connection.send("x" * 1000)
        await connection.send(b"x" * 1001)
        assert await client.recv() == "x" * 1000
        assert (await ended(client))[0] == 1009
    assert (await upstream.ended())[0] == 1009
    assert (await server.outcome())["cause"] == "too-big"


async def test_a_compressed_message_counts_decompressed(server, upstream):
    if server.name == "granian":
        pytest.skip("Granian does not compress")
    async with server.open(upstream.port, "manual") as client:
        assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]
        await client.send(b"\0" * 30_000_000)  # a few kilobytes on the wire; the server's own bound is 2 MiB
        assert (await ended(client))[0] == 1009
    assert (await upstream.ended())[0] == 1009
    assert (await server.outcome())["code"] == 1009


async def test_a_charge_that_fails_closes_both_sides(server, upstream):
    async with server.open(upstream.port, deny_after=2) as client:
        for _ in range(2):
            await client.send("x")
            assert await client.recv() == "x"
        await client.send("x")
        assert await ended(client) == (1008, "quota-exceeded")
    assert (await upstream.ended())[0] == 1001
    outcome = await server.outcome()
    assert (outcome["cause"], outcome["messages_up"]) == ("denied", 2)


async def test_a_minute_that_cannot_be_charged_closes_both_sides(server, upstream):
    async with server.open(upstream.port, minute_s=0.2, deny_minute=1) as client:
        assert await ended(client) == (1008, "quota-exceeded")
    assert (await server.outcome())["cause"] == "denied"


async def test_a_silent_websocket_is_closed(server, upstream):
    async with server.open(upstream.port, idle_s=0.3) as client:
        assert (await ended(client))[0] == 1001
    assert (await upstream.ended())[0] == 1001
    assert (await server.outcome())["cause"] == "idle"


async def test_a_websocket_lasts_no_longer_than_it_may(server, upstream):
    async with server.open(upstream.port, total_s=0.3) as client:
        assert await ended(client) == (1001, "open for too long")
    assert (await upstream.ended())[0] == 1001
    assert (await server.outcome())["cause"] == "expired"


async def test_pings_are_answered_by_the_nearest_hop(server, upstream):
    async with server.open(upstream.port, "manual") as client:
        await asyncio.wait_for(await client.ping(b"from the caller"), 10)
        await asyncio.wait_for(await (await upstream.last()).ping(b"from the upstream"), 10)
    await server.outcome()


async def test_a_refusal_of_the_upstream_is_told_to_the_caller(server, upstream):
    with pytest.raises(InvalidStatus) as refused:
        await server.open(upstream.port, "refuse")
    response = refused.value.response
    assert (response.status_code, bytes(response.body)) == (403, b"not here")
    assert response.headers["X-Reason"] == "none"
    cookies = response.headers.get_all("Set-Cookie")
    assert cookies == (["a=1", "b=2"] if server.name != "granian" else ["a=1"])  # two would end Granian's worker
    assert response.headers["Tiergate-Decision"] == "d1"
    outcome = await server.outcome()
    assert (outcome["status"], outcome["cause"]) == (403, "refused")


async def test_an_upstream_that_cannot_be_reached_is_a_problem(server):
    with pytest.raises(InvalidStatus) as refused:
        await server.open(1)
    response = refused.value.response
    assert (response.status_code, bytes(response.body)) == (502, b'{"code": "upstream-unreachable"}')
    assert response.headers["Content-Type"] == "application/problem+json"
    assert await server.outcome() == {"error": "upstream-unreachable"}


async def test_a_server_that_stops_closes_both_sides(upstream):
    with serving("front") as stopping:
        async with stopping.open(upstream.port, "manual") as client:
            await upstream.last()
            stopping.stop()
            assert (await ended(client))[0] == 1012
        assert (await upstream.ended())[0] in {1001, 1012}


async def _until_closed(client) -> AsyncIterator[str | bytes]:
    try:
        while True:
            yield await asyncio.wait_for(client.recv(), 10)
    except ConnectionClosed:
        pass
