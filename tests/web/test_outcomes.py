"""What is billed of calls that do not end well: a real gateway before an upstream that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.raw_upstream import Peer, RawUpstream, Script

pytestmark = pytest.mark.slow

CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
FAILURE = b"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n"
PART = b"5\r\nhello\r\n"


def then_silence(*sent: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"".join(sent))
        await peer.until_closed()

    return script


def then_cut(*sent: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        for part in sent:
            await peer.send(part)
            await asyncio.sleep(0.1)
        await peer.close()

    return script


def used(client: httpx.Client) -> int:
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["used"] for row in rows if row["name"] == "period")


def drain(client: httpx.Client, path: str) -> None:
    """Read whatever comes, however it ends."""
    try:
        with client.stream("GET", path) as answer:
            for _ in answer.iter_raw():
                pass
    except httpx.HTTPError:
        pass


ENDINGS = {
    "silence after payload": (then_silence(CHUNKS, PART), 1),
    "a cut after payload": (then_cut(CHUNKS + PART), 1),
    "a cut in the middle of a known length": (then_cut(LENGTH + b"hello"), 1),
    "silence before payload": (then_silence(CHUNKS), 0),
    "a cut before payload": (then_cut(LENGTH), 0),
    "a failure that breaks off": (then_cut(FAILURE + b"hello"), 0),
    "no response": (then_cut(), 0),
    "silence": (then_silence(), 0),
}


async def test_a_broken_call_is_billed_if_payload_of_a_billable_response_was_handed_on(start_gateway, until):
    scripts = [script for script, _ in ENDINGS.values()]  # each breaks its connection, so each call has the next
    async with RawUpstream(*scripts) as upstream:
        gateway = start_gateway(
            TIERGATE_UPSTREAM_URL=upstream.url,
            TIERGATE_UPSTREAM_IDLE_TIMEOUT_S="2",
            TIERGATE_UPSTREAM_FIRST_BYTE_TIMEOUT_S="2",
        )
        clients = {}
        for number, ending in enumerate(ENDINGS, 1):
            _, _, clients[ending] = gateway.customer()
            await asyncio.to_thread(drain, clients[ending], "/v1/x")
            assert len(upstream.requests) == number
    expected = {ending: units for ending, (_, units) in ENDINGS.items()}
    until(lambda: {ending: used(client) for ending, client in clients.items()} == expected)


async def test_a_body_that_turns_out_too_large_on_its_way_stays_charged(start_gateway):
    got = asyncio.get_running_loop().create_future()

    async def script(peer: Peer) -> None:
        await peer.head()
        got.set_result(await peer.until_closed())

    async with RawUpstream(script) as upstream:
        gateway = start_gateway(TIERGATE_UPSTREAM_URL=upstream.url, TIERGATE_MAX_BODY_BYTES="1000")
        _, _, client = gateway.customer()

        def body() -> Iterator[bytes]:
            yield b"x" * 600
            asyncio.run_coroutine_threadsafe(arrived(), loop).result(30)
            yield b"x" * 600

        async def arrived() -> None:
            while not upstream.requests:  # noqa: ASYNC110 - the upstream's own list signals nothing
                await asyncio.sleep(0.01)

        loop = asyncio.get_running_loop()
        answer = await asyncio.to_thread(lambda: client.post("/v1/x", content=body()))
        assert b"x" * 600 in await got
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert "stays charged" in answer.json()["detail"]
    assert '"period";r=99;' in answer.headers["ratelimit"]
    assert used(client) == 1


async def test_a_body_found_too_large_before_the_upstream_is_asked_costs_nothing(start_gateway):
    async with RawUpstream(then_silence()) as upstream:
        gateway = start_gateway(TIERGATE_UPSTREAM_URL=upstream.url, TIERGATE_MAX_BODY_BYTES="1000")
        _, _, client = gateway.customer()
        for body in (b"x" * 1001, [b"x" * 1001]):
            answer = await asyncio.to_thread(client.post, "/v1/x", content=body)
            assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
            assert '"period";r=100;' in answer.headers["ratelimit"]
        assert upstream.accepted == 0
    assert used(client) == 0


@pytest.mark.not_on("disturbed", because="a worker that ends waits for no new master to give units back to")
async def test_a_call_cut_off_by_a_shutdown_is_told_to_come_back_and_costs_nothing(start_gateway, gateway):
    async with RawUpstream(then_silence()) as upstream:
        stopping = start_gateway(TIERGATE_UPSTREAM_URL=upstream.url)
        _, _, client = stopping.customer()
        calling = asyncio.create_task(asyncio.to_thread(client.get, "/v1/x"))
        while not upstream.requests:  # noqa: ASYNC110 - the upstream's own list signals nothing
            await asyncio.sleep(0.01)
        stopping.process.terminate()
        answer = await calling
    assert (answer.status_code, answer.json()["code"]) == (503, "temporary-reduced-capacity")
    assert int(answer.headers["retry-after"]) >= 1
    assert '"period";r=100;' in answer.headers["ratelimit"]
    assert used(gateway.bearer(client.headers["authorization"].partition(" ")[2])) == 0
