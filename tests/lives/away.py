"""Calls while the cache is away: who is let in then, how much of it, and what is counted when it is back.

The outage rule of a town's tiers is the default one: who pays has a few units in an outage, others wait. What is let in
is owed, and counts once when the cache is back, whatever answers are lost then: in the window that it was let in in, or
in a later one that had begun by then and counts already. What neither the cache's window nor the one before it is any
more is not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.outages import CALM_S
from tests.lives.beyond import INCLUDED
from tests.lives.steps import Fate, Process, run_in
from tests.lives.trouble import CALM

if TYPE_CHECKING:
    from gateway.admission import Attempt
    from gateway.outages import Outages
    from tests.lives.town import Town

COUNTER = "q:requests:period"
MOST = {tier: min(10, units) for tier, units in INCLUDED.items() if tier != "free"}
"""Units of one outage, by tier: ten, and no more than the quota."""
_GOES_AWAY, _STAYS_AWAY = 0.3, 0.3
_FIRST_STEPS = (0, 0, 1, 2, 3, 5)
"""From which step of a process on: who calls first then is known from long ago, or not at all."""
_MOST_MOMENTS = 100
"""Until all is charged back that can be: more is no progress."""


@dataclass(slots=True, kw_only=True)
class Away:
    """What happened without the cache. Nobody is killed there: what a dead worker owed is lost."""

    outages: Outages
    used: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Units of the outage that goes on, by customer."""
    owed: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    """Of each customer, by window: what was let in and is not counted."""
    owed_since: dict[str, float] = field(default_factory=dict)
    """The first call of these."""
    failed_at: float = 0.0

    def process(self, town: Town) -> Process:
        """One that makes some calls: the cache may go away in the middle of them, or as a test has prepared it."""
        if town.planned:
            return town.planned.pop()
        first = town.chance.choice(_FIRST_STEPS) if town.chance.random() < _GOES_AWAY else None

        def fate_of(kind: str, step: int) -> Fate:
            return "refused" if kind == "cache" and first is not None and step >= first else "done"

        return Process(fate_of=fate_of)

    def note(self, town: Town, attempt: Attempt, customer_id: str, cost: int) -> None:
        """A call was let in that the cache did not decide."""
        assert attempt.plan is not None
        assert attempt.outage is not None
        tier = attempt.plan.tier.name
        self.used[customer_id] += cost
        assert self.used[customer_id] <= MOST.get(tier, 0), f"{self.used[customer_id]} units in an outage as {tier}"
        [(name, starts_at, units)] = attempt.outage.parts
        assert (name, units) == (COUNTER, cost)
        self.owed[customer_id][starts_at] += cost
        self.owed_since.setdefault(customer_id, town.now())

    async def charge_back(self, town: Town) -> dict[str, dict[int, int]]:
        """What a worker does every moment: the cache may stay away, or come back in the trouble of the moment.

        Returns:
            What is counted now, by customer and window.
        """
        if town.trouble is not CALM and town.chance.random() < _STAYS_AWAY:
            await run_in(self._noting(town, Process(fate_of=lambda *_: "refused")), self.outages.charge_back())
            return {}
        kept = {customer_id: await self._windows(town, customer_id) for customer_id in self.owed}
        troubled = town.planned.pop() if town.planned else replace(town.trouble, killed=0.0).process(town.fates)
        await run_in(self._noting(town, troubled), self.outages.charge_back())
        for _ in range(_MOST_MOMENTS):
            if not self.outages.owed_units:
                break
            await self.outages.charge_back()
        else:
            raise AssertionError("what is owed is not charged back")
        counted = {one: placed(kept[one], owed, self.owed_since[one]) for one, owed in self.owed.items()}
        self.owed.clear()
        self.owed_since.clear()
        if town.now() - self.failed_at >= CALM_S:
            self.used.clear()
        return counted

    def _noting(self, town: Town, process: Process) -> Process:
        """The same: an outage goes on while something fails."""
        drawn = process.fate_of

        def fate_of(kind: str, step: int) -> Fate:
            fate = drawn(kind, step)
            if fate != "done":
                self.failed_at = town.now()
            return fate

        process.fate_of = fate_of
        return process

    async def _windows(self, town: Town, customer_id: str) -> list[int]:
        """The last two that are counted: by the cache, or by the ledger whose counts it is told if it lost them."""
        reading = await town.calling.cache.read_usage(customer_id)
        if reading is None:
            return await town.calling.settled_windows(customer_id)
        return [quotas[COUNTER][0] for quotas in (reading.ended, reading.quotas) if COUNTER in quotas]


def placed(kept: Sequence[int], owed: Mapping[int, int], since: float) -> dict[int, int]:
    """Where units count that were let in since then: by window, in the order in which these were first owed.

    Args:
        kept: The last two windows that are counted before, in order.
        owed: By the window that they were let in in.
        since: Unix seconds of the first call.
    """
    windows, counted = list(kept), defaultdict[int, int](int)
    for owed_at, units in owed.items():
        is_moved_back = bool(windows) and owed_at < windows[-1] <= since
        at = windows[-1] if is_moved_back else owed_at
        if not windows or at > windows[-1]:
            windows.append(at)
        counted[at] += units
    return {at: units for at, units in counted.items() if at in windows[-2:]}
