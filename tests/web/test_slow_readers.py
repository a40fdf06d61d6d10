"""Callers of our server protocol who read their answers slowly: nothing of an answer is lost, and nothing piles up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from gateway.web.front import FrontOptions
from tests.fakes.raw_caller import RawCaller, request

SIZE = 30_000_000
"""More than the system's buffers take."""


class App:
    """Answers at once with a large body, whatever is asked."""

    def __init__(self) -> None:
        self.front = FrontOptions(linger_s=0.2, keep_alive_s=0.2, write_timeout_s=30)
        self.state = self
        self.served: list[str] = []

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        self.served.append(scope["path"])
        size = SIZE if scope["path"] == "/large" else 2
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"x" * size})


@pytest.fixture
async def app() -> App:
    return App()


@pytest.fixture
async def url(app: App) -> AsyncIterator[str]:
    front = "gateway.web.front:FrontProtocol"
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, proxy_headers=False, http=front)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag only
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.mark.parametrize(
    "asked",
    [request("GET /large"), request("POST /large", "Content-Length: 9", body=b"part")],
    ids=["its request is complete", "it came before its request's end"],
)
async def test_an_answer_is_not_cut_because_the_caller_takes_its_time(url, asked):
    with RawCaller(url) as caller:
        caller.send(asked)
        await asyncio.sleep(1)
        answer = await asyncio.to_thread(caller.read)
    assert len(answer.body) == SIZE


async def test_the_next_request_waits_until_the_answer_before_it_is_taken(url, app):
    with RawCaller(url) as caller:
        caller.send(request("GET /large") + request("GET /next"))
        while not app.served:  # noqa: ASYNC110 - the app offers a list only
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.5)
        assert app.served == ["/large"]
        await asyncio.to_thread(lambda: (caller.read(), caller.read()))
    assert app.served == ["/large", "/next"]
