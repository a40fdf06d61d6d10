"""How fast this process may ask Stripe, and who goes first.

Stripe allows an account so many requests a second; what is beyond is answered with 429. Of that, background work
(events, sweeps) gets a share of its own, and waits for its turn. Whoever has a person waiting (checkout, portal, plan
change) never waits here; but every request is counted, so that background work makes room for it.

A 429 halves the pace, those of requests that were under way together once, and it recovers by and by: so several
machines that know nothing of each other end up within what Stripe allows.

Source: https://docs.stripe.com/rate-limits (100 requests a second live, 25 in a sandbox, 25 per endpoint).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from time import monotonic

_LONGEST_DEBT_S = 5.0
"""However many requests were made for people, background work goes on after this."""
_SLOWEST_PER_S = 1.0
_RECOVERY = 1.02
"""Each turn after a 429 is so much faster than the one before: twice as fast after 35 of them."""
_PAUSE_S = 1.0


@dataclass(slots=True)
class Sent:
    """How many requests were sent so far."""

    requests: int = 0


_paid: ContextVar[list[int] | None] = ContextVar("_paid", default=None)
"""Requests that the turn of this task has paid for already."""


_senders: ContextVar[tuple[Sent, ...]] = ContextVar("_senders", default=())
"""Who counts the requests of this task."""


class Pace:
    """Turns at Stripe, evenly spaced; time that nobody used is not made up for.

    Args:
        per_second: Requests of background work, of this process; infinite: nobody ever waits.
        clock: Monotonic seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self._full_gap_s = self._gap_s = 1 / per_second
        self._clock = clock
        self._next_at = 0.0
        self._halves_again_at = 0.0
        self.turns = 0
        """Turns that were taken."""
        self.limited = 0
        """Answers of Stripe that said 429, and have not been taken note of."""

    @property
    def per_second(self) -> float:
        """How many turns a second there are at the moment."""
        return 1 / self._gap_s if self._gap_s else inf

    @property
    def waits_s(self) -> float:
        """In how many seconds the next turn begins, if it is taken now."""
        return max(0.0, self._next_at - self._clock())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn. The first request inside is paid for by it, the others put off the turns to come."""
        wait_s = self.reserve()
        if wait_s:
            await asyncio.sleep(wait_s)
        token = _paid.set([1])
        try:
            yield
        finally:
            _paid.reset(token)

    def reserve(self) -> float:
        """Take the next turn: in how many seconds it begins."""
        now = self._clock()
        at = max(now, self._next_at)
        self._next_at = at + self._gap_s
        self.turns += 1
        self._gap_s = max(self._full_gap_s, self._gap_s / _RECOVERY)
        return at - now

    @contextmanager
    def counted(self) -> Iterator[Sent]:
        """Count every request that is sent inside: further pages, repeats, and what was needed for an answer."""
        sent = Sent()
        token = _senders.set((*_senders.get(), sent))
        try:
            yield sent
        finally:
            _senders.reset(token)

    def count(self) -> None:
        """A request is being sent."""
        for sent in _senders.get():
            sent.requests += 1
        paid = _paid.get()
        if paid is not None and paid[0]:
            paid[0] -= 1
            return
        now = self._clock()
        self._next_at = min(max(now, self._next_at) + self._gap_s, max(self._next_at, now + _LONGEST_DEBT_S))

    def take_limited(self) -> int:
        """How often Stripe has answered 429 since the last call."""
        limited, self.limited = self.limited, 0
        return limited

    def slow_down(self) -> None:
        """Stripe has answered 429."""
        self.limited += 1
        if not self._full_gap_s:
            return
        now = self._clock()
        self._next_at = max(self._next_at, now + _PAUSE_S)
        if now >= self._halves_again_at:
            self._halves_again_at = now + _PAUSE_S
            self._gap_s = max(self._full_gap_s, min(2 * self._gap_s, 1 / _SLOWEST_PER_S))
