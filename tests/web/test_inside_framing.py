"""An app inside the gateway behind our server protocol: what it says of its body's length is held to, byte by byte."""

from __future__ import annotations

import contextlib

import pytest

from tests.fakes.raw_caller import RawCaller, request

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inside(start_shared):
    return start_shared(target="tests.fakes.inside_app:create")


@pytest.fixture
def client(inside):
    return inside.customer()[2]


@pytest.fixture
def key(client):
    return f"Authorization: {client.headers['authorization']}"


@pytest.fixture
def caller(inside):
    with RawCaller(inside.url) as made:
        yield made


def used(client):
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["used"] for row in rows if row["name"] == "period")


@pytest.mark.parametrize(
    ("path", "paid"), [("too-long", 0), ("too-short", 0), ("too-long-later", 1), ("too-short-later", 1)]
)
def test_a_body_that_is_not_as_long_as_the_app_said_is_cut_and_never_looks_whole(
    client, caller, key, until, path, paid
):
    caller.send(request(f"GET /v1/{path}", key) + request("GET /v1/whole", key))
    with contextlib.suppress(EOFError):
        head = caller.read_head()
        assert len(caller.rest()) < int(head.get("content-length") or 0)
    assert caller.rest() == b""  # and the request behind it is not answered in its place
    until(lambda: used(client) == paid)


def test_a_field_that_would_split_the_head_is_not_sent(caller, key):
    assert b"x-b" not in caller.send(request("GET /v1/splits-the-head", key)).rest()


@pytest.mark.parametrize(
    ("path", "framing", "body"),
    [
        ("whole", ("5", None), b"hello"),
        ("parts", (None, "chunked"), b"hello"),
        ("says-chunked", (None, "chunked"), b"hello"),
        ("no-content", (None, None), b""),
    ],
)
def test_a_response_is_framed_once_by_the_server(caller, key, path, framing, body):
    for _ in range(2):  # the second shows that nothing is left over from the first
        answer = caller.ask(f"GET /v1/{path}", key)
        assert (answer.get("content-length"), answer.get("transfer-encoding")) == framing
        assert answer.body == body


def test_to_http_1_0_a_body_of_unknown_length_ends_with_the_connection(caller, key):
    answer = caller.ask("GET /v1/parts HTTP/1.0", key)
    assert (answer.get("transfer-encoding"), answer.get("connection"), answer.body) == (None, "close", b"hello")


@pytest.mark.parametrize("path", ["whole", "parts", "says-chunked", "cookies", "events"])
def test_a_head_request_gets_no_body_whatever_the_app_sends(caller, key, path):
    answer = caller.ask(f"HEAD /v1/{path}", key)
    assert answer.status == 200
    if path != "events":
        assert caller.ask("GET /v1/whole", key).body == b"hello"


def test_an_app_may_end_the_connection_and_repeat_fields(caller, key):
    assert caller.ask("GET /v1/cookies", key).all("set-cookie") == ["a=1", "b=2"]
    assert caller.ask("GET /v1/says-close", key).all("connection") == ["close"]
    assert caller.rest() == b""


@pytest.mark.parametrize("path", ["events", "deaf-events"])
def test_events_come_as_they_are_made_and_end_when_the_caller_leaves(inside, client, key, until, path):
    before = inside.log.read_text().count("events have ended")
    with RawCaller(inside.url) as caller:
        assert caller.send(request(f"GET /v1/{path}", key)).read_head().get("transfer-encoding") == "chunked"
        for _ in range(3):
            assert b"data: 1" in caller.read_some()
        assert inside.log.read_text().count("events have ended") == before
    until(lambda: inside.log.read_text().count("events have ended") == before + 1)
    until(lambda: used(client) == 1)
    assert "did not answer" not in inside.log.read_text()
