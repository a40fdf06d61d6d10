"""One plan of one key in one worker: how fast its calls come, the lease it spends, and the next one.

Leases are drawn once calls come fast enough, and each is followed by another shortly before it is used up or over,
so that no call waits for it: not sooner, for the time of the next one runs from its draw on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.core.account import Account
from gateway.core.charge import Claim
from gateway.core.lease import (
    ENTER_PER_S,
    LEAVE_PER_S,
    Draw,
    Lease,
    ahead_s,
    calls_wanted,
    measured_pace,
)
from gateway.leasing.asking import Asking

_MEASURED_S = 1.0
"""A pace to enter with is looked for over so long."""
_FEW = 4
"""A grant of fewer calls is not worth its round trips: exact for a while."""


class Handle(Protocol):
    """Of something that is to be called later."""

    def cancel(self) -> None:
        """It is not."""
        ...


class Worker(Protocol):
    """What lessees need of their worker. Attributes as those of `Leasing`."""

    clock: Clock
    ttl_ms: int
    steady: Callable[[], float]
    later: Callable[[float, Callable[[], None]], Handle]
    is_informed: bool
    asking: Asking

    def hold(self, customer_id: str, lessee: Lessee) -> None:
        """It has a lease, or is about to."""
        ...

    def let_go(self, customer_id: str, lessee: Lessee) -> None:
        """It has none any more."""
        ...


class Lessee:
    """One plan of one key in one worker.

    Args:
        worker: Which of them.
        account: Of which the plan was made.
        claims: Of one call.
    """

    __slots__ = (
        "_beside",
        "_claims",
        "_count",
        "_customer_id",
        "_drawing",
        "_dropped",
        "_lease",
        "_next",
        "_pace",
        "_rests_until",
        "_since",
        "_steady",
        "_timers",
        "_took_s",
        "_version",
        "_worker",
    )

    def __init__(self, worker: Worker, account: Account, claims: tuple[Claim, ...]) -> None:
        self._worker = worker
        self._steady = worker.steady
        self._customer_id = account.customer_id
        self._version = account.version
        self._claims = claims
        self._lease: Lease | None = None
        self._next: Lease | None = None
        """Drawn ahead; used when the other is."""
        self._drawing: Draw | None = None
        self._dropped = 0
        """How often everything was dropped: a draw that was under way then is."""
        self._timers: list[Handle] = []
        self._pace = 0.0
        """Calls per second; 0: slower than leases are for."""
        self._count = 0
        self._beside = 0
        """Calls that were charged by themselves while a draw was under way: a lease tells callers of them too."""
        self._took_s = 0.0
        """The latest draw, until it was answered."""
        self._since = self._rests_until = -1.0

    def take(self) -> list[Any] | None:
        """Let one call through without asking.

        Returns:
            As the charge script answers a charge; None: there is no lease, ask.
        """
        lease = self._lease
        if lease is None:
            return None
        now_s = self._steady()
        if not lease.left or now_s >= lease.over_s:
            lease = self._turn(now_s)
            if lease is None:
                return None
        reply = lease.take()
        if lease.left == lease.low:
            self._follow(lease, now_s)
        return reply

    @property
    def left(self) -> int:
        """Calls that it may still let through without asking."""
        return sum(lease.left for lease in (self._lease, self._next) if lease is not None)

    def charged(self) -> None:
        """A call was charged by itself: perhaps it is time to draw a lease."""
        if self._drawing is not None:
            self._beside += 1
            return
        if self._lease is not None:
            self._lease.note(1)
            return
        now_s = self._steady()
        if now_s < self._rests_until or not self._worker.is_informed:
            return
        if self._pace:
            self._draw(now_s)
            return
        if not 0 <= now_s - self._since < _MEASURED_S:
            self._since, self._count = now_s, 0
        self._count += 1
        if self._count >= ENTER_PER_S:
            self._pace = measured_pace(self._count, now_s - self._since)
            self._count = 0
            self._draw(now_s)

    def drop(self) -> None:
        """End everything at once."""
        self._dropped += 1
        self._pace = 0.0
        for lease in (self._lease, self._next):
            if lease is not None:
                self._end(lease)
        self._let_go()

    # Drawing.

    def _follow(self, lease: Lease, now_s: float) -> None:
        """Draw the lease that comes after this one, unless calls have become rare."""
        if lease is not self._lease or self._next is not None or self._drawing is not None:
            return
        self._pace = lease.pace(now_s)
        if self._pace >= LEAVE_PER_S and now_s >= self._rests_until and self._worker.is_informed:
            self._draw(now_s)

    def _draw(self, now_s: float) -> None:
        worker = self._worker
        draw = self._drawing = Draw(
            customer_id=self._customer_id,
            version=self._version,
            claims=self._claims,
            name=worker.asking.next_name(),
            wanted=calls_wanted(self._pace, worker.ttl_ms),
            ttl_ms=worker.ttl_ms,
            now_ms=worker.clock.cache_now_ms(),
        )
        self._beside = 0
        worker.hold(self._customer_id, self)
        worker.asking.draw(draw, partial(self._drawn, now_s, self._dropped))

    def _drawn(self, sent_s: float, dropped: int, lease: Lease | None) -> None:
        """A draw was answered, or was not."""
        self._drawing = None
        now_s = self._steady()
        self._took_s = now_s - sent_s
        if lease is None:
            self._rest(now_s)
            return
        lease.note(self._beside)
        if dropped != self._dropped or now_s >= lease.over_s:
            self._end(lease)
            self._let_go()
            return
        if lease.calls < _FEW:
            self._rest(now_s)
        if self._lease is None:
            self._begin(lease, now_s)
        else:
            self._next = lease

    def _rest(self, now_s: float) -> None:
        self._rests_until = now_s + self._worker.ttl_ms / 1000
        self._let_go()

    # From one to the next.

    def _begin(self, lease: Lease, now_s: float) -> None:
        self._lease, self._next = lease, None
        lasts_s = max(0.0, lease.over_s - now_s)
        early_s = ahead_s(self._took_s, lasts_s)
        lease.begin(now_s, self._pace, early_s)
        later = self._worker.later
        self._timers = [
            later(lasts_s - early_s, lambda: self._follow(lease, self._steady())),
            later(lasts_s, lambda: self._expire(lease)),
        ]

    def _turn(self, now_s: float) -> Lease | None:
        """The lease is used up, or over: go on with the next one, if there is."""
        ended, following = self._lease, self._next
        if ended is None:
            return None
        pace = ended.pace(now_s)
        self._pace = pace if pace >= LEAVE_PER_S else 0.0
        self._next = None
        self._end(ended)
        if following is None:
            self._let_go()
            return None
        if now_s >= following.over_s:
            self._end(following)
            self._let_go()
            return None
        self._begin(following, now_s)
        return following

    def _expire(self, lease: Lease) -> None:
        """Give back what nobody came for, also if nobody comes any more."""
        now_s = self._steady()
        if lease is not self._lease:
            return
        if now_s < lease.over_s:  # the event loop's clock is coarser
            self._timers.append(self._worker.later(lease.over_s - now_s, lambda: self._expire(lease)))
            return
        self._turn(now_s)

    def _end(self, lease: Lease) -> None:
        """It lets nothing through any more."""
        if lease is self._lease:
            self._lease = None
            for timer in self._timers:
                timer.cancel()
            self._timers = []
        elif lease is self._next:
            self._next = None
        self._worker.asking.end(self._customer_id, lease)

    def _let_go(self) -> None:
        if self._lease is None and self._next is None and self._drawing is None:
            self._worker.let_go(self._customer_id, self)
