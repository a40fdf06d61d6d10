"""Leased mode: which plans have leases in this worker, when they are drawn, and what ends them.

A plan whose calls come fast enough lets them through from a lease (`core.lease`). One that is nearly
used up, or nearly over, is followed by another meanwhile, so that no call waits for it. Whatever is not sure is
exact: without news from the other workers (`cache.news`), after a draw that was refused or not answered, with
an empty lease.

A lease is dropped when its account changes: at once where this worker is told of it, and where all news are
lost, when it is over. So a revoked key is let in for as long as a lease lasts, at the very most.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Protocol

from gateway.cache import Cache, CacheUnavailable, prepare_draw, prepare_lease_end
from gateway.clock import Clock
from gateway.core.account import Account
from gateway.core.charge import Claim
from gateway.core.lease import (
    ENTER_PER_S,
    LEAVE_PER_S,
    Draw,
    Lease,
    calls_wanted,
    granted,
    is_leasable,
    measured_pace,
    quota_parts,
)
from gateway.core.planned import Plan
from gateway.giving_back import GivingBack, Owed, Parts
from gateway.telemetry import Metrics

_MEASURED_S = 1.0
"""A pace to enter with is looked for over so long."""
_FEW = 4
"""A grant of fewer calls is not worth its round trips: exact for a while."""
_RENEWED_AT = 0.75
"""Of a lease's time: then it is followed, if calls still come."""


class Handle(Protocol):
    """Of something that is to be called later."""

    def cancel(self) -> None:
        """It is not."""
        ...


class Leasing:
    """The leases of one worker.

    Args:
        cache: Where they are drawn.
        clock: Unix seconds, and the cache's instant.
        metrics: Counts what became of them.
        ttl_ms: How long one lasts.
        steady: A clock that nobody sets, in seconds.
        later: Calls something after so many seconds; None: the event loop.
    """

    def __init__(
        self,
        cache: Cache,
        clock: Clock,
        metrics: Metrics,
        ttl_ms: int,
        *,
        steady: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], Handle] | None = None,
    ) -> None:
        self.cache = cache
        self.clock = clock
        self.metrics = metrics
        self.ttl_ms = ttl_ms
        self.steady = steady
        self.later = later if later is not None else asyncio.get_running_loop().call_later
        self.is_informed = False
        """Whether changes of accounts reach this worker: without that, nothing is leased."""
        self.moved: Callable[[str], None] = _nobody
        """Told whose counters an ended lease has moved."""
        self.under_way: set[asyncio.Future[Any]] = set()
        """What was asked of the cache and not answered yet."""
        self.owed = GivingBack(cache, metrics, steady)
        """What it has not answered in time."""
        self._holders: dict[str, set[Lessee]] = {}
        self._start = secrets.token_hex(4)
        self._numbers = count()

    def lessee(self, account: Account, plan: Plan) -> Lessee | None:
        """Who draws leases for a plan. None: its calls are always charged one by one."""
        claims = plan.claims
        may = not plan.route.settle and is_leasable(claims, self.ttl_ms)
        return Lessee(self, account, claims) if may else None

    def drop(self, customer_id: str) -> None:
        """End every lease of a customer, for the account has changed."""
        for lessee in tuple(self._holders.get(customer_id, ())):
            lessee.drop()

    def drop_all(self) -> None:
        """End every lease."""
        for customer_id in tuple(self._holders):
            self.drop(customer_id)

    def inform(self, is_informed: bool) -> None:  # noqa: FBT001 - the signature that news call
        """News come in, or may have been missed: then every lease ends."""
        self.is_informed = is_informed
        if not is_informed:
            self.drop_all()

    async def aclose(self) -> None:
        """End every lease and see what they did not let through back where it came from."""
        self.inform(False)  # noqa: FBT003 - as declared
        while self.under_way:
            await asyncio.gather(*self.under_way, return_exceptions=True)
        await self.give_back()

    async def give_back(self) -> None:
        """Give back what the cache has not answered about, if it is there; call it every moment."""
        for customer_id in await self.owed.send():
            self.moved(customer_id)

    # What lessees call.

    def next_name(self) -> str:
        """A name for a lease: unique over workers and restarts."""
        return f"{self._start}{next(self._numbers):x}"

    def hold(self, customer_id: str, lessee: Lessee) -> None:
        """It has a lease, or is about to."""
        self._holders.setdefault(customer_id, set()).add(lessee)

    def let_go(self, customer_id: str, lessee: Lessee) -> None:
        """It has none any more."""
        holders = self._holders.get(customer_id)
        if holders is not None:
            holders.discard(lessee)
            if not holders:
                del self._holders[customer_id]

    def ask(self, asked: asyncio.Future[Any], answered: Callable[[asyncio.Future[Any]], None]) -> None:
        """See an answer through, whoever else goes."""
        self.under_way.add(asked)
        asked.add_done_callback(self.under_way.discard)
        asked.add_done_callback(answered)


class Lessee:
    """One plan of one key in one worker: what it holds, and how fast its calls come."""

    __slots__ = (
        "_beside",
        "_claims",
        "_count",
        "_customer_id",
        "_drawing",
        "_dropped",
        "_lease",
        "_leasing",
        "_next",
        "_pace",
        "_rests_until",
        "_since",
        "_steady",
        "_timers",
        "_version",
    )

    def __init__(self, leasing: Leasing, account: Account, claims: tuple[Claim, ...]) -> None:
        self._leasing = leasing
        self._steady = leasing.steady
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

    def charged(self) -> None:
        """A call was charged by itself: perhaps it is time to draw a lease."""
        if self._drawing is not None:
            self._beside += 1
            return
        if self._lease is not None:
            self._lease.note(1)
            return
        now_s = self._steady()
        if now_s < self._rests_until or not self._leasing.is_informed:
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
        if self._pace >= LEAVE_PER_S and now_s >= self._rests_until and self._leasing.is_informed:
            self._draw(now_s)

    def _draw(self, now_s: float) -> None:
        leasing = self._leasing
        draw = self._drawing = Draw(
            customer_id=self._customer_id,
            version=self._version,
            claims=self._claims,
            name=leasing.next_name(),
            wanted=calls_wanted(self._pace, leasing.ttl_ms),
            ttl_ms=leasing.ttl_ms,
            now_ms=leasing.clock.cache_now_ms(),
        )
        self._beside = 0
        leasing.hold(self._customer_id, self)
        answered = partial(self._drawn, draw, now_s, self._dropped)
        leasing.ask(leasing.cache.charge_packed(prepare_draw(draw)), answered)

    def _drawn(self, draw: Draw, sent_s: float, dropped: int, asked: asyncio.Future[list[Any]]) -> None:
        """The cache has answered a draw, or has not: then what it may have granted goes back later."""
        self._drawing = None
        leases, calls, now_s = self._leasing.metrics.leases, self._leasing.metrics.lease_calls, self._steady()
        reply = _answer(asked)
        if reply is None or not granted(reply):
            leases.labels("unknown" if reply is None else "refused").inc()
            if reply is None and _may_have_happened(asked):
                self._owe(draw.name, quota_parts(draw.claims, draw.wanted), draw.wanted, was_drawn=False)
            self._rest(now_s)
            return
        lease = Lease(draw, reply, sent_s)
        lease.note(self._beside)
        leases.labels("granted").inc()
        calls.labels("granted").inc(lease.calls)
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
        self._rests_until = now_s + self._leasing.ttl_ms / 1000
        self._let_go()

    # From one to the next.

    def _begin(self, lease: Lease, now_s: float) -> None:
        self._lease, self._next = lease, None
        lease.began_s = now_s
        lasts_s = lease.over_s - now_s
        later = self._leasing.later
        self._timers = [
            later(lasts_s * _RENEWED_AT, lambda: self._follow(lease, self._steady())),
            later(max(0.0, lasts_s), lambda: self._expire(lease)),
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
            self._timers.append(self._leasing.later(lease.over_s - now_s, lambda: self._expire(lease)))
            return
        self._turn(now_s)

    def _end(self, lease: Lease) -> None:
        """It lets nothing through any more. What is left goes back to quotas."""
        if lease is self._lease:
            self._lease = None
            for timer in self._timers:
                timer.cancel()
            self._timers = []
        elif lease is self._next:
            self._next = None
        leasing, left = self._leasing, lease.left
        leasing.metrics.lease_calls.labels("admitted").inc(lease.calls - left)
        if not left:
            return
        parts = lease.unused()
        command = prepare_lease_end(self._customer_id, lease.name, parts)
        lease.left = 0
        leasing.ask(leasing.cache.charge_packed(command), partial(self._ended, lease.name, left, parts))

    def _ended(self, name: str, left: int, parts: Parts, asked: asyncio.Future[int]) -> None:
        """The cache has answered what was given back, or has not: then it goes back later."""
        given = _answer(asked)
        if given is None and parts:
            self._owe(name, parts, left, was_drawn=True)
            return
        fate = "lapsed" if not parts else "returned" if given else "lost"
        self._leasing.metrics.lease_calls.labels(fate).inc(left)
        if given:
            self._leasing.moved(self._customer_id)

    def _owe(self, name: str, parts: Parts, calls: int, *, was_drawn: bool) -> None:
        owed = Owed(customer_id=self._customer_id, name=name, parts=parts, calls=calls, was_drawn=was_drawn)
        self._leasing.owed.remember(owed)

    def _let_go(self) -> None:
        if self._lease is None and self._next is None and self._drawing is None:
            self._leasing.let_go(self._customer_id, self)


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
