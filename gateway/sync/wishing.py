"""Whether a change that is asked for can be made, and what it is at Stripe.

It starts from what Stripe has now, not from our record, and finds the item to change in the same way as the
projection that grants the tier. A plan that stays keeps the price that it was bought at, whichever is on sale by now
(`docs/decisions/0034-who-stays-on-a-plan-keeps-its-price.md`).
"""

from __future__ import annotations

from gateway.billing import PlanChange
from gateway.core.billing_facts import ItemFacts
from gateway.core.candidate import Candidate
from gateway.core.plan_map import GOOD_STATUSES
from gateway.core.policy import Plan, Policy
from gateway.core.switching import When, direction_of
from gateway.sync.beside import add_ons_beside, check_stay, overage_beside, overage_to_go
from gateway.sync.change_rules import refuse_beside_planned, refuse_mixed, rung_of, time_of, touchable
from gateway.sync.change_values import NoSubscription, SubscriptionEnding, UnknownPlan, no_plan_words
from gateway.sync.currencies import price_of
from gateway.sync.customers import Sync
from gateway.sync.extras import ExtrasOrder, extras_change
from gateway.sync.given_up import metered_of
from gateway.sync.paying import is_billed_at_once, proration_of, waits_for_payment
from gateway.sync.refusing_more import refuse_more
from gateway.sync.trials import ends_trial
from gateway.sync.unpaid import refuse_owing
from gateway.sync.wish import Wish


async def wish_for(
    sync: Sync, now: int, customer_id: str, plan_id: str | None, *, when: When | None, extras: ExtrasOrder
) -> Wish:
    """The change that takes this customer to a plan, with these seats and add-ons.

    Args:
        sync: Reads what there is.
        now: Unix seconds.
        customer_id: Ours.
        plan_id: The plan to change to; None: the one that there is.
        when: When it is to take effect; None: as policy has it for such a change.
        extras: Seats and add-ons beside the plan.

    Raises:
        UnknownPlan, SeatsNotSold, AddOnNotSold, ChangeTimeRefused: It is not offered.
        NoSubscription, SubscriptionEnding, SubscriptionScheduled, PaymentRequired: It cannot be made.
        IntervalsDiffer: The items of the subscription do not renew together.
        ChangePlanned: It names no plan, and another one is planned.
        AccountSuspended, CollectionPaused: Nothing more is sold.
        CurrencyDiffers: The plan, or what comes beside it, is not sold in the currency of the subscription.
        BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: Nobody can say.
    """
    policy, changes = sync.policy, sync.billing.changes
    if plan_id is not None and plan_id not in policy.plans:
        raise UnknownPlan(no_plan_words(plan_id))
    current, item = await _changeable(sync, customer_id)
    plan = _plan_of(policy, current, plan_id)
    if plan_id is None:
        refuse_beside_planned(current)
    beside = extras_change(policy, plan, current, extras)
    price = await price_of(sync, plan, current)
    check_stay(policy, plan, price, current, {item_id for item_id, _ in beside.removed})
    way = direction_of(rung_of(item, current.plan, policy), rung_of(price, plan, policy))
    direction = beside.direction if way == "same" or beside.direction == "downgrade" else way
    when = time_of(policy, direction, when)
    if beside.adds_more or "upgrade" in {way, direction}:
        await refuse_more(sync, customer_id, current)
    wanted = await overage_beside(changes.sales, policy, plan, price, current)
    carried = {one.price_id for one in current.facts.items if one.is_metered}
    adds = (
        *await add_ons_beside(changes.sales, plan, price, beside.added, current.facts.currency),
        *(price_id for price_id in wanted if price_id not in carried),
    )
    removes = beside.removed + await overage_to_go(changes.sales, policy, current, wanted)
    is_sent_now = when == "now" and (direction != "same" or bool(adds or removes))
    means = await changes.fetch_means(current.record.subscription_id) if is_sent_now else None
    ends = is_sent_now and ends_trial(current, plan, way, beside, means)
    is_trial = current.record.status == "trialing"
    proration = proration_of(current, policy)
    is_billed = ends if is_trial else is_billed_at_once(item, price, proration)
    change = PlanChange(
        subscription_id=current.record.subscription_id,
        item_id=item.item_id,
        from_price_id=item.price_id,
        price_id=price.price_id,
        at=max(item.period_starts_at, now),
        proration=proration,
        waits=waits_for_payment(current, means, asks_at_once=is_billed and "upgrade" in {way, direction}),
        ends_trial=ends,
        quantity=beside.quantity if beside.quantity != item.quantity else None,
        adds=adds,
        removes=removes,
        metered=metered_of(current.facts),
        takes_back=bool(current.facts.given_up),
    )
    return Wish(current=current, item=item, plan=plan, price=price, direction=direction, when=when, change=change)


async def _changeable(sync: Sync, customer_id: str) -> tuple[Candidate, ItemFacts]:
    """The running subscription and the item that decides its plan, if both may be changed."""
    current = await sync.fetch_current(customer_id)
    refuse_owing(current)
    if current is None or current.item is None or current.record.status not in GOOD_STATUSES:
        raise NoSubscription("There is no running subscription to change.")
    if current.record.cancel_at is not None:
        raise SubscriptionEnding("The subscription is set to end; resume it in the billing portal, then change it.")
    touchable(current.facts.schedule)
    refuse_mixed(current.facts)
    return current, current.item


def _plan_of(policy: Policy, current: Candidate, plan_id: str | None) -> Plan:
    plan = current.plan if plan_id is None else policy.plans[plan_id]
    if plan is None or plan.plan_id not in policy.plans:
        raise UnknownPlan("The plan that there is is not sold any more: name another one.")
    return plan
