"""Which plan sells a price. Pure.

    by the price's id, as policy names it
    else by its lookup key
    else as before: the same price of the same subscription was read as that plan
    else by its product: `tier` in the metadata names one of policy's tiers

Never by amount or currency. The third line keeps customers on a plan whose lookup key Stripe
has moved to a successor; what a product says is read anew each time, so it can be changed.

A plan that policy calls otherwise than the record is the one that is sold at the same price: who
pays for it keeps it, at the moment of the edit and without a read of Stripe. One that policy has
under no name any more is a price that cannot be mapped: the tier that it granted last is kept for as
long as policy keeps what is unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.policy import Plan, Policy, tier_plan_id

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.billing_facts import CustomerFacts, ItemFacts, SubscriptionFacts

GOOD_STATUSES = frozenset({"active", "trialing"})
ENDED_STATUSES = frozenset({"canceled", "incomplete_expired"})
IDLE_STATUSES = frozenset({"incomplete", "paused"})
"""Nobody pays for it, and it begins to run once somebody does."""
MONEYLESS_STATUSES = ENDED_STATUSES | IDLE_STATUSES
"""Statuses beside which a new subscription may be sold. An `unpaid` one revives when its invoice is paid."""
_LONGEST_SHOWN = 40


def running_of(recorded: Subscription | None) -> Subscription | None:
    """Of what is recorded the subscription that can be changed: the best that takes money, if any, else the first."""
    if recorded is None:
        return None
    return next((one for one in recorded.all() if one.status not in MONEYLESS_STATUSES), recorded)


def plan_of_item(item: ItemFacts, policy: Policy, own: Subscription | None) -> Plan | None:
    """The plan that sells this item's price; None: it is an add-on, or unmapped.

    Args:
        item: With its product's tier, if `unmapped_products` asked for that.
        policy: Its plans and tiers.
        own: What was recorded of the same subscription before.
    """
    plan = _plan_of_price(item, policy)
    if plan is None and own is not None and own.plan_id is not None and own.price_id == item.price_id:
        plan = policy.plans.get(own.plan_id) or _renamed(own, policy)
    if plan is None and item.product_tier is not None and not item.is_metered:
        plan = policy.find_plan(tier_plan_id(item.product_tier))
    return plan


def sold_as(plan: Plan) -> str | None:
    """What policy names a plan's price by; None: by nothing, a product's metadata makes the plan of a tier."""
    return plan.price_id or plan.lookup_key


def plan_of_record(record: Subscription, policy: Policy) -> Plan | None:
    """The plan that a record is of, under the name that policy has for it now; None: it is not sold any more."""
    if record.plan_id is None:
        return None
    return policy.find_plan(record.plan_id) or _renamed(record, policy)


def last_good_plan(record: Subscription, policy: Policy) -> Plan | None:
    """The plan that a record was of when it was last in good standing; as `plan_of_record`."""
    plan = policy.find_plan(record.last_good_plan_id)
    if plan is None and record.last_good_plan_id is not None and _is_sold_as_last_good(record):
        plan = _renamed(record, policy)
    return plan


def kept_plan(record: Subscription, policy: Policy) -> Plan | None:
    """What a record falls back on whose plan or status cannot be read: the last good plan, else the tier it granted."""
    plan = last_good_plan(record, policy)
    if plan is None and record.last_good_tier is not None:
        plan = policy.find_plan(tier_plan_id(record.last_good_tier))
    return plan


def scheduled_plan(record: Subscription, policy: Policy) -> Plan | None:
    """The plan that a record will be of, under the name that policy has for it now; None: none that is sold."""
    plan = policy.find_plan(record.scheduled_plan_id)
    if plan is None and record.scheduled_plan_id is not None:
        plan = find_sold_as(record.scheduled_sold_as, policy)
    return plan


def find_sold_as(name: str | None, policy: Policy) -> Plan | None:
    """The plan whose price policy names so; None: none is."""
    return None if name is None else next((plan for plan in policy.plans.values() if sold_as(plan) == name), None)


def named(record: Subscription, policy: Policy) -> Subscription:
    """The record with what it is sold as and grants, where an earlier release did not write that: by policy as it is.

    To be asked before any plan is called otherwise. Where policy has no plan of the recorded name it stays as it is,
    and only a read of Stripe helps.
    """
    plan, good = policy.find_plan(record.plan_id or record.last_good_plan_id), last_good_plan(record, policy)
    return replace(
        record,
        sold_as=sold_as(plan) if record.sold_as is None and plan is not None else record.sold_as,
        last_good_tier=good.tier if record.last_good_tier is None and good is not None else record.last_good_tier,
        beneath=None if record.beneath is None else named(record.beneath, policy),
    )


def sold_as_of(plan: Plan | None, own: Subscription | None) -> str | None:
    """What to record as `sold_as`.

    Args:
        plan: That was read now.
        own: What was recorded of the subscription before; what it says of the last good plan stays while none is read.
    """
    if plan is not None:
        return sold_as(plan)
    return own.sold_as if own is not None and _is_sold_as_last_good(own) else None


def _is_sold_as_last_good(record: Subscription) -> bool:
    return record.plan_id in {None, record.last_good_plan_id}


def _renamed(record: Subscription, policy: Policy) -> Plan | None:
    """By what its plan was sold at, else by the price that is paid for it."""
    names = (record.sold_as, None if record.plan_id is None else record.price_id)
    found = (plan for name in names if (plan := find_sold_as(name, policy)) is not None)
    return next(found, None)


def unmapped_products(facts: CustomerFacts, policy: Policy) -> tuple[str, ...]:
    """The products whose metadata must be read, because neither id nor lookup key of a price is on sale."""
    found = {
        item.product_id
        for one in facts.subscriptions
        for item in _items(one)
        if one.status not in ENDED_STATUSES
        and item.product_id is not None
        and not item.is_metered
        and _plan_of_price(item, policy) is None
    }
    return tuple(sorted(found))


def with_product_tiers(facts: CustomerFacts, tiers: Mapping[str, str]) -> CustomerFacts:
    """The facts with what was read of `unmapped_products`: the tier that each product names, if it names one."""

    def told(items: tuple[ItemFacts, ...]) -> tuple[ItemFacts, ...]:
        return tuple(replace(item, product_tier=tiers.get(item.product_id or "")) for item in items)

    subscriptions = []
    for one in facts.subscriptions:
        schedule = one.schedule
        if schedule is not None:
            schedule = replace(schedule, next_items=told(schedule.next_items))
        subscriptions.append(replace(one, items=told(one.items), schedule=schedule))
    return replace(facts, subscriptions=tuple(subscriptions))


def price_words(item: ItemFacts) -> str:
    """A price that no plan sells, for the person who must map it."""
    tier = "" if item.product_tier is None else f", its product names the tier {item.product_tier[:_LONGEST_SHOWN]!r}"
    return f"{item.price_id} ({item.lookup_key or 'no lookup key'}{tier})"


def _items(facts: SubscriptionFacts) -> tuple[ItemFacts, ...]:
    """What it is for, and what it will be for."""
    return facts.items if facts.schedule is None else facts.items + facts.schedule.next_items


def _plan_of_price(item: ItemFacts, policy: Policy) -> Plan | None:
    by_key = None
    for plan in policy.plans.values():
        if plan.price_id == item.price_id:
            return plan
        if plan.lookup_key is not None and plan.lookup_key == item.lookup_key:
            by_key = plan
    return by_key
