"""Calls in a town: what buyers use, what it counts as, and what of it Stripe is told to bill.

A call passes the real admission and counts in the real cache. Settling and reporting are work of the background,
and disturbed as all of it is. What must hold is told from the calls that were let in, and from Stripe's side: what
was bought there, and what its meter counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.admission.attempt import receipt_of
from gateway.cache.keyspace import acct_key, use_key
from gateway.capping import CapOrder, Capping
from gateway.core.errors import TiergateError
from gateway.core.key_order import KeyOrder
from gateway.core.overage import overage_field
from gateway.ledger.meter_tables import METERED_WINDOWS
from gateway.ledger.tables import CUSTOMERS, USAGE_TOTALS
from gateway.reporting import Reporter
from gateway.settlement import Settlement
from gateway.telemetry import Metrics
from tests.lives.away import COUNTER, Away
from tests.lives.beyond import INCLUDED, Bought, bought_beyond
from tests.lives.holding import check_let_in
from tests.lives.steps import run_in

if TYPE_CHECKING:
    from gateway.admission import Admission
    from gateway.cache import Cache
    from gateway.ledger import MeterReportRow
    from gateway.policyfiles import PolicyHolder
    from gateway.provisioning import Provisioning
    from gateway.reporting import HoldsPolicy, ReportingOptions
    from gateway.sandbox.meters import MeterEvent
    from tests.lives.town import Buyer, Town

OVER = overage_field("requests")
_COSTS = {"GET": 1, "POST": 4}
_CAPS = (None, 0, 1, 2)
"""In cents; None: the buyer's own cap is taken back."""
_UNKNOWN, _GONE = "for a day nobody could tell", "(resource_missing)"
"""Why a report may be given up: Stripe did not answer for long, or does not have the customer any more."""


@dataclass(slots=True)
class Usage:
    """What one buyer used, and what it may have used beyond its quota."""

    key: bytes = b""
    units: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """All that was let in, by the start of its window. What is included may count in a later one than the rest."""
    called_at: dict[int, float] = field(default_factory=dict)
    """The last call of each window."""
    bought: set[Bought] = field(default_factory=set)
    """What Stripe had since everything was last known to be in step."""
    caps: set[int | None] = field(default_factory=lambda: {None})
    """Cents that may be the buyer's own cap: the gateway may not have been told of the last one yet."""


@dataclass(slots=True, kw_only=True)
class Calling:
    """The part of a town that is called and bills."""

    town: Town
    admission: Admission
    cache: Cache
    provisioning: Provisioning
    policy: PolicyHolder
    capping: Capping
    metrics: Metrics
    away: Away
    usages: dict[str, Usage] = field(default_factory=lambda: defaultdict(Usage))
    unsettled: set[str] = field(default_factory=set)
    """Who called since what was counted became part of the record."""
    forgotten: dict[str, int] = field(default_factory=dict)
    """Whom the cache was made to forget, and the version of the account that it had had."""
    numbers: Iterator[int] = field(default_factory=count)

    # -- what buyers do -----------------------------------------------------------------------

    async def call(self, buyer: Buyer) -> None:
        """Some calls, dear ones and cheap ones, whether they are let in or not."""
        town, usage = self.town, self.usages[buyer.customer_id]
        if not usage.key:
            issued = await self.provisioning.issue(buyer.customer_id, KeyOrder(), actor="test")
            usage.key = issued.minted.text.encode()
        self.note_bought(buyer)
        taken: dict[str, int] = defaultdict(int)
        included, process = 0, self.away.process(town)
        for _ in range(town.chance.randint(2, 6)):
            method = town.chance.choice(("GET", "POST", "POST"))
            attempt = self.admission.attempt(f"dec_{next(self.numbers):x}", method, "/v1/echo")
            try:
                await run_in(process, self.admission.admit(attempt, usage.key))
            except TiergateError:
                continue
            finally:
                if attempt.outage is not None:
                    self.away.failed_at = town.now()
            check_let_in(town, buyer, attempt)
            if attempt.outage is not None:
                self.away.note(town, attempt, buyer.customer_id, _COSTS[method])
                continue
            parts = receipt_of(attempt).parts
            assert sum(units for _, _, units in parts) == _COSTS[method], f"{parts}: {town.told(buyer)}"
            for counter, _, units in parts:
                taken[counter] += units
                if counter == COUNTER and attempt.plan is not None:
                    included = max(included, INCLUDED[attempt.plan.tier.name])
        if taken:
            await self._note_taken(buyer, taken, included)

    async def _note_taken(self, buyer: Buyer, taken: Mapping[str, int], included: int) -> None:
        """What calls took, by counter: it is in the window in which the cache counts that one now.

        It may be a later one than was asked for, and what the cache counts may have been restored: neither tells
        what calls took.
        """
        town, usage = self.town, self.usages[buyer.customer_id]
        self.unsettled.add(buyer.customer_id)
        reading = await self.cache.read_usage(buyer.customer_id)
        assert reading is not None, town.told(buyer)
        for counter, units in taken.items():
            starts_at, used = reading.quotas[counter]
            usage.units[starts_at] += units
            usage.called_at[starts_at] = town.now()
            if counter == COUNTER:
                assert used <= included, f"{used} units of {included}: {town.told(buyer)}"
            if counter == OVER:
                most = max((one.most(cap) for one in usage.bought for cap in usage.caps), default=0)
                assert used <= most, f"{used} units beyond: {town.told(buyer)}; {usage}"

    async def cap(self, buyer: Buyer) -> None:
        """Set a cap of the buyer's own, or take it back."""
        town, usage = self.town, self.usages[buyer.customer_id]
        amount = town.chance.choice(_CAPS)
        account = await town.ledger.load_account(buyer.customer_id)
        assert account is not None
        usage.caps.add(amount)
        said = {"actor": "buyer", "because": "test"}
        if amount is None:
            await town.act_as_web(self.capping.drop(account, town.policy, None, **said))
        else:
            await town.act_as_web(self.capping.set(account, town.policy, CapOrder(amount=amount), **said))

    def may_exceed(self, buyer: Buyer) -> bool:
        """Whether its quota may be exceeded, or could be lately."""
        return bool(self.usages[buyer.customer_id].bought)

    def note_bought(self, buyer: Buyer) -> None:
        """What Stripe has of overage now."""
        self.usages[buyer.customer_id].bought |= bought_beyond(self.town.simulator.world, buyer.stripe_customer_id)

    # -- what the gateway does ----------------------------------------------------------------

    async def charge_back(self) -> None:
        """What was let in without the cache is counted."""
        for customer_id, owed in (await self.away.charge_back(self.town)).items():
            for window, units in owed.items():
                self.usages[customer_id].units[window] += units
            self.unsettled.add(customer_id)

    async def settle(self) -> None:
        """What a process does that has just started, or goes on: whoever called is settled."""
        town = self.town
        settlement = Settlement(town.ledger, self.cache, town.publisher, town.clock, self.metrics)
        for customer_id in sorted(self.unsettled):
            settlement.note_moved(customer_id)
        if self.unsettled and await settlement.settle() is not None:
            self.unsettled = set()

    def reporter(self, options: ReportingOptions | None = None, policy: HoldsPolicy | None = None) -> Reporter:
        """Of a process that has just started."""
        town = self.town
        return Reporter(
            ledger=town.ledger,
            billing=town.billing,
            check_account=town.sync.account.check,
            policy=policy or self.policy,
            clock=town.clock,
            metrics=self.metrics,
            options=options,
        )

    async def lose_the_cache(self) -> None:
        """It forgets everybody. What was not settled yet is not billed."""
        town = self.town
        for buyer in town.buyers:
            await town.cache.delete(acct_key(buyer.customer_id), use_key(buyer.customer_id))
        self.forgotten = await self.published()
        settled = await self._settled()
        for customer_id in self.unsettled:
            units = self.usages[customer_id].units
            units.clear()
            units.update({window: sum(both) for window, both in settled[customer_id].items()})
        self.unsettled = set()

    # -- what must hold -----------------------------------------------------------------------

    async def left_to_do(self) -> int:
        """Reports that wait, windows of which something is to be reported, and who is to be settled."""
        counts, look_at = await self.town.ledger.report_counts()
        return counts["pending"] + (look_at is not None) + len(self.unsettled) + len(self.away.owed)

    async def check(self) -> None:
        """At rest: what was let in is settled, and each unit beyond is counted by Stripe once, or given up and said."""
        settled = await self._settled()
        windows = await self._windows()
        reports = defaultdict(list)
        for row in await self.town.ledger.list_reports(limit=1_000_000):
            reports[row.customer_id, row.window_starts_at].append(row)
        events = defaultdict(list)
        for event in self.town.simulator.world.tables.meter_events.values():
            events[event.identifier].append(event)
        made = {row.identifier for rows in reports.values() for row in rows}
        assert set(events) <= made, "Stripe was told what nobody wrote down before"
        for buyer in self.town.buyers:
            usage, told = self.usages[buyer.customer_id], self.town.told(buyer)
            is_gone = "delete_the_customer" in buyer.acts
            mine = settled[buyer.customer_id]
            recorded = {at: sum(both) for at, both in mine.items()}
            assert recorded == dict(usage.units), told
            beyond = {at: over for at, (_, over) in mine.items() if over}
            ends = {at: end for (customer_id, at), end in windows.items() if customer_id == buyer.customer_id}
            assert set(ends) == set(beyond), told
            for at, units in beyond.items():
                self._check_reports(reports[buyer.customer_id, at], events, units, told, is_gone=is_gone)
                called_at = usage.called_at.get(at, float("inf"))
                later = [one for one in usage.units if at < one and called_at < one]
                until = min([ends[at], *later])
                moments = [one.at for row in reports[buyer.customer_id, at] for one in events[row.identifier]]
                assert all(at <= moment < until for moment in moments), f"{moments} not in {at}..{until}: {told}"
            await self._check_cap(buyer)
            usage.bought = set()
            self.note_bought(buyer)

    def _check_reports(
        self,
        rows: list[MeterReportRow],
        events: Mapping[str, list[MeterEvent]],
        units: int,
        told: str,
        *,
        is_gone: bool,
    ) -> None:
        """Of one window. `is_gone`: Stripe's customer was deleted at some time."""
        assert sum(row.units for row in rows) == units, f"{units} units, {rows}: {told}"
        for row in rows:
            counted = [one.value for one in events.get(row.identifier, ()) if not one.cancelled]
            if row.status == "sent":
                assert counted == [row.units], f"{counted}, {row}: {told}"
                continue
            why = row.error or ""
            assert row.status == "dead", f"{row}: {told}"
            assert _UNKNOWN in why or (_GONE in why and is_gone), f"{row}: {told}"
            assert counted in ([], [row.units] if _UNKNOWN in why else []), f"{counted}, {row}: {told}"

    async def _check_cap(self, buyer: Buyer) -> None:
        """The one cap that there is now is one of those that were asked for."""
        account = await self.town.ledger.load_account(buyer.customer_id)
        assert account is not None
        caps: set[int | None] = {one.amount for one in account.spend_caps} or {None}
        usage = self.usages[buyer.customer_id]
        assert caps <= usage.caps, self.town.told(buyer)
        usage.caps = caps

    def billed(self) -> int:
        """Units that Stripe counts, of all buyers."""
        events = self.town.simulator.world.tables.meter_events.values()
        return sum(one.value for one in events if not one.cancelled)

    async def settled_windows(self, customer_id: str) -> list[int]:
        """The last two of a buyer's windows in which the ledger has something that was included."""
        settled = (await self._settled())[customer_id]
        return sorted(at for at, (included, _) in settled.items() if included)[-2:]

    async def _settled(self) -> Mapping[str, Mapping[int, tuple[int, int]]]:
        """Of each customer, by window: units that were included, and units beyond."""
        used, columns = defaultdict(lambda: defaultdict(lambda: (0, 0))), USAGE_TOTALS.c  # type: ignore[var-annotated]
        query = select(columns.customer_id, columns.field, columns.window_starts_at, columns.used)
        async with self.town.ledger._database.reading() as connection:
            for row in await connection.execute(query.where(columns.field.in_((COUNTER, OVER)))):
                included, over = used[row.customer_id][row.window_starts_at]
                both = (included + row.used, over) if row.field == COUNTER else (included, over + row.used)
                used[row.customer_id][row.window_starts_at] = both
        return used

    async def published(self) -> dict[str, int]:
        """The version of each account that the cache is known to have had."""
        query = select(CUSTOMERS.c.customer_id, CUSTOMERS.c.published_version)
        async with self.town.ledger._database.reading() as connection:
            return {row.customer_id: row.published_version for row in await connection.execute(query)}

    async def _windows(self) -> dict[tuple[str, int], int]:
        """The ends of windows with units beyond the quota."""
        columns = METERED_WINDOWS.c
        query = select(columns.customer_id, columns.window_starts_at, columns.window_ends_at).where(columns.total > 0)
        async with self.town.ledger._database.reading() as connection:
            return {(row[0], row[1]): row[2] for row in await connection.execute(query)}
