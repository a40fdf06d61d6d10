"""Answers that come before the body: whoever reads them knows whether the connection goes on."""

from __future__ import annotations

import pytest

from gateway.web.unread import ends_unread
from tests.fakes.raw_caller import RawCaller

HEAD = b"POST %b HTTP/1.1\r\nHost: api.test\r\n%b\r\n\r\n"
FRAMINGS = {
    "a length": (b"Content-Length: 5", b"hello"),
    "chunks": (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    "a large length": (b"Content-Length: 900000", b"x" * 900_000),
}
REFUSALS = {
    "without a key": (b"/v1/echo", 401),
    "of an operator": (b"/_tiergate/admin/customers", 401),
}


@pytest.fixture(
    scope="module",
    params=[
        "ours",
        pytest.param("uvicorn", marks=pytest.mark.slow),
        pytest.param("granian", marks=pytest.mark.slow),
    ],
)
def refusing(request, gateway, start_shared):
    return gateway if request.param == "ours" else start_shared(server=request.param)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("refusal", ["without a key", "of an operator"])
def test_a_connection_takes_the_next_request_unless_the_refusal_said_that_it_ends(refusing, refusal, framing):
    (path, status), (field, body) = REFUSALS[refusal], FRAMINGS[framing]
    with RawCaller(refusing.url) as caller:
        refused = caller.send(HEAD % (path, field)).read()
        assert refused.status == status
        if refused.get("connection") != "close":
            caller.send(body)
            assert caller.send(b"GET /_tiergate/health HTTP/1.1\r\nHost: api.test\r\n\r\n").read().status == 200


@pytest.mark.parametrize("framing", FRAMINGS)
def test_who_sends_its_whole_body_first_still_reads_the_refusal(refusing, framing):
    field, body = FRAMINGS[framing]
    with RawCaller(refusing.url) as caller:
        assert caller.send(HEAD % (b"/v1/echo", field) + body).read().status == 401


def test_a_body_that_was_read_ends_no_connection(refusing):
    field, body = FRAMINGS["chunks"]
    head = HEAD % (b"/api/v1/create-checkout", field + b"\r\nContent-Type: application/json")
    with RawCaller(refusing.url) as caller:
        for _ in range(2):
            refused = caller.send(head + body).read()
            assert (refused.status, refused.get("connection")) == (400, None)


async def test_an_answer_is_sent_before_anybody_waits_for_the_rest_of_the_body():
    asked, sent = [], []

    async def receive():
        asked.append(len(sent))
        return {"type": "http.request", "body": b"hello", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"http_version": "1.1", "headers": [(b"content-length", b"5")]}
    call = ends_unread(scope, receive, send)
    assert call is not None
    await call.send({"type": "http.response.start", "status": 502, "headers": []})
    await call.send({"type": "http.response.body", "body": b"no"})
    assert asked == [], "whoever sends it can end its call first"
    assert [message.get("more_body", False) for message in sent] == [False, True]
    await call.finish()
    assert asked == [2]
    assert sent[-1] == {"type": "http.response.body", "body": b""}
    await call.finish()
    assert len(sent) == 3
