from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop

from gateway.upstream import ExchangeRequest, Outcome, ResponseHead, Upstream, UpstreamTimeouts
from tests.fakes.alone import relayed
from tests.fakes.asgi_caller import AsgiCaller
from tests.fakes.raw_upstream import RawUpstream, Script

Serve = Callable[..., Awaitable["Rig"]]
PATIENT = UpstreamTimeouts(connect_s=30, first_byte_s=30, idle_s=30, pool_wait_s=30)


class Rig:
    """A scripted server and an `Upstream` that points at it."""

    def __init__(self, server: RawUpstream, upstream: Upstream) -> None:
        self.server = server
        self.upstream = upstream

    async def ask(
        self,
        caller: AsgiCaller | None = None,
        *,
        method: str = "GET",
        target: bytes = b"/",
        headers: list[tuple[bytes, bytes]] | None = None,
        framing: int | None = None,
        max_body: int = 10**9,
        on_start: Callable[[ResponseHead], list[bytes]] = lambda head: head.lines,
        needs_end: Callable[[], bool] | None = None,
    ) -> tuple[AsgiCaller, Outcome]:
        caller = caller if caller is not None else AsgiCaller()
        outcome = await relayed(
            self.upstream,
            ExchangeRequest(
                method=method,
                target=target,
                lines=[b"%b: %b" % field for field in headers or [] if field[0] != b"host"],
                host=dict(headers or []).get(b"host"),
                body_framing=framing,
            ),
            caller.receive,
            caller.send,
            on_start=on_start,
            max_body=max_body,
            needs_end=needs_end,
        )
        return caller, outcome


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops: they differ in how transports close and pause."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:

        async def start(*scripts: Script, prefix: str = "", **options: Any) -> Rig:
            timeouts = options.pop("timeouts", PATIENT)
            server = await stack.enter_async_context(RawUpstream(*scripts))
            upstream = Upstream(server.url + prefix, timeouts=timeouts, **options)
            stack.push_async_callback(upstream.aclose)
            return Rig(server, upstream)

        yield start
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("upstream")}
    assert not left, f"tasks left behind: {left}"
