"""One admitted WebSocket: which server it goes to, what bounds it, and how it is told of when it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core.errors import UpstreamBusy
from gateway.core.forward_rules import merge_timeouts
from gateway.core.upstream_policy import FREE_WEBSOCKETS
from gateway.core.websocket import MAX_MESSAGE
from gateway.upstream import ExchangeCancelled, Outcome
from gateway.upstream.errors import NotConnected
from gateway.upstream.websocket import WebSocketLimits, WebSocketOutcome, WebSocketRequest, relay_websocket
from gateway.upstream.websocket_limits import Tally
from gateway.web.asgi import Receive, Scope, Send
from gateway.web.metered import Metered
from gateway.web.presented_key import presented_key
from gateway.web.websocket_bytes import ByteCharges
from gateway.web.websocket_charges import WebSocketCharges

if TYPE_CHECKING:
    from gateway.core.planned import Plan
    from gateway.core.websocket import Offer
    from gateway.upstream import Group, ResponseHead, Upstream
    from gateway.upstream.values import Ended
    from gateway.web.proxying import ReverseProxy
    from gateway.web.runtime import Runtime

_SWITCHING = 101
_POLICY = 1008


class WebSocketSession:
    """Forwards one handshake, and what follows it. A single use.

    Args:
        runtime: The opened parts.
        proxy: Knows what to ask, and whom.
        offer: What the caller offers.
        send: ASGI `send` of the WebSocket.
    """

    def __init__(self, runtime: Runtime, proxy: ReverseProxy, offer: Offer, send: Send) -> None:
        self._runtime = runtime
        self._proxy = proxy
        self._offer = offer
        self._send = send
        self._tally = Tally()
        self._counted = (0, 0)
        self._is_answered = False
        self._is_open = False

    async def __call__(self, metered: Metered, scope: Scope, receive: Receive, send: Send) -> Outcome:  # noqa: ARG002 - of answers
        """Relay it, to its end. A forwarder (`metered.Forwarder`)."""
        charges = WebSocketCharges(self._runtime, metered.attempt, presented_key(scope["headers"]))
        try:
            told = await self._ask_any(metered, scope, receive, charges)
        except asyncio.CancelledError:
            if not self._is_open:
                raise
            tally = self._tally
            raise ExchangeCancelled(Outcome(_SWITCHING, tally.bytes_down, tally.bytes_up, "upstream-broke")) from None
        finally:
            self._count_messages()
            if self._is_open:
                self._runtime.metrics.websockets.dec()
        return Outcome(told.status, told.bytes_down, told.bytes_up, _ended(told))

    async def _ask_any(
        self, metered: Metered, scope: Scope, receive: Receive, charges: WebSocketCharges
    ) -> WebSocketOutcome:
        """Open it to the first server that can be reached; each one that was asked is reported on."""
        exchange, group = self._proxy.prepare(metered, scope)
        request = WebSocketRequest(
            exchange=exchange,
            subprotocols=self._offer.subprotocols,
            fallback=self._offer.fallback,
            extensions=scope.get("extensions") or {},
        )
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for upstream in (candidates := group.candidates(began_at)):

            def on_start(head: ResponseHead, upstream: Upstream = upstream) -> list[bytes]:
                return self._started(metered, charges, head, group, upstream, began_at)

            try:
                with upstream.websocket():
                    return await relay_websocket(
                        request,
                        receive,
                        self._send,
                        upstream=upstream,
                        on_start=on_start,
                        on_message=charges.message,
                        on_minute=lambda: self._on_minute(metered, charges),
                        limits=self._limits(metered, scope, upstream),
                        tally=self._tally,
                    )
            except BaseException as error:
                if not self._is_answered:
                    group.report(upstream, error, began_at=began_at, now=loop.time())
                if upstream is candidates[-1] or not isinstance(error, NotConnected | UpstreamBusy):
                    raise
        raise AssertionError("a group has at least one server")

    def _started(
        self,
        metered: Metered,
        charges: WebSocketCharges,
        head: ResponseHead,
        group: Group,
        upstream: Upstream,
        began_at: float,
    ) -> list[bytes]:
        """The upstream has answered."""
        self._is_answered = True
        group.report(upstream, None, began_at=began_at, now=asyncio.get_running_loop().time())
        if head.status == _SWITCHING:
            self._is_open = True
            self._runtime.metrics.websockets.inc()
        lines = metered.on_start(head)
        if self._is_open and metered.settling is not None:
            metered.by_minute = ByteCharges(self._runtime, metered.attempt, charges.presented, metered.settling)
        return lines

    async def _on_minute(self, metered: Metered, charges: WebSocketCharges) -> None:
        self._count_messages()
        await charges.minute()
        if metered.by_minute is not None:
            await metered.by_minute.minute(self._tally.bytes_down, self._tally.bytes_up)

    def _count_messages(self) -> None:
        up, down = self._tally.messages_up, self._tally.messages_down
        counter = self._runtime.metrics.websocket_messages
        for sender, before, now in zip(("caller", "upstream"), self._counted, (up, down), strict=True):
            if now > before:
                counter.labels(sender).inc(now - before)
        self._counted = (up, down)

    def _limits(self, metered: Metered, scope: Scope, upstream: Upstream) -> WebSocketLimits:
        plan, edge = metered.attempt.plan, metered.plan
        if plan is None or edge is None:
            raise AssertionError("only an admitted request is forwarded")
        timeouts = edge.timeouts or upstream.timeouts
        max_message = (plan.route.forward.websocket or FREE_WEBSOCKETS).max_message_bytes
        if (bound := scope["extensions"].get(MAX_MESSAGE)) is not None:
            bound(max_message)
        return WebSocketLimits(
            max_message_bytes=max_message,
            connect_s=timeouts.connect_s,
            first_byte_s=timeouts.first_byte_s,
            idle_s=_idle_s(plan, self._runtime.settings.websocket_idle_timeout_s),
            total_s=timeouts.total_s,
        )


def _idle_s(plan: Plan, default_s: float) -> float | None:
    """What policy says of idleness, for whatever kind of call; the settings have a word of their own for WebSockets."""
    said = merge_timeouts(plan.route.forward.timeouts, plan.tier.forward.timeouts)
    return (default_s if said.idle_s is None else said.idle_s) or None


def _ended(told: WebSocketOutcome) -> Ended:
    """In the words of an exchange, which decide on what is billed."""
    if told.cause in {"closed", "refused"}:
        return "complete"
    if told.ended_by == "caller" or told.cause == "denied" or (told.cause == "stalled" and told.code == _POLICY):
        return "client-left"
    return "timeout" if told.cause in {"idle", "expired", "stalled"} else "upstream-broke"
