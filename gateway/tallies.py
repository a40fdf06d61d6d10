"""What each key did on each route, added up in memory and written to the ledger's hours every few seconds.

For looking back only. The quota counters in the cache decide, and they are the truth: what a worker
that is killed had not written yet is missing here (`settle_interval_s`), and nothing is ever counted twice.

On the hot path a call costs one comparison and one addition on its plan's `Tally`. Everything else is
done when the tallies are collected, without waiting for anything in between, so no call falls between
two collections. A call counts in the hour in which it was let through, and so does what is given back.
"""

from __future__ import annotations

import secrets
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from gateway.core.limit_text import REQUESTS
from gateway.ledger import HOUR_S, HourUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.clock import Clock
    from gateway.core.account import Account
    from gateway.core.planned import Plan
    from gateway.ledger import Ledger
    from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)

_ROWS_A_BATCH: Final = 300
_MOST_WAITING: Final = 200_000
"""Hours kept in memory while the ledger is away, some 200 bytes each; beyond it new ones are dropped and counted."""

_Whose: TypeAlias = tuple[str, str, str, int]
"""Customer, key, route, start of the hour."""


class Tally:
    """How many calls of one key were let through on one route since they were last collected.

    Whoever counts does it in place: `if now >= tally.until: tally.turn(now)`, then `tally.n += 1`.
    """

    __slots__ = ("_cost", "_starts_at", "_tallies", "_whose", "n", "until")

    def __init__(self, tallies: Tallies, account: Account, plan: Plan, *, is_charged: bool) -> None:
        self._tallies = tallies
        self._whose = (account.customer_id, plan.key.key_id, plan.route.pattern)
        self._cost = plan.route.cost if is_charged else tuple((meter, 0) for meter, _ in plan.route.cost)
        self._starts_at = 0
        self.n = 0
        self.until = 0
        """End of the hour that `n` counts in; 0: it was collected, and counts in none."""

    def turn(self, now: float) -> None:
        """Count in the hour of `now` from here on."""
        if self.n:
            self.collect()
        self._starts_at = _hour(now)
        self.until = self._starts_at + HOUR_S
        self._tallies.expect(self)

    def collect(self) -> None:
        """Hand over what was counted."""
        n, self.n, self.until = self.n, 0, 0
        if n:
            self._tallies.add((*self._whose, self._starts_at), self._cost, requests=n)


class Tallies:
    """Everything that was counted in this worker and is not in the ledger yet."""

    def __init__(self, ledger: Ledger, clock: Clock, metrics: Metrics) -> None:
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._active: list[Tally] = []
        self._counts: dict[_Whose, dict[str, list[int]]] = {}
        """By meter: requests, denied, units."""
        self._batches: deque[tuple[int, list[HourUsage]]] = deque()
        """Being written. They keep their numbers until they are, so that a repeat adds nothing."""
        self._writer = secrets.token_hex(8)
        self._numbers = count(1)

    def tally(self, account: Account, plan: Plan, *, is_charged: bool = True) -> Tally:
        """The counter of a plan: one that is kept with the plan, and dropped with it.

        Args:
            account: Whose calls.
            plan: Of all of them.
            is_charged: Whether they cost what the plan says, or nothing, as repeats under an Idempotency-Key do.
        """
        return Tally(self, account, plan, is_charged=is_charged)

    def expect(self, tally: Tally) -> None:
        """This tally is counting: ask it at the next collection, also if its plan is forgotten until then."""
        self._active.append(tally)

    def denied(self, account: Account, plan: Plan, now: float) -> None:
        """A limit refused a call."""
        self.add(_whose(account, plan, now), plan.route.cost, denied=1)

    def given_back(self, account: Account, plan: Plan, now: float) -> None:
        """A call that was let through at `now` is not billed."""
        self.add(_whose(account, plan, now), plan.route.cost, times=-1)

    def settled(self, account: Account, plan: Plan, costs: Mapping[str, int], now: float) -> None:
        """A call that was let through at `now` turned out to cost something else, in units by meter."""
        more = tuple((meter, costs[meter] - units) for meter, units in plan.route.cost if meter in costs)
        if more:
            self.add(_whose(account, plan, now), more, times=1)

    def spent(self, account: Account, plan: Plan, now: float) -> None:
        """Something beside a call was charged, at its plan's price: a message, a minute."""
        if plan.route.cost:
            self.add(_whose(account, plan, now), plan.route.cost, times=1)

    def add(
        self,
        whose: _Whose,
        cost: tuple[tuple[str, int], ...],
        *,
        requests: int = 0,
        denied: int = 0,
        times: int = 0,
    ) -> None:
        """Add to one hour of a key on a route, in each meter that it costs; what is free counts as requests.

        Args:
            whose: Customer, key, route and hour.
            cost: Units per call and meter.
            requests: Calls let through: their units are added too.
            denied: Calls refused.
            times: How often the cost is added (or, below 0, taken off) beside that.
        """
        meters = self._counts.get(whose)
        if meters is None:
            if len(self._counts) >= _MOST_WAITING:
                self._metrics.usage_history_dropped.inc(requests + denied)
                return
            meters = self._counts[whose] = {}
        for meter, units in cost or _FREE:
            counts = meters.setdefault(meter, [0, 0, 0])
            counts[0] += requests
            counts[1] += denied
            counts[2] += units * (requests + times)

    async def flush(self) -> None:
        """Write what was counted. After a failure, the same is written by the next call.

        Raises:
            LedgerUnavailable: It cannot be used. What was counted stays in memory.
        """
        self._collect()
        await self._write()
        self._cut()
        await self._write()

    def _collect(self) -> None:
        active, self._active = self._active, []
        for tally in active:
            tally.collect()

    def _cut(self) -> None:
        counts, self._counts = self._counts, {}
        rows = _hours(counts)
        for start in range(0, len(rows), _ROWS_A_BATCH):
            self._batches.append((next(self._numbers), rows[start : start + _ROWS_A_BATCH]))

    async def _write(self) -> None:
        while self._batches:
            number, rows = self._batches[0]
            await self._ledger.add_usage(self._writer, number, rows, now=int(self._clock.now()))
            if self._batches and self._batches[0][0] == number:
                self._batches.popleft()


_FREE: Final = ((REQUESTS, 0),)


def _whose(account: Account, plan: Plan, now: float) -> _Whose:
    return account.customer_id, plan.key.key_id, plan.route.pattern, _hour(now)


def _hour(now: float) -> int:
    return int(now) - int(now) % HOUR_S


def _hours(counts: dict[_Whose, dict[str, list[int]]]) -> list[HourUsage]:
    return [
        HourUsage(
            customer_id=customer_id,
            starts_at=starts_at,
            meter=meter,
            key_id=key_id,
            route=route,
            requests=requests,
            denied=denied,
            units=units,
        )
        for (customer_id, key_id, route, starts_at), meters in counts.items()
        for meter, (requests, denied, units) in meters.items()
    ]
