"""What one worker asks of the cache about leases: draws and ends, and what is known of those without an answer.

Nobody waits for an answer here: who draws is told of it, and an end is seen through whoever else goes.
Every call of a lease is counted by what became of it, when that is known.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from gateway.cache import Cache, CacheUnavailable, prepare_draw, prepare_lease_end
from gateway.core.lease import Draw, Lease, granted, quota_parts
from gateway.leasing.giving_back import GivingBack, Owed, Parts
from gateway.telemetry import Metrics


class Asking:
    """The draws and ends of one worker.

    Args:
        cache: Which is asked.
        metrics: Counts what became of leases and their calls.
        steady: A clock that nobody sets, in seconds.
    """

    def __init__(self, cache: Cache, metrics: Metrics, steady: Callable[[], float]) -> None:
        self.cache = cache
        self._metrics = metrics
        self._steady = steady
        self.moved: Callable[[str], None] = _nobody
        """Told whose counters an ended lease has moved."""
        self.under_way: set[asyncio.Future[Any]] = set()
        """What was asked of the cache and not answered yet."""
        self.owed = GivingBack(cache, metrics, steady)
        """What it has not answered in time."""
        self._start = secrets.token_hex(4)
        self._numbers = count()

    def next_name(self) -> str:
        """A name for a lease: unique over workers and restarts."""
        return f"{self._start}{next(self._numbers):x}"

    def draw(self, draw: Draw, drawn: Callable[[Lease | None], None]) -> None:
        """Ask for a lease.

        Args:
            draw: What is asked for.
            drawn: Told of the answer once: None if nothing is leased, or nobody knows; then what may have been
                granted goes back later.
        """
        sent_s = self._steady()
        asked = self.cache.charge_packed(prepare_draw(draw))
        self._see_through(asked, partial(self._drawn, draw, sent_s, drawn))

    def end(self, customer_id: str, lease: Lease) -> None:
        """A lease lets nothing through any more. What is left of it goes back to quotas."""
        left = lease.left
        self._metrics.lease_calls.labels("admitted").inc(lease.calls - left)
        if not left:
            return
        parts = lease.unused()
        lease.left = 0
        asked = self.cache.charge_packed(prepare_lease_end(customer_id, lease.name, parts))
        self._see_through(asked, partial(self._ended, customer_id, lease.name, left, parts))

    async def answers(self) -> None:
        """Wait until everything that was asked is answered, or has failed."""
        while self.under_way:
            await asyncio.gather(*self.under_way, return_exceptions=True)

    async def give_back(self) -> None:
        """Give back what the cache has not answered about, if it is there."""
        for customer_id in await self.owed.send():
            self.moved(customer_id)

    def _see_through(self, asked: asyncio.Future[Any], answered: Callable[[asyncio.Future[Any]], None]) -> None:
        self.under_way.add(asked)
        asked.add_done_callback(self.under_way.discard)
        asked.add_done_callback(answered)

    def _drawn(
        self, draw: Draw, sent_s: float, drawn: Callable[[Lease | None], None], asked: asyncio.Future[list[Any]]
    ) -> None:
        leases = self._metrics.leases
        try:
            reply = _answer(asked)
        except BaseException:
            drawn(None)
            raise
        if reply is not None and granted(reply):
            lease = Lease(draw, reply, sent_s)
            leases.labels("granted").inc()
            self._metrics.lease_calls.labels("granted").inc(lease.calls)
            drawn(lease)
            return
        leases.labels("unknown" if reply is None else "refused").inc()
        if reply is None and _may_have_happened(asked):
            parts = quota_parts(draw.claims, draw.wanted)
            self._owe(draw.customer_id, draw.name, parts, draw.wanted, was_drawn=False)
        drawn(None)

    def _ended(self, customer_id: str, name: str, left: int, parts: Parts, asked: asyncio.Future[int]) -> None:
        given = _answer(asked)
        if given is None and parts:
            self._owe(customer_id, name, parts, left, was_drawn=True)
            return
        fate = "lapsed" if not parts else "returned" if given else "lost"
        self._metrics.lease_calls.labels(fate).inc(left)
        if given:
            self.moved(customer_id)

    def _owe(self, customer_id: str, name: str, parts: Parts, calls: int, *, was_drawn: bool) -> None:
        owed = Owed(customer_id=customer_id, name=name, parts=parts, calls=calls, was_drawn=was_drawn)
        self.owed.remember(owed)


def _answer(asked: asyncio.Future[Any]) -> Any:
    """What the cache said; None if it did not."""
    if asked.cancelled():
        return None
    error = asked.exception()
    if isinstance(error, CacheUnavailable):
        return None
    if error is not None:
        raise error
    return asked.result()


def _may_have_happened(asked: asyncio.Future[Any]) -> bool:
    """Whether the cache may have done what it did not answer."""
    error = None if asked.cancelled() else asked.exception()
    return error.may_have_happened if isinstance(error, CacheUnavailable) else True


def _nobody(_customer_id: str) -> None:
    """Nobody wants to know."""
