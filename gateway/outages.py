"""What a worker lets in by itself while the cache cannot decide, and how that is counted afterwards.

Laws:

- Somebody is let in on the last account that the cache confirmed, or the ledger meanwhile, `SNAPSHOT_LIVES_S`
  ago at most; never on one that is known to be older than another. Whoever was over a quota stays out while its
  window lasts.
- Of `local N`, a customer gets N in one worker and outage. The outage is over, and the N is there again, when
  the cache has decided for `CALM_S` without failing once, and has taken back all that is owed. So what
  comes and goes refills nothing.
- What was let in is owed to its quotas and charged back once: the receipt stays the same until the
  cache has answered. What may have been charged already, because it was sent and not answered, is not
  owed: it counts once at most. Rates are owed nothing, and each worker holds them by itself (`core.pace`).
- What a call turns out to cost takes of N as soon as that is known. So for each customer, worker and outage, quotas
  end above their limit by N at most, and by what the calls in progress then cost more than they reserved. A worker
  that dies before it has charged back takes its count with it, which is no more.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import structlog
from cachetools import LRUCache

from gateway.cache import Cache, CacheUnavailable, Receipt
from gateway.core.account import Account
from gateway.core.charge import LimitState, QuotaClaim, RateClaim
from gateway.core.errors import CapacityReduced, LedgerUnavailable
from gateway.core.outage_policy import SNAPSHOT_LIVES_S, OutageMode, most_units, units_of
from gateway.core.pace import Paces
from gateway.core.planned import Plan, PlannedLimit
from gateway.publishing import Publisher
from gateway.telemetry import Metrics

CALM_S = 300.0
"""An outage is over when the cache has not failed for so long."""
_FIELDS = 256
"""Of one customer, so many quotas are remembered as used up, those that said no last."""

log = structlog.get_logger(__name__)

Parts: TypeAlias = tuple[tuple[str, int, int], ...]
"""Of each quota: field, start of its window, cost. As in a receipt."""


class Held:
    """An account as a worker holds it."""

    __slots__ = ("account", "confirmed_at")

    def __init__(self, account: Account, confirmed_at: float) -> None:
        self.account = account
        self.confirmed_at = confirmed_at
        """Unix seconds at which it was last known to be the current one."""

    def is_fresh(self, now: float) -> bool:
        """Whether it may be gone by without asking. A clock that was set back far makes none of them fresh."""
        return abs(now - self.confirmed_at) <= SNAPSHOT_LIVES_S


@dataclass(slots=True)
class Batch:
    """What is charged back at once."""

    number: int
    """Within the worker."""
    receipt: Receipt | None = None
    """Under which it is sent; None: it still grows."""
    charged_at: int = 0
    """Unix seconds of its first call that is owed; 0: none is."""
    seq: int = 0
    """What `Receipt.seq` is of the calls in it, once the cache has it."""


@dataclass(slots=True, kw_only=True)
class Passed:
    """What a tier's policy said of one call that the cache could not decide."""

    mode: OutageMode
    refusal: str | None = None
    """Why it was not let in, for the caller."""
    too_fast: tuple[LimitState, ...] = ()
    """The limits as they stand, if a rate refused it. No more is known of the others than that they did not."""
    customer_id: str = ""
    parts: Parts = ()
    """What is owed for it."""
    batch: Batch | None = None
    """What it goes with: until that is sent, the call can be taken out of it."""
    units: int = 0
    """What it has taken of the N."""


@dataclass(slots=True)
class _Customer:
    """What one customer has used in this outage."""

    batch: Batch
    """That `owed` will be."""
    first_batch: int
    """Number of the first one of this outage."""
    units: int = 0
    """Taken of the N."""
    owed: dict[tuple[str, int], int] = field(default_factory=dict)
    sending: Batch | None = None
    """Sent, or about to be; until the cache has said that it has it."""


class _Exhausted(NamedTuple):
    """A quota that could not pay."""

    claim: QuotaClaim
    quota: int
    """What it was in all, with credits."""

    def covers(self, claim: QuotaClaim, quota: int) -> bool:
        """Whether it says of this claim too that it cannot be paid: as dear, in the same window, of no more."""
        return claim.starts_at == self.claim.starts_at and quota <= self.quota and claim.cost >= self.claim.cost


class Outages:
    """The outages of one worker.

    Args:
        cache: Where it is charged back.
        publisher: Brings it customers that it has lost.
        metrics: Counts who was let in.
        entries: How many customers' exhausted quotas are remembered.
        monotonic: Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        cache: Cache,
        publisher: Publisher,
        metrics: Metrics,
        entries: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._publisher = publisher
        self._metrics = metrics
        self._monotonic = monotonic
        self._failed_at = 0.0
        self._customers: dict[str, _Customer] = {}
        self._asked: set[str] = set()
        self._exhausted: LRUCache[str, dict[str, _Exhausted]] = LRUCache(entries)
        self._paces = Paces(entries)
        self._boot = secrets.token_hex(8)
        self._batches = 0

    # Deciding.

    def note_refused(self, customer_id: str, plan: Plan, states: Sequence[LimitState], now: float) -> None:
        """The cache said no: remember the quotas that could not pay, beside those that could not before.

        Args:
            customer_id: Who called.
            plan: What was asked for.
            states: Of each limit, what the cache said.
            now: Unix seconds. What ended before is forgotten.
        """
        refused = (limit for limit, state in zip(plan.limits, states, strict=False) if not state.allowed)
        new = [_Exhausted(limit.claim, limit.quota) for limit in refused if isinstance(limit.claim, QuotaClaim)]
        if not new:
            return
        known = {name: one for name, one in self._exhausted.get(customer_id, {}).items() if one.claim.ends_at > now}
        for one in new:
            before = known.pop(one.claim.field, None)
            known[one.claim.field] = before if before is not None and before.covers(one.claim, one.quota) else one
        while len(known) > _FIELDS:
            del known[next(iter(known))]
        self._exhausted[customer_id] = known

    def judge(self, account: Account, plan: Plan, receipt: Receipt, error: CacheUnavailable) -> Passed:
        """Let a call in or not, by its tier's `when_cache_fails`.

        Args:
            account: Fresh.
            plan: What the account and policy make of the call.
            receipt: What it takes from quotas, and when.
            error: Why the cache did not decide.
        """
        self._failed_at = self._monotonic()
        rule, claims = plan.tier.when_cache_fails, plan.heads
        if rule.mode == "deny":
            return Passed(mode="deny", refusal="The limits cannot be checked right now, and this tier waits for them.")
        exhausted = self._exhausted.get(account.customer_id, {})
        if any(_could_not_pay(limit, exhausted) for limit in plan.limits):
            words = "The limits cannot be checked right now, and the quota was used up when they last were."
            return Passed(mode=rule.mode, refusal=words)
        rates = [claim for claim in claims if isinstance(claim, RateClaim)]
        now_ms = int(self._monotonic() * 1000)
        if waits := self._paces.waits_ms(account.customer_id, rates, now_ms):
            states = (
                LimitState(remaining=0, reset_ms=waits.get(claim.field, 0), allowed=claim.field not in waits)
                for claim in claims
            )
            return Passed(mode=rule.mode, refusal="Faster than the tier's pace.", too_fast=tuple(states))
        if rule.mode == "allow":
            self._paces.spend(account.customer_id, rates, now_ms)
            self._metrics.outage_admitted.labels("allow").inc()
            return Passed(mode="allow")
        customer = self._customers.get(account.customer_id)
        if customer is None:
            batch = self._next_batch()
            customer = self._customers[account.customer_id] = _Customer(batch, batch.number)
        units = units_of(claims)
        if customer.units + units > most_units(rule, claims):
            words = "The limits cannot be checked right now, and what may be used meanwhile is used up."
            return Passed(mode="local", refusal=words)
        customer.units += units
        self._paces.spend(account.customer_id, rates, now_ms)
        passed = Passed(mode="local", customer_id=account.customer_id, batch=customer.batch, units=units)
        if not error.may_have_happened:
            passed.parts = receipt.parts
            if receipt.parts and not customer.batch.charged_at:
                customer.batch.charged_at = receipt.charged_at
            for name, starts_at, cost in receipt.parts:
                customer.owed[name, starts_at] = customer.owed.get((name, starts_at), 0) + cost
        self._metrics.outage_admitted.labels("local").inc()
        return passed

    def note_asked(self, customer_id: str) -> None:
        """Somebody calls whose account this worker holds."""
        self._asked.add(customer_id)

    def take_asked(self) -> set[str]:
        """Whose calls came since the last time, while the cache could not decide."""
        asked, self._asked = self._asked, set()
        return asked

    def spent(self, passed: Passed, costs: Sequence[int]) -> None:
        """A call that was let in turned out to cost this: it takes so much of the N. Nothing of that comes back.

        Args:
            passed: Has taken as much as it cost afterwards.
            costs: For each quota.
        """
        more = max(costs) - passed.units
        customer, batch = self._customers.get(passed.customer_id), passed.batch
        if more > 0 and customer is not None and batch is not None and batch.number >= customer.first_batch:
            customer.units += more
            passed.units += more

    def correct(self, passed: Passed, costs: Sequence[int]) -> bool:
        """A call that was let in cost something else than was reserved, or nothing: owe that, once.

        Args:
            passed: Its parts are none afterwards.
            costs: What the call cost in the end, for each part.

        Returns:
            False if it has been charged back by now: then it can be corrected like any charge.
        """
        customer = self._customers.get(passed.customer_id)
        if customer is None or customer.batch is not passed.batch:
            return False
        for (name, starts_at, cost), real in zip(passed.parts, costs, strict=True):
            owed = customer.owed.get((name, starts_at), 0) + real - cost
            if owed:
                customer.owed[name, starts_at] = owed
            else:
                customer.owed.pop((name, starts_at), None)
        passed.parts = ()
        return True

    # Charging back.

    async def charge_back(self) -> list[str]:
        """Count what is owed, if the cache is there; call it every moment, and at shutdown.

        Returns:
            The customers whose counters moved.
        """
        moved: list[str] = []
        for customer_id, customer in list(self._customers.items()):
            if customer.sending is None and not customer.owed:
                continue
            if not self._cache.is_reachable(customer_id):
                self._failed_at = self._monotonic()
                continue
            try:
                if await self._charge_back(customer_id, customer):
                    moved.append(customer_id)
            except (CapacityReduced, LedgerUnavailable) as error:
                self._failed_at = self._monotonic()
                log.debug("what is owed to quotas cannot be charged back yet", reason=str(error))
                self._customers[customer_id] = self._customers.pop(customer_id)  # others are first next time
                break
        await self._end_if_over()
        self._metrics.outage_owed.set(self.owed_units)
        return moved

    async def _end_if_over(self) -> None:
        """Forget what was used of the allowances, after a time without a failure that ends with a write.

        Of a cluster, every server has to be well: nobody's allowance is refilled while one of them is not.
        """
        if not self._cache.is_ready or not all(self._cache.is_reachable(name) for name in self._customers):
            self._failed_at = self._monotonic()
        if not self._customers or self._monotonic() - self._failed_at < CALM_S:
            return
        try:
            await self._cache.try_write(everywhere=True)
        except CapacityReduced:
            self._failed_at = self._monotonic()
            return
        settled = [name for name, one in self._customers.items() if one.sending is None and not one.owed]
        for customer_id in settled:
            del self._customers[customer_id]

    async def _charge_back(self, customer_id: str, customer: _Customer) -> bool:
        batch = customer.sending
        if batch is None:
            batch = customer.sending = customer.batch
            customer.batch, customer.owed, owed = self._next_batch(), {}, customer.owed
            parts = tuple((name, starts_at, units) for (name, starts_at), units in owed.items())
            batch.receipt = Receipt(
                customer_id=customer_id,
                receipt_id=f"{self._boot}-{batch.number}",
                parts=parts,
                charged_at=batch.charged_at,
            )
        receipt = batch.receipt
        if receipt is None:
            raise AssertionError("what is sent has a receipt")
        answer = await self._cache.charge_back(receipt)
        if answer is None and await self._publisher.load(customer_id) is not None:
            answer = await self._cache.charge_back(receipt)
            if answer is None:
                return False  # lost once more: the next call tries again
        customer.sending = None
        counted, batch.seq = answer or (0, 0)
        units = sum(part[2] for part in receipt.parts)
        self._metrics.outage_charged_back.inc(counted)
        log.info("what was let in is charged back", customer_id=customer_id, owed=units, counted=counted)
        return counted > 0

    def _next_batch(self) -> Batch:
        self._batches += 1
        return Batch(self._batches)

    @property
    def owed_units(self) -> int:
        """What is not charged back yet."""
        owed = sum(sum(customer.owed.values()) for customer in self._customers.values())
        sending = (one.sending.receipt for one in self._customers.values() if one.sending is not None)
        return owed + sum(part[2] for receipt in sending if receipt is not None for part in receipt.parts)


def _could_not_pay(limit: PlannedLimit, exhausted: dict[str, _Exhausted]) -> bool:
    """Whether it never holds so much, or was asked for no more than this when it last said no, in this window."""
    if not isinstance(limit.claim, QuotaClaim):
        return False
    if limit.claim.cost > limit.quota:
        return True
    seen = exhausted.get(limit.claim.field)
    return seen is not None and seen.covers(limit.claim, limit.quota)
