"""One upstream without a group: nothing is tried next, and nobody keeps account of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.upstream import AsgiCaller, Exchange, ExchangeRequest, OnStart, Outcome, Upstream


class Alone:
    """The servers of an exchange, of which there is one."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def candidates(self, _now: float) -> tuple[Upstream]:
        return (self._upstream,)

    def report(self, upstream: Upstream, error: BaseException | None, *, began_at: float, now: float) -> None:
        """To nobody."""


async def relayed(
    upstream: Upstream,
    request: ExchangeRequest,
    receive: Any,
    send: Any,
    *,
    on_start: OnStart = lambda head: head.lines,
    max_body: int = 10**9,
    needs_end: Callable[[], bool] | None = None,
) -> Outcome:
    """Relay one request of an ASGI caller to it."""
    exchange = Exchange(request, on_start=on_start, max_body=max_body, needs_end=needs_end)
    return await exchange.run(AsgiCaller(receive, send), Alone(upstream))
