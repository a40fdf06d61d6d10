"""The metered items of a subscription: which of them policy's prices of overage are. Pure.

    by the price's id, as policy names it
    else by its lookup key
    else as before: the same price of the same subscription had that lookup key

An item that is gone is kept for a month: a spend cap holds for what was billed at its price in the window too.
One whose price is there again is kept only where units cost more on two lines of an invoice than on one: each time
that an item comes, Stripe begins a line. Of other prices one entry stands for all of its times.
Where a price's period is longer than a window, and its units may cost more than those before, it counts as not read.

The third line keeps who bought overage on its price after Stripe has moved the lookup key to a successor: it may be
exceeded as before, and is billed once, at the price that was bought. An item that has the key goes before one that
had it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.account import MeteredItem
from gateway.core.overage import MeteredPrice
from gateway.core.spending import is_dearest_whole, never_rises

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.account import Subscription
    from gateway.core.billing_facts import ItemFacts, SubscriptionFacts
    from gateway.core.overage import PriceName
    from gateway.core.policy import Plan, Policy
    from gateway.core.tariff import Tariff


_KEPT_S = 32 * 86_400
"""Longer than any window."""
_LONG = {"day": 31, "week": 4, "month": 1, "year": 0}
"""How many of them a window may have at most."""


def metered_items(
    facts: SubscriptionFacts, policy: Policy, own: Subscription | None, now: int
) -> tuple[MeteredItem, ...]:
    """The metered items of a subscription, in the order of their prices' ids, and then those that are gone.

    Args:
        facts: The subscription.
        policy: Whose lookup keys are remembered.
        own: What was recorded of the same subscription before.
        now: Unix seconds.
    """
    keys = {price.lookup_key for price in all_prices(policy)} - {None}
    before = {} if own is None else {item.price_id: item.known_as or item.lookup_key for item in own.metered}
    items = sorted((item for item in facts.items if item.is_metered), key=lambda item: item.price_id)
    there = tuple(
        MeteredItem(
            price_id=item.price_id,
            lookup_key=item.lookup_key,
            tariff=_readable(item),
            known_as=item.lookup_key if item.lookup_key in keys else before.get(item.price_id),
        )
        for item in items
    )
    return there + (() if own is None else _gone(own, {item.price_id for item in items}, now))


def _readable(item: ItemFacts) -> Tariff | None:
    is_long = item.interval is not None and item.interval_count > _LONG.get(item.interval, 0)
    return None if item.tariff is None or (is_long and not never_rises(item.tariff)) else item.tariff


def _gone(own: Subscription, there: set[str], now: int) -> tuple[MeteredItem, ...]:
    """A change that was planned was made at its instant, with which a window begins."""
    gone_at = now if own.scheduled_at is None else min(now, own.scheduled_at - 1)
    gone = [
        item if item.gone_at is not None else replace(item, gone_at=gone_at)
        for item in own.metered
        if (item.price_id not in there if item.gone_at is None else now - item.gone_at < _KEPT_S)
    ]
    return tuple(
        item for item in gone if item.price_id not in there or item.tariff is None or not is_dearest_whole(item.tariff)
    )


def tariffs_of(
    policy: Policy, items: Iterable[MeteredItem], item: MeteredItem, meter: str, since: int
) -> tuple[Tariff | None, ...]:
    """What is asked for units of a meter in the window that began at `since`: at `item`, and at those before it."""
    gone = [one for one in items if one.gone_at is not None and one.gone_at >= since]
    return (item.tariff, *(one.tariff for one in gone if meter in (_meters(policy, one) or {meter})))


def _meters(policy: Policy, item: MeteredItem) -> set[str]:
    return {
        overage.meter
        for plan in policy.plans.values()
        for overage, price in zip(policy.tiers[plan.tier].overages, prices_beside(policy, plan), strict=True)
        if is_price(item, price)
    }


def find_metered(items: Iterable[MeteredItem], price: PriceName) -> MeteredItem | None:
    """The item at a price that policy names; None: there is none."""
    known = [item for item in items if item.gone_at is None and is_price(item, price)]
    return next((item for item in known if item.lookup_key == price.lookup_key), next(iter(known), None))


def is_price(item: MeteredItem, price: PriceName) -> bool:
    """Whether an item has the price that policy names, or had its lookup key."""
    if price.price_id is not None:
        return item.price_id == price.price_id
    return price.lookup_key in {item.lookup_key, item.known_as}


def is_billed(policy: Policy, subscription: Subscription, stripe_meter: str, at: int) -> bool:
    """Whether an item bills what a Billing Meter counts at an instant. False: the one that did was gone by then.

    Args:
        policy: Says which prices bill the meter.
        subscription: As it is recorded.
        stripe_meter: `event_name` of the meter.
        at: Unix seconds.
    """
    beside = [one for plan in policy.plans.values() for one in metered_beside(policy, plan)]
    names = [one.price for one in beside if one.stripe_meter == stripe_meter]
    others = [one.price for one in beside if one.stripe_meter != stripe_meter]
    gone = False
    for item in subscription.metered:
        is_here = item.gone_at is None or item.gone_at >= at
        if any(is_price(item, price) for price in names):
            if is_here:
                return True
            gone = True
        elif is_here and not any(is_price(item, price) for price in others):
            return True  # nobody knows what it bills
    return not gone


def meters_reported_to(policy: Policy) -> frozenset[str]:
    """The Billing Meters that hear of what is used beyond a quota: whatever bills one of them bills overage."""
    return frozenset(overage.stripe_meter for tier in policy.tiers.values() for overage in tier.overages)


def prices_beside(policy: Policy, plan: Plan) -> tuple[PriceName, ...]:
    """The metered prices of which a subscription to a plan has an item each."""
    return tuple(one.price for one in metered_beside(policy, plan))


def metered_beside(policy: Policy, plan: Plan) -> tuple[MeteredPrice, ...]:
    """The same, with the meters that they must bill."""
    own = dict(plan.overage_prices)
    return tuple(
        MeteredPrice(price=own.get(overage.meter, overage.price), stripe_meter=overage.stripe_meter)
        for overage in policy.tiers[plan.tier].overages
    )


def all_prices(policy: Policy) -> frozenset[PriceName]:
    """Every price of overage that policy names."""
    return frozenset(price for plan in policy.plans.values() for price in prices_beside(policy, plan))
