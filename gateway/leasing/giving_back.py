"""What leases owe to quotas after a cache that did not answer: it is given back once the cache is there again.

Laws:

- A draw without an answer has let nothing through, so all that it may have granted goes back. Of a lease whose
  give-back had no answer, the same units go back. The cache clamps both to its own record of the lease, and ends
  each lease once (`cache/lua/lease_end.lua`): to ask again is harmless.
- A draw that is not known there may still be on its way, over the connection that was given up. So it is asked for
  `_ASKED` times, a turn apart.
- What the cache has not heard of for longer than it keeps its records, and what there is no room for here, is
  counted as lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.cache import Cache, CacheUnavailable, prepare_lease_end
from gateway.telemetry import Metrics

_MOST = 4096
"""Leases, of one worker. In an outage a plan stops to draw, so each adds two or three."""
_ASKED = 3
_RECORDED_S = 60.0
"""GRACE_MS of `cache/lua/lease.lua`."""

Parts: TypeAlias = list[tuple[str, int, int]]
"""Of each quota: field, units, start of its window."""


@dataclass(slots=True, kw_only=True)
class Owed:
    """One lease that the cache has not answered about."""

    customer_id: str
    name: str
    parts: Parts
    calls: int
    """That these parts pay for."""
    was_drawn: bool
    """Its draw was answered, its give-back was not."""
    since_s: float = 0.0
    asked: int = 0
    """Times that the cache has answered that it does not know it."""


class GivingBack:
    """The leases of one worker that are still to be given back.

    Args:
        cache: Where they go.
        metrics: Counts what became of them.
        steady: A clock that nobody sets, in seconds.
    """

    def __init__(self, cache: Cache, metrics: Metrics, steady: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache
        self._metrics = metrics
        self._steady = steady
        self._owed: dict[str, Owed] = {}

    def __len__(self) -> int:
        return len(self._owed)

    def remember(self, owed: Owed) -> None:
        """It is owed to the quotas of its parts; rates get nothing back."""
        if not owed.parts:
            return
        owed.since_s = self._steady()
        self._owed[owed.name] = owed
        if len(self._owed) > _MOST:
            self._lose(self._owed.pop(next(iter(self._owed))))

    async def send(self) -> list[str]:
        """Give back what is owed, if the cache is there; call it every moment, and at shutdown.

        Returns:
            The customers whose counters may have moved.
        """
        moved: list[str] = []
        for owed in list(self._owed.values()):
            if not self._cache.is_reachable(owed.customer_id):
                continue
            command = prepare_lease_end(owed.customer_id, owed.name, owed.parts)
            try:
                given: Any = await self._cache.charge_packed(command)
            except CacheUnavailable:
                self._owed[owed.name] = self._owed.pop(owed.name)  # others are first next time
                break
            self._answered(owed, given)
            moved.append(owed.customer_id)
        return moved

    def _answered(self, owed: Owed, given: int) -> None:
        calls = self._metrics.lease_calls
        owed.asked += 1
        if given:
            units = sum(part[1] for part in owed.parts)
            returned = owed.calls * given // units
            if not owed.was_drawn:
                calls.labels("granted").inc(returned)
            calls.labels("returned").inc(returned)
        elif self._steady() - owed.since_s >= _RECORDED_S:
            self._lose(owed)
        elif owed.was_drawn:
            calls.labels("returned").inc(owed.calls)  # by the give-back that was not answered
        elif owed.asked < _ASKED:
            return
        self._owed.pop(owed.name, None)

    def _lose(self, owed: Owed) -> None:
        self._metrics.lease_calls.labels("lost").inc(owed.calls)
