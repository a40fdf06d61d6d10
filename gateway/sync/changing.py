"""Changing the plan of a running subscription: what it would cost, then doing it.

Both start from what Stripe has now, not from our record, and both find the item to change
in the same way as the projection that grants the tier.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from gateway.billing import ChangePreview, ChangeResult, PlanChange, PriceFacts
from gateway.clock import Clock
from gateway.core.billing_facts import ItemFacts
from gateway.core.errors import BillingRefused, BillingUnavailable, PaymentRequired, TiergateError
from gateway.core.policy import Plan, Policy
from gateway.core.projection import GOOD_STATUSES
from gateway.core.switching import Direction, Rung, direction_of
from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)

_OWING_STATUSES = frozenset({"past_due", "unpaid"})


class UnknownPlan(TiergateError):
    """Policy sells no plan of that name."""

    code = "unknown-plan"


class NoSubscription(TiergateError):
    """There is no running subscription that could be changed."""

    code = "no-subscription"


class SubscriptionEnding(TiergateError):
    """The subscription is set to end, so there is no next invoice that a change could be settled on."""

    code = "subscription-ending"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged:
    """What became of a change, and what we know now."""

    result: ChangeResult
    is_recorded: bool
    """Whether the ledger knows already; if not, Stripe's event brings it within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPreview:
    """What a change would do."""

    direction: Direction
    cost: ChangePreview


class PlanChanges:
    """Previews and makes plan changes."""

    def __init__(self, *, sync: Sync, clock: Clock) -> None:
        self._sync = sync
        self._clock = clock

    async def preview(self, customer_id: str, plan_id: str) -> PlanPreview:
        """What the change would cost if it were made now.

        Raises:
            UnknownPlan, NoSubscription, SubscriptionEnding, PaymentRequired: It cannot be made.
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: Nobody can say.
        """
        change, direction = await self._plan_change(customer_id, plan_id)
        return PlanPreview(direction=direction, cost=await self._sync.billing.changes.preview(change))

    async def apply(self, customer_id: str, plan_id: str, *, actor: str) -> PlanChanged:
        """Change the plan now and record it, so that the very next call has the new tier.

        It is prorated at this moment, not at the preview's: who could name the moment could use a
        tier for an hour and give it back from before. The few seconds between make an upgrade no dearer.

        Args:
            customer_id: Ours.
            plan_id: The plan to change to.
            actor: For the audit log.

        Raises:
            UnknownPlan, NoSubscription, SubscriptionEnding, PaymentRequired: It cannot be made.
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: It was not made, or
                nobody knows; to send it again is safe, since a plan that is there already costs nothing.
        """
        change, _ = await self._plan_change(customer_id, plan_id)
        result = await self._sync.billing.changes.apply(change)
        try:
            await self._sync.sync_customer(customer_id, f"plan changed to {plan_id}", actor=actor)
        except (BillingUnavailable, BillingRefused) as error:
            log.warning("plan change not recorded yet", customer_id=customer_id, reason=str(error))
            return PlanChanged(result=result, is_recorded=False)
        return PlanChanged(result=result, is_recorded=True)

    async def _plan_change(self, customer_id: str, plan_id: str) -> tuple[PlanChange, Direction]:
        policy = self._sync.policy
        plan = policy.plans.get(plan_id)
        if plan is None:
            raise UnknownPlan(f"There is no plan {plan_id!r}.")
        current = await self._sync.fetch_current(customer_id)
        if current is not None and current.record.status in _OWING_STATUSES:
            raise PaymentRequired("A payment is due on the subscription; pay it before changing the plan.")
        if current is None or current.item is None or current.record.status not in GOOD_STATUSES:
            raise NoSubscription("There is no running subscription to change.")
        if current.record.cancel_at is not None:
            raise SubscriptionEnding("The subscription is set to end; resume it in the billing portal, then change it.")
        price = await self._sync.billing.changes.fetch_price(plan)
        change = PlanChange(
            subscription_id=current.record.subscription_id,
            item_id=current.item.item_id,
            price_id=price.price_id,
            at=max(current.item.period_starts_at, int(self._clock.now())),
            proration=policy.switching.proration,
            is_invoiced=current.facts.is_invoiced,
        )
        return change, direction_of(_rung_of_item(current.item, current.plan, policy), _rung(price, plan, policy))


def _rung_of_item(item: ItemFacts, plan: Plan | None, policy: Policy) -> Rung:
    return Rung(
        price_id=item.price_id,
        rank=-1 if plan is None else policy.tiers[plan.tier].rank,
        interval=item.interval,
        interval_count=item.interval_count,
        amount=item.amount,
    )


def _rung(price: PriceFacts, plan: Plan, policy: Policy) -> Rung:
    return Rung(
        price_id=price.price_id,
        rank=policy.tiers[plan.tier].rank,
        interval=price.interval,
        interval_count=price.interval_count,
        amount=price.amount,
    )
