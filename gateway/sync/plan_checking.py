"""All records held against the policy in force, once for each policy, by one worker of all.

What an earlier release did not write (what a plan is sold as, and grants) is written while policy has the plan. Since
when policy lacks the plan of a record is written into it, so that the line `unreadable` counts from then; it is taken
out once the plan is back (`core.missing_plans`). Where nothing says what the plan granted, the customer is read at
Stripe, by an event of its own as any other work (`asking`).

Laws:
- whoever comes with a policy that was not checked takes the check in hand; a claim that is not renewed runs out;
- every record has the same instant, which is that of the check; to check again moves none;
- nothing is asked of Stripe, and no record is touched of which nothing has to be written.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from gateway.core.account import Subscription
from gateway.core.audited import assess_by
from gateway.core.missing_plans import held_against, missing_plan, needs_read
from gateway.sync.asking import Asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.core.policy import Policy
    from gateway.ledger import PlanTraits
    from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)

LEASE_S: Final = 120
"""How long a claim lasts unless it is renewed: far longer than a few records take."""
_TRAITS_AT_ONCE: Final = 40
_NOTED_AT_ONCE: Final = 20
"""In one transaction: webhooks wait behind it in an SQLite ledger."""


class PlanChecking:
    """The checks of one worker.

    Args:
        sync: Knows ledger, policy and Stripe.
        publish: Carries one customer from ledger to cache, or leaves it to who does so later.
    """

    def __init__(self, *, sync: Sync, publish: Callable[[str], Awaitable[object]]) -> None:
        self._sync = sync
        self._publish = publish
        self._worker = uuid4().hex
        self._checked: str | None = None
        """Hash of the policy that needs no look any more."""

    async def check_if_due(self) -> bool:
        """Check all records, if the policy in force was not checked and nobody else does so.

        Returns:
            Whether they were checked here.

        Raises:
            LedgerUnavailable: Some are left; to call it again goes on.
        """
        policy = self._sync.policy
        if policy.policy_hash == self._checked:
            return False
        claim = {"now": int(self._sync.clock.now()), "lease_s": LEASE_S}
        answer = await self._sync.ledger.claim_plan_check(self._worker, policy.policy_hash, **claim)
        if answer == "busy" or (answer == "claimed" and not await self._check(policy)):
            return False
        self._checked = policy.policy_hash
        return answer == "claimed"

    async def _check(self, policy: Policy) -> bool:
        """Whether it was done to its end: not if the claim ran out on the way."""
        ledger, now = self._sync.ledger, int(self._sync.clock.now())
        asking = Asking(
            ledger=ledger,
            reason=f"policy.{policy.policy_hash}",
            livemode=self._sync.billing.is_live,
            received_at=now,
            begins_at=now,
            turns_per_second=self._sync.billing.pace.per_second,
        )
        written, asked, missing = 0, 0, Counter[str]()
        async for page in self._pages(policy):
            noted = await ledger.note_plans(
                page,
                partial(held_against, policy=policy, now=now),
                now=now,
                because=f"policy {policy.policy_hash}",
                assess=assess_by(policy, now),
            )
            for one in noted:
                missing.update(
                    plan for record in one.record.all() if (plan := missing_plan(record, policy)) is not None
                )
                if one.is_changed:
                    await self._publish(one.customer_id)
                    written += 1
                is_unexplained = any(needs_read(record, policy) for record in one.record.all())
                if is_unexplained and one.stripe_customer_id is not None:
                    await asking.ask(one.stripe_customer_id, asked)
                    asked += 1
            renewal = {"now": int(self._sync.clock.now()), "lease_s": LEASE_S}
            if not await ledger.renew_plan_check(self._worker, **renewal):
                return False
        if missing:
            log.warning("policy lacks plans that customers have", policy=policy.policy_hash, customers=dict(missing))
        if written or asked:
            log.info("records held against the policy", policy=policy.policy_hash, written=written, to_read=asked)
        return await ledger.end_plan_check(self._worker, policy.policy_hash)

    async def _pages(self, policy: Policy) -> AsyncIterator[list[str]]:
        """The customers of whose record something may have to be written, a few at once."""
        ledger = self._sync.ledger
        concerned = [one for one in await ledger.list_plan_traits() if _is_concerned(one, policy)]
        chunks = (concerned[first : first + _TRAITS_AT_ONCE] for first in range(0, len(concerned), _TRAITS_AT_ONCE))
        lists: list[Callable[[str], Awaitable[list[str]]]] = [
            partial(ledger.list_by_plan_traits, one) for one in chunks
        ]
        for list_behind in (*lists, ledger.list_with_beneath):
            last = ""
            while page := await list_behind(last):
                for first in range(0, len(page), _NOTED_AT_ONCE):
                    yield page[first : first + _NOTED_AT_ONCE]
                last = page[-1]


def _is_concerned(traits: PlanTraits, policy: Policy) -> bool:
    """Whether something has to be written of a record with these words, or read: dates make no difference to that."""
    record = Subscription(
        subscription_id="",
        status=traits.status,
        plan_id=traits.plan_id,
        period_starts_at=0,
        period_ends_at=0,
        anchor_at=0,
        last_good_plan_id=traits.last_good_plan_id,
        unreadable_since=0 if traits.is_unreadable else None,
        price_id=traits.price_id,
        sold_as=traits.sold_as,
        last_good_tier=traits.last_good_tier,
    )
    return held_against(record, policy, now=0) != record or needs_read(record, policy)
