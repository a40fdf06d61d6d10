"""A gateway that is told to stop, with calls in progress."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import httpx
import pytest

from tests.fakes.raw_caller import RawCaller, listens, request
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

ENDED = (0, -signal.SIGTERM)
"""uvicorn's own command line raises the signal again once it has drained."""
ROUTES = 'routes: [{match: "* /v1/**"}]\n'


@pytest.fixture
def stopping(start_gateway, tmp_path, stage):
    """Starts a gateway with so much grace; it, and its upstream."""

    def start(grace_s):
        api = stage.add("api")
        gateway = start_gateway(
            TIERGATE_UPSTREAM_URL=api.url,
            TIERGATE_POLICY_DIR=str(write_policy(tmp_path, ROUTES)),
            TIERGATE_SHUTDOWN_GRACE_S=str(grace_s),
        )
        return gateway, api

    return start


@pytest.fixture
def call():
    """Begins a call, on a connection of its own."""
    with ExitStack() as open_connections:

        def begin(client: httpx.Client, line: str, *fields: str, body: bytes = b"") -> RawCaller:
            caller = open_connections.enter_context(RawCaller(str(client.base_url)))
            return caller.send(request(line, f"Authorization: {client.headers['authorization']}", *fields, body=body))

        yield begin


def test_calls_are_finished_within_the_grace_and_then_cut_and_told(stopping, stage, until, gateway, call):
    stopper, api = stopping(grace_s=15)
    clients = [stopper.customer()[2] for _ in range(4)]
    paths = ("/v1/stream", "/v1/part", "/v1/silence", "/v1/x")
    finishing, cut, told, idle = (call(client, f"GET {path}") for client, path in zip(clients, paths, strict=True))
    assert finishing.read_head().status == cut.read_head().status == idle.read().status == 200
    cut.read_some()
    until(lambda: len(api.busy) == 3)
    stopper.process.terminate()
    assert idle.rest() == b""  # closed at once, as nothing is in progress on it
    stage.call(api.ends.set)
    assert finishing.read_chunks()  # to the last chunk, or this raises
    assert finishing.rest() == b""
    answer = told.read()
    assert (answer.status, answer.code) == (503, "temporary-reduced-capacity")
    assert int(answer.get("retry-after") or 0) >= 1
    rest = cut.rest()
    assert b"\r\n0\r\n" not in rest
    assert stopper.process.wait(60) in ENDED
    assert "Traceback" not in stopper.log.read_text()

    def used(client: httpx.Client) -> int:
        same = gateway.bearer(client.headers["authorization"].partition(" ")[2])
        rows = same.get("/api/v1/usage").raise_for_status().json()["limits"]
        return next(row["used"] for row in rows if row["name"] == "period")

    until(lambda: [used(client) for client in clients] == [1, 1, 0, 1])


def test_an_upload_in_progress_is_finished_and_its_connection_closed(stopping, until, call):
    stopper, api = stopping(grace_s=60)
    _, _, client = stopper.customer()
    caller = call(client, "POST /v1/x", "Transfer-Encoding: chunked", body=b"2\r\nhi\r\n")
    until(lambda: api.busy == ["/v1/x"])
    stopper.process.terminate()
    until(lambda: not listens(stopper.url))
    answer = caller.send(b"0\r\n\r\n").read()
    assert (answer.status, answer.get("connection"), answer.json()["body"]) == (200, "close", "hi")
    assert caller.rest() == b""
    assert stopper.process.wait(60) in ENDED
