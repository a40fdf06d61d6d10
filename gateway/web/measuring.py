"""What a call costs by what it asks for, found before it is charged; where that is in its body, the body is held.

Only for a live key that may make the call, which has its place among the calls in progress meanwhile.
Our own front holds it until somebody answers. Behind another server its messages are kept here,
and told again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.core.errors import BodyTooLarge, RequestTimeout
from gateway.core.http_body import CHUNKED
from gateway.core.measure import MOST_JSON_BYTES
from gateway.core.pricing import price_call
from gateway.core.request_gate import body_framing
from gateway.upstream import ClientLeft
from gateway.web.front import CALLER, Cycle

if TYPE_CHECKING:
    from gateway.admission import Attempt
    from gateway.core.route import Route
    from gateway.web.asgi import Receive, Scope
    from gateway.web.runtime import Runtime

_TOO_LARGE = f"The request body is larger than is read for its price: {MOST_JSON_BYTES:,} bytes."


async def measure_call(
    runtime: Runtime, attempt: Attempt, presented: bytes, scope: Scope, receive: Receive
) -> tuple[Route | None, Receive]:
    """The route of a call at its price, and where to receive its body from.

    Args:
        runtime: The opened parts.
        attempt: Of the call.
        presented: Its key: no body is read but for one that lives and may make the call.
        scope: Its scope.
        receive: ASGI `receive`.

    Raises:
        Rejected, Denied, CapacityReduced: Nothing was charged.
        ClientLeft: The caller did not send its body; a ClientFaulty says why.
    """
    runtime.admission.recognise(presented)
    route = attempt.route = attempt.policy.find_route(attempt.method, attempt.path)
    if route is None or not route.measures:
        return route, receive
    body, framing = b"", body_framing(scope["headers"], scope["http_version"])
    if framing is not None and any(measure.source == "json" for measure in route.measures):
        if framing != CHUNKED and framing > MOST_JSON_BYTES:
            raise BodyTooLarge(_TOO_LARGE)
        caller: Cycle | None = scope.get("extensions", {}).get(CALLER)
        await runtime.admission.foresee(attempt, presented, is_whole=caller is not None and caller.has_whole_body)
        try:
            async with asyncio.timeout(_longest_s(runtime)):
                if caller is not None:
                    body = await caller.whole_body(MOST_JSON_BYTES)
                else:
                    messages = await _gather(receive)
                    body = b"".join(message.get("body", b"") for message in messages)
                    receive = _Again(messages, receive)
        except TimeoutError:
            raise RequestTimeout("The request's body, which says what it costs, did not arrive in time.") from None
    return price_call(route, scope["headers"], framing, body), receive


def _longest_s(runtime: Runtime) -> float:
    """Seconds for all of such a body to come: it is as short as a head may be, so it gets no more time than one."""
    return min(runtime.settings.header_timeout_s, runtime.settings.upstream_idle_timeout_s)


async def _gather(receive: Receive) -> deque[Any]:
    """All messages of a body."""
    messages: deque[Any] = deque()
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("The caller left before its body had come.")
        messages.append(message)
        size += len(message.get("body", b""))
        if size > MOST_JSON_BYTES:
            raise BodyTooLarge(_TOO_LARGE)
        if not message.get("more_body", False):
            return messages


class _Again:
    """`receive`, beginning with messages that were received before."""

    __slots__ = ("_messages", "_receive")

    def __init__(self, messages: deque[Any], receive: Receive) -> None:
        self._messages = messages
        self._receive = receive

    async def __call__(self) -> Any:
        return self._messages.popleft() if self._messages else await self._receive()
