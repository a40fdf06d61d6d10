"""The metered items of a subscription: which of them policy's prices of overage are. Pure.

    by the price's id, as policy names it
    else by its lookup key
    else as before: the same price of the same subscription had that lookup key

The third line keeps who bought overage on its price after Stripe has moved the lookup key to a successor: it may be
exceeded as before, and is billed once, at the price that was bought. An item that has the key goes before one that
had it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.account import MeteredItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.account import Subscription
    from gateway.core.billing_facts import SubscriptionFacts
    from gateway.core.overage import PriceName
    from gateway.core.policy import Plan, Policy


def metered_items(facts: SubscriptionFacts, policy: Policy, own: Subscription | None) -> tuple[MeteredItem, ...]:
    """The metered items of a subscription, in the order of their prices' ids.

    Args:
        facts: The subscription.
        policy: Whose lookup keys are remembered.
        own: What was recorded of the same subscription before.
    """
    keys = {price.lookup_key for price in all_prices(policy)} - {None}
    before = {} if own is None else {item.price_id: item.known_as or item.lookup_key for item in own.metered}
    items = sorted((item for item in facts.items if item.is_metered), key=lambda item: item.price_id)
    return tuple(
        MeteredItem(
            price_id=item.price_id,
            lookup_key=item.lookup_key,
            tariff=item.tariff,
            known_as=item.lookup_key if item.lookup_key in keys else before.get(item.price_id),
        )
        for item in items
    )


def find_metered(items: Iterable[MeteredItem], price: PriceName) -> MeteredItem | None:
    """The item at a price that policy names; None: there is none."""
    known = [item for item in items if is_price(item, price)]
    return next((item for item in known if item.lookup_key == price.lookup_key), next(iter(known), None))


def is_price(item: MeteredItem, price: PriceName) -> bool:
    """Whether an item has the price that policy names, or had its lookup key."""
    if price.price_id is not None:
        return item.price_id == price.price_id
    return price.lookup_key in {item.lookup_key, item.known_as}


def is_of_ours(item: MeteredItem, policy: Policy) -> bool:
    """Whether it is at a price of overage that policy names: then it is of our making."""
    return any(is_price(item, price) for price in all_prices(policy))


def prices_beside(policy: Policy, plan: Plan) -> tuple[PriceName, ...]:
    """The metered prices of which a subscription to a plan has an item each."""
    own = dict(plan.overage_prices)
    return tuple(own.get(overage.meter, overage.price) for overage in policy.tiers[plan.tier].overages)


def all_prices(policy: Policy) -> frozenset[PriceName]:
    """Every price of overage that policy names."""
    return frozenset(price for plan in policy.plans.values() for price in prices_beside(policy, plan))
