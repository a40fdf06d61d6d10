"""The clocks of one relayed WebSocket: idleness, age, stalls, signs of life, minutes.

Messages only note the time; this task looks at the notes when the earliest of them could be
overdue. An idle WebSocket so costs one wake-up per ping, a busy one no timer per message.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core.errors import TiergateError
from gateway.core.websocket import GOING_AWAY, INTERNAL, POLICY
from gateway.upstream.websocket_ending import Ending, denied, lost
from gateway.upstream.websocket_limits import Tally, WebSocketLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.upstream.websocket_socket import UpstreamSocket

    OnMinute = Callable[[], Awaitable[None] | None]

_SOONEST_S = 0.005


class Watch:
    """A single use of `run`."""

    __slots__ = ("_began_at", "_limits", "_on_minute", "_pinged_at", "_socket", "_tally")

    def __init__(
        self, socket: UpstreamSocket, tally: Tally, limits: WebSocketLimits, on_minute: OnMinute | None
    ) -> None:
        self._socket = socket
        self._tally = tally
        self._limits = limits
        self._on_minute = on_minute
        self._pinged_at: float | None = None
        self._began_at = tally.active_at

    async def run(self) -> Ending:
        """Return when a time-out has passed or a minute could not be charged."""
        loop = asyncio.get_running_loop()
        minute_at = self._began_at + self._limits.minute_s
        while True:
            now = loop.time()
            if self._on_minute is not None and now >= minute_at:
                minute_at += self._limits.minute_s
                try:
                    charging = self._on_minute()
                    if charging is not None:
                        await charging
                except TiergateError as error:
                    return denied(error)
            ending = self._overdue(now)
            if ending is not None:
                return ending
            wake_at = min(self._next_look(now), self._look_for_life(now))
            if self._on_minute is not None:
                wake_at = min(wake_at, minute_at)
            await asyncio.sleep(max(wake_at - loop.time(), _SOONEST_S))

    def _overdue(self, now: float) -> Ending | None:
        limits, tally = self._limits, self._tally
        if tally.caller_slow_since is not None and now >= tally.caller_slow_since + limits.stall_s:
            told = (POLICY, "messages were not read")
            return Ending(by="gateway", cause="stalled", code=POLICY, to_caller=told, to_upstream=(GOING_AWAY, ""))
        if tally.upstream_slow_since is not None and now >= tally.upstream_slow_since + limits.stall_s:
            told = (INTERNAL, "the upstream stopped reading")
            return Ending(by="gateway", cause="stalled", code=INTERNAL, to_caller=told, to_upstream=(GOING_AWAY, ""))
        if limits.idle_s is not None and now >= tally.active_at + limits.idle_s:
            told = (GOING_AWAY, "no message for too long")
            return Ending(by="gateway", cause="idle", code=GOING_AWAY, to_caller=told, to_upstream=told)
        if limits.total_s is not None and now >= self._began_at + limits.total_s:
            told = (GOING_AWAY, "open for too long")
            return Ending(by="gateway", cause="expired", code=GOING_AWAY, to_caller=told, to_upstream=told)
        if self._pinged_at is not None and self._is_dead(self._pinged_at, now):
            return lost()
        return None

    def _is_dead(self, pinged_at: float, now: float) -> bool:
        socket = self._socket
        return socket.is_read and socket.is_silent and now >= pinged_at + self._limits.pong_s

    def _next_look(self, now: float) -> float:
        limits, tally = self._limits, self._tally
        looks = [now + limits.stall_s / 2]
        looks += [
            since + limits.stall_s
            for since in (tally.caller_slow_since, tally.upstream_slow_since)
            if since is not None
        ]
        if limits.idle_s is not None:
            looks.append(tally.active_at + limits.idle_s)
        if limits.total_s is not None:
            looks.append(self._began_at + limits.total_s)
        return min(looks)

    def _look_for_life(self, now: float) -> float:
        """Ping the upstream if it has been silent; returns when to look again."""
        ping_s, socket = self._limits.ping_s, self._socket
        if ping_s is None:
            return now + self._limits.stall_s
        if not socket.is_read or not socket.is_silent:
            self._pinged_at = None
        if self._pinged_at is not None:
            return self._pinged_at + self._limits.pong_s
        if not socket.is_read:
            return now + ping_s
        if now < socket.heard_at + ping_s:
            return socket.heard_at + ping_s
        if socket.ping():
            self._pinged_at = now
        return now + min(ping_s, self._limits.pong_s)
