"""What each item of a subscription is: the plan, an add-on, or nothing that policy knows. Pure.

Laws:
  A price of an add-on is one, whatever its product says: it never makes a tier.
  Of several items that plans sell, the one of the highest tier is the plan; its quantity is the seats.
  One of which there are none is the plan only where there is no other: nobody pays for it.
  Numbers are Stripe's, also where policy sells others: they were paid for.
  While the plan cannot be read, the seats that were read last count.
  A price that was read as an add-on stays it after Stripe has moved the lookup key to a successor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.plan_map import plan_of_item

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.billing_facts import ItemFacts, SubscriptionFacts
    from gateway.core.policy import Plan, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadItems:
    """The items of one subscription as policy reads them."""

    base: ItemFacts | None
    """The item of the plan; of a subscription whose plan cannot be read, the one that ends last."""
    plan: Plan | None
    seats: int
    add_ons: tuple[tuple[str, int], ...]
    """Names and how many of each, in the order of names."""
    add_on_prices: tuple[tuple[str, str], ...]
    """Prices beside the plan's and the names they stand for, in the order of prices. An empty name: for nothing yet."""


def read_items(facts: SubscriptionFacts, policy: Policy, own: Subscription | None) -> ReadItems:
    """Tell the items of a subscription apart.

    Args:
        facts: The subscription.
        policy: Its plans and add-ons.
        own: What was recorded of the same subscription before.
    """
    extra = {item.item_id: name for item in facts.items if (name := add_on_of_item(item, policy, own)) is not None}
    others = [item for item in facts.items if item.item_id not in extra]
    base, plan = _base_item(others, policy, own)
    counts: dict[str, int] = {}
    for item in facts.items:
        if item.item_id in extra and item.quantity:
            name = extra[item.item_id]
            counts[name] = counts.get(name, 0) + item.quantity
    beside = [item for item in facts.items if item is not base and (item.item_id in extra or not item.is_metered)]
    prices = {item.price_id: extra.get(item.item_id, "") for item in beside}
    return ReadItems(
        base=base,
        plan=plan,
        seats=_seats(base, plan, own),
        add_ons=tuple(sorted(counts.items())),
        add_on_prices=tuple(sorted(prices.items())),
    )


def add_on_of_item(item: ItemFacts, policy: Policy, own: Subscription | None) -> str | None:
    """Name of the add-on that an item's price sells: by id, else by lookup key, else as it was read before."""
    if not policy.add_ons:
        return None
    by_key = None
    for add_on in policy.add_ons.values():
        if add_on.price_id == item.price_id:
            return add_on.name
        if add_on.lookup_key is not None and add_on.lookup_key == item.lookup_key:
            by_key = add_on.name
    if by_key is not None or own is None:
        return by_key
    before = dict(own.add_on_prices).get(item.price_id)
    return before if before in policy.add_ons else None


def stray_items(facts: SubscriptionFacts, policy: Policy, own: Subscription | None) -> tuple[ItemFacts, ...]:
    """The items beside the plan that neither a plan nor an add-on sells; none while the plan cannot be read.

    One that is billed by use is overage, and no stray.
    """
    known = read_items(facts, policy, own)
    if known.plan is None:
        return ()
    return tuple(
        item
        for item in facts.items
        if not item.is_metered and plan_of_item(item, policy, own) is None and add_on_of_item(item, policy, own) is None
    )


def _base_item(
    items: list[ItemFacts], policy: Policy, own: Subscription | None
) -> tuple[ItemFacts | None, Plan | None]:
    mapped = [(item, plan) for item in items if (plan := plan_of_item(item, policy, own)) is not None]
    if mapped:
        return max(mapped, key=lambda pair: (pair[0].quantity > 0, policy.tiers[pair[1].tier].rank, *_last(pair[0])))
    return max(items, key=_last, default=None), None


def _last(item: ItemFacts) -> tuple[int, str]:
    return item.period_ends_at, item.item_id


def _seats(base: ItemFacts | None, plan: Plan | None, own: Subscription | None) -> int:
    if plan is None and own is not None:
        return own.seats
    return 1 if base is None else base.quantity
