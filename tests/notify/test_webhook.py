"""What goes over the wire to a receiver, and what counts as taken."""

import asyncio
import hashlib
import hmac
import json
from base64 import b64encode

import pytest

from gateway.notify import NotTaken, WebhookChannel
from tests.fakes.raw_upstream import RawUpstream, answering

SECRET = b"a secret of twenty-four b"
BODY = '{"type":"quota.threshold_reached","data":{"user_id":"ada"}}'


def status(line):
    return answering(b"HTTP/1.1 " + line + b"\r\ncontent-length: 0\r\n\r\n")


async def send(server, secrets=(SECRET,), **options):
    channel = WebhookChannel(f"{server.url}/hooks?x=1", secrets, **options)
    try:
        await channel.send("alert_1", BODY)
    finally:
        await channel.aclose()


async def test_a_receiver_can_tell_who_sent_it():
    async with RawUpstream(status(b"200 OK")) as server:
        await send(server)
    (request,) = server.requests
    assert request.line == b"POST /hooks?x=1 HTTP/1.1"
    assert request.field(b"content-type") == b"application/json"
    event_id, at = request.field(b"webhook-id"), request.field(b"webhook-timestamp")
    signed = b".".join([event_id, at, request.body])
    expected = b"v1," + b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest())
    assert request.field(b"webhook-signature") == expected
    assert (event_id, json.loads(request.body)["data"]) == (b"alert_1", {"user_id": "ada"})


@pytest.mark.parametrize("line", [b"200 OK", b"202 Accepted", b"204 No Content"])
async def test_any_2xx_takes_it(line):
    async with RawUpstream(status(line)) as server:
        await send(server)


@pytest.mark.parametrize("line", [b"400 Bad Request", b"404 Not Found", b"429 Too Many", b"500 Oops", b"503 Later"])
async def test_other_answers_do_not_take_it_and_are_not_final(line):
    async with RawUpstream(status(line)) as server:
        with pytest.raises(NotTaken, match=f"answered {line[:3].decode()}") as caught:
            await send(server)
    assert not caught.value.is_final


async def test_a_receiver_that_is_gone_is_not_asked_again():
    async with RawUpstream(status(b"410 Gone")) as server:
        with pytest.raises(NotTaken) as caught:
            await send(server)
    assert caught.value.is_final


async def test_a_redirect_is_not_followed():
    async with RawUpstream(status(b"200 OK")) as inner:
        to = f"HTTP/1.1 307 There\r\nlocation: {inner.url}/secret\r\ncontent-length: 0\r\n\r\n".encode()
        async with RawUpstream(answering(to)) as server:
            with pytest.raises(NotTaken, match="answered 307"):
                await send(server)
        assert inner.requests == []


async def hang(peer):
    await peer.request()
    await peer.until_closed()


async def drop(peer):
    await peer.request()
    peer.reset()


@pytest.mark.parametrize(("script", "error"), [(hang, "ReadTimeout"), (drop, "ReadError")], ids=["hangs", "resets"])
async def test_who_does_not_answer_has_not_taken_it(script, error):
    async with RawUpstream(script) as server:
        with pytest.raises(NotTaken, match=error):
            await send(server, timeout_s=1)


async def test_a_closed_port_has_not_taken_it_and_the_message_names_no_address():
    async with RawUpstream(status(b"200 OK")) as server:
        pass
    with pytest.raises(NotTaken, match="ConnectError") as caught:
        await send(server)
    assert "hooks" not in str(caught.value)


async def test_an_endless_answer_is_not_read():
    async def pour(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                await peer.send(b"x" * 65536)
        except ConnectionError:
            pass

    async with RawUpstream(pour) as server:
        async with asyncio.timeout(20):
            await send(server)
