"""What is sold in a town, and what of it a subscription has, told from Stripe's side only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.sandbox.engine.entitled import entitled

if TYPE_CHECKING:
    from gateway.sandbox.world import World

TIERS = {"price_pro_monthly": "pro", "price_pro_yearly": "pro", "price_enterprise_monthly": "enterprise"}
ADD_ONS = {"price_sso": "sso"}
"""Prices that are sold beside a plan. This one's product names a tier, which it must not give."""
_PLANS = {price: price.removeprefix("price_").replace("_", "-") for price in TIERS}
FEATURE = "exports"
"""What Stripe entitles to who has a product, where the law of a town looks at that."""


def bought_of(world: World, subscription_id: str) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Seats and add-ons of a subscription."""
    items = world.subscription(subscription_id).items
    (seats,) = [item.quantity for item in items if item.price_id in TIERS]
    return seats, tuple((ADD_ONS[item.price_id], item.quantity) for item in items if item.price_id in ADD_ONS)


def planned_of(world: World, subscription_id: str) -> tuple[str | None, int | None]:
    """The plan that a subscription changes to by itself, and when; nothing if it ends before."""
    one = world.subscription(subscription_id)
    if one.ended_at is not None or one.schedule_id is None:
        return None, None
    ends_at = one.period_ends_at if one.cancel_at_period_end else one.cancel_at
    coming = next(
        (phase for phase in world.tables.schedules[one.schedule_id].phases if phase.starts_at > world.now), None
    )
    if coming is None or (ends_at is not None and ends_at <= coming.starts_at):
        return None, None
    [plan] = [_PLANS[item.price_id] for item in coming.items if item.price_id in TIERS]
    return plan, coming.starts_at


def entitlements_of(world: World, stripe_customer_id: str) -> tuple[str, ...]:
    """The features of a customer."""
    return tuple(sorted(feature.lookup_key for feature in entitled(world, stripe_customer_id)))
