"""All records held against the policy in force, once for each policy, by one worker of all.

What an earlier release did not write (what a plan is sold as, and grants) is written while policy has the plan. Since
when policy lacks the plan of a record is written into it, so that the line `unreadable` counts from then; it is taken
out once the plan is back (`core.missing_plans`). Where nothing says what the plan granted, the customer is read at
Stripe, by an event of its own as any other work (`asking`).

Laws:
- whoever comes with a policy that was not checked takes the check in hand; a claim that is not renewed runs out, and
  who was overtaken writes nothing more;
- every record has the same instant, which is that of the check; to check again moves none;
- a worker looks again now and then whether its policy is the one that was checked last: another with the policy from
  before may have taken instants out. Such a look writes instants, and takes none out: only a policy that is new to the
  worker has plans that came back, so gateways with two policies do not undo each other's checks for ever;
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
from gateway.ledger import PlanClaim
from gateway.sync.asking import Asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from gateway.core.policy import Policy
    from gateway.ledger import PlanTraits
    from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)

LEASE_S: Final = 30
"""How long a claim lasts unless it is renewed, which it is with each few records: so long those of a killed worker wait
for another. One that takes longer is overtaken, and what it had written stands."""
LOOKS_AGAIN_S: Final = 300
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
        """Hash of the policy that was checked when this worker looked last."""
        self._looks_at = 0.0
        """When it looks again."""

    async def check_if_due(self) -> bool:
        """Check all records, if the policy in force was not checked and nobody else does so.

        Returns:
            Whether they were checked here.

        Raises:
            LedgerUnavailable: Some are left; to call it again goes on.
        """
        policy, now = self._sync.policy, self._sync.clock.now()
        is_new = policy.policy_hash != self._checked
        if not is_new and now < self._looks_at:
            return False
        claim = {"now": int(now), "lease_s": LEASE_S}
        answer = await self._sync.ledger.claim_plan_check(self._worker, policy.policy_hash, **claim)
        if answer == "busy" or (answer == "claimed" and not await self._check(policy, is_new=is_new)):
            return False
        self._checked, self._looks_at = policy.policy_hash, now + LOOKS_AGAIN_S
        return answer == "claimed"

    async def _check(self, policy: Policy, *, is_new: bool) -> bool:
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
        counts = await ledger.count_plan_traits()
        written, asked = 0, 0
        async for page in self._pages([one for one in counts if _is_concerned(one, policy, takes_out=is_new)]):
            noted = await ledger.note_plans(
                page,
                partial(held_against, policy=policy, now=now, takes_out=is_new),
                claim=PlanClaim(worker=self._worker, until=int(self._sync.clock.now()) + LEASE_S),
                now=now,
                because=f"policy {policy.policy_hash}",
                assess=assess_by(policy, now),
            )
            if noted is None:
                return False
            for one in noted:
                if one.is_changed:
                    await self._publish(one.customer_id)
                    written += 1
                is_unexplained = any(needs_read(record, policy) for record in one.record.all())
                if is_unexplained and one.stripe_customer_id is not None:
                    await asking.ask(one.stripe_customer_id, asked)
                    asked += 1
        if is_new and (missing := _count_missing(counts, policy)):
            log.warning("policy lacks plans that customers have", policy=policy.policy_hash, customers=missing)
        if written or asked:
            log.info("records held against the policy", policy=policy.policy_hash, written=written, to_read=asked)
        return await ledger.end_plan_check(self._worker, policy.policy_hash)

    async def _pages(self, concerned: Sequence[PlanTraits]) -> AsyncIterator[list[str]]:
        """The customers of whose record something may have to be written, a few at once."""
        ledger = self._sync.ledger
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


def _is_concerned(traits: PlanTraits, policy: Policy, *, takes_out: bool) -> bool:
    """Whether something has to be written of a record with these words, or read: dates make no difference to that."""
    record = _record_with(traits)
    return held_against(record, policy, now=0, takes_out=takes_out) != record or needs_read(record, policy)


def _count_missing(counts: Mapping[PlanTraits, int], policy: Policy) -> dict[str, int]:
    """How many customers have which plan that policy lacks, also those of whom it was written before."""
    missing = Counter[str]()
    for traits, customers in counts.items():
        plan = missing_plan(_record_with(traits), policy)
        if plan is not None:
            missing[plan] += customers
    return dict(missing)


def _record_with(traits: PlanTraits) -> Subscription:
    return Subscription(
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
