"""What a reconciliation would change, without changing anything: for a look before, and for a doubt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gateway.clock import Clock
from gateway.core.account import Subscription
from gateway.core.audited import AuditedAccess, assess_by
from gateway.core.errors import BillingRefused, BillingUnavailable, LedgerUnavailable, StripeAccountWrong
from gateway.core.projection import project
from gateway.ledger import CustomerRow, Ledger
from gateway.sync.customers import Sync
from gateway.sync.disputes import list_open_disputes
from gateway.sync.facts import read_facts
from gateway.sync.reporting import MAX_PER_SECOND, PAGE, Pace

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One customer who is not as Stripe has it."""

    customer_id: str
    user_id: str
    changes: dict[str, tuple[Any, Any]]
    """Facts of the subscription that differ: what is recorded, and what Stripe has. Never mutated."""
    access_before: AuditedAccess
    access_after: AuditedAccess
    is_missing: bool
    """Stripe has no such customer."""


@dataclass(slots=True, kw_only=True)
class Comparison:
    """How far a comparison is."""

    checked: int = 0
    unbound: int = 0
    failed: int = 0
    differences: list[Difference] = field(default_factory=list)
    to_plan: list[str] = field(default_factory=list)
    """Customers whose change would be planned again: it was lost, or would bring back what was replaced."""
    cursor: str = ""
    stopped_because: str | None = None


class Comparing:
    """Compares records with Stripe. Writes nothing, takes no fence."""

    def __init__(self, *, sync: Sync, ledger: Ledger, clock: Clock) -> None:
        self._sync = sync
        self._ledger = ledger
        self._clock = clock

    async def compare_all(
        self,
        progress: Callable[[Comparison], None] | None = None,
        *,
        after: str = "",
        per_second: float = MAX_PER_SECOND,
    ) -> Comparison:
        """Compare every customer, in the order of ids; `stopped_because` says whether that is complete."""
        report, pace = Comparison(cursor=after), Pace(per_second)
        try:
            await self._sync.account.check(learns=False)
            disputed = await self._disputed(pace)
            while page := await self._ledger.list_customers(after=report.cursor, limit=PAGE):
                for row in page:
                    await self._compare_one(row, disputed[row.stripe_customer_id or ""], report, pace)
                    report.cursor = row.customer_id
                    if progress is not None:
                        progress(report)
        except StripeAccountWrong as error:
            report.stopped_because = error.what
        except (BillingUnavailable, BillingRefused, LedgerUnavailable) as error:
            report.stopped_because = str(error)
        return report

    async def _disputed(self, pace: Pace) -> defaultdict[str, tuple[str, ...]]:
        """Open disputes by Stripe customer; none if the key may not read them."""
        found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        try:
            async for dispute in list_open_disputes(self._sync.billing, int(self._clock.now()), pace):
                found[dispute.stripe_customer_id or ""] += (dispute.dispute_id,)
        except BillingRefused:
            found.clear()
        return found

    async def _compare_one(self, row: CustomerRow, disputed: tuple[str, ...], report: Comparison, pace: Pace) -> None:
        if row.stripe_customer_id is None:
            report.unbound += 1
            return
        report.checked += 1
        for _ in range(_TRIES):
            await pace.wait()
            try:
                async with self._sync.billing.pace.turn():
                    difference, has_plan, requests = await self._difference(row, row.stripe_customer_id, disputed)
            except BillingRefused:
                report.failed += 1
                return
            pace.took(requests)
            now = await self._ledger.find_customer(row.customer_id)
            if has_plan and row.customer_id not in report.to_plan:
                report.to_plan.append(row.customer_id)
            if difference is None or now is None:
                return
            if now.applied_fence == row.applied_fence:
                report.differences.append(difference)
                return
            row = now  # a read was recorded meanwhile: what differed may be in step by now

    async def _difference(
        self, row: CustomerRow, stripe_customer_id: str, disputed: tuple[str, ...]
    ) -> tuple[Difference | None, bool, int]:
        policy, now = self._sync.policy, int(self._clock.now())
        account = await self._ledger.load_account(row.customer_id)
        facts = await read_facts(
            self._sync.billing, self._ledger, policy, row.customer_id, stripe_customer_id, also_disputed=disputed
        )
        has_plan = self._sync.has_plan_to_mend(facts.of_customer)
        if account is None:
            return None, has_plan, facts.requests
        after, _ = project(facts.of_customer, policy, account.subscription, now)
        if after == account.subscription:
            return None, has_plan, facts.requests
        assess = assess_by(policy, now)
        difference = Difference(
            customer_id=row.customer_id,
            user_id=row.user_id,
            changes=_changes(account.subscription, after),
            access_before=assess(account),
            access_after=assess(replace(account, subscription=after)),
            is_missing=not facts.of_customer.exists,
        )
        return difference, has_plan, facts.requests


def _changes(before: Subscription | None, after: Subscription | None) -> dict[str, tuple[Any, Any]]:
    old, new = _shown(before), _shown(after)
    both = {name: (old.get(name) or None, new.get(name) or None) for name in {**old, **new}}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def _shown(record: Subscription | None) -> dict[str, Any]:
    """The facts by name; of the subscriptions beneath, which they are and how they stand."""
    if record is None:
        return {}
    return asdict(record) | {"beneath": [f"{one.subscription_id} {one.status}" for one in record.all()[1:]]}
