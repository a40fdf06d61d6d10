"""What may be used beyond a quota, told from Stripe's side only: what is sold there, at which price, and to whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.lives.sold import FEATURE, TIERS

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.sandbox.world import World
    from tests.lives.laws import Law

YEARLY = "price_overage_yearly"
CENTS = {"price_api_overage": Decimal("0.1"), YEARLY: Decimal("0.5")}
"""What one unit costs, by price."""
INCLUDED = {"free": 4, "pro": 5, "enterprise": 9}
CAPS = {"pro": 20, "enterprise": 27}
"""Units beyond what a tier includes, at most."""
_POLICY = f"""\
version: 1
tiers:
  free: {{limits: [1_000 per second burst 1_000, {INCLUDED["free"]} requests per billing period]}}
  pro:
    limits: [1_000 per second burst 1_000, {INCLUDED["pro"]} requests per billing period]
    overage: {{stripe_meter: api_overage, price: lookup_key api_overage, cap: {CAPS["pro"]} units}}
  enterprise:
    limits: [1_000 per second burst 1_000, {INCLUDED["enterprise"]} requests per billing period]
    overage: {{stripe_meter: api_overage, price: lookup_key api_overage, cap: 4x}}
plans:
  pro-monthly: {{tier: pro, price: lookup_key pro_monthly}}
  pro-yearly: {{tier: pro, price: lookup_key pro_yearly, overage_price: lookup_key overage_yearly}}
  enterprise-monthly: {{tier: enterprise, price: lookup_key enterprise_monthly}}
add_ons: {{sso: {{price: price_sso, features: [sso]}}}}
routes:
  - {{match: "POST /v1/**", cost: 4}}
  - match: "* /v1/**"
"""


def policy_under(law: Law) -> str:
    """The policy file of a town: what it sells, and its law."""
    return _POLICY + law.lines + (f"entitlements: [{FEATURE}]\n" if law.entitles else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """A subscription that is paid for and has a metered item."""

    tier: str
    price_id: str

    def most(self, cap: int | None) -> int:
        """Units beyond the quota, with a cap of the buyer's own of so many cents."""
        units = CAPS[self.tier]
        return units if cap is None else min(units, int(cap / CENTS[self.price_id]))


def bought_beyond(world: World, stripe_customer_id: str | None) -> set[Bought]:
    """What there is of it now. More than one only while somebody has two subscriptions."""
    customer = world.tables.customers.get(stripe_customer_id or "")
    if customer is None or customer.deleted:
        return set()
    return {
        Bought(tier=TIERS[base.price_id], price_id=metered.price_id)
        for one in world.subscriptions_of(customer.id)
        if one.status == "active"
        for base in one.items
        if base.price_id in TIERS
        for metered in one.items
        if metered.price_id in CENTS
    }


def metered_of(world: World, subscription_id: str) -> set[str]:
    """The prices of a subscription's metered items."""
    return {item.price_id for item in world.subscription(subscription_id).items if item.price_id in CENTS}


def without_gone(read: Subscription | None) -> Subscription | None:
    """What was recorded, but for items that are gone: they are kept for a month, and not until an event."""
    if read is None:
        return None
    there = tuple(item for item in read.metered if item.gone_at is None)
    return replace(read, metered=there, beneath=without_gone(read.beneath))


def sell_beyond(world: World) -> None:
    """A yearly price beside the monthly one that every sandbox has."""
    prices = world.tables.prices
    known = prices["price_api_overage"]
    tariff = replace(known.rates, unit_amount=CENTS[YEARLY])
    prices[YEARLY] = replace(known, id=YEARLY, lookup_key="overage_yearly", interval="year", tariff=tariff)
