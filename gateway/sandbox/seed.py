"""What is for sale in a fresh sandbox: the prices that the shipped policies sell, and one for usage beyond them."""

from __future__ import annotations

from decimal import Decimal

from gateway.sandbox.engine.saving import add_price, add_product
from gateway.sandbox.meters import Meter
from gateway.sandbox.records import Price, Product
from gateway.sandbox.tariffs import Tariff
from gateway.sandbox.world import World

SEEDED = (
    ("pro", "Pro", "pro_monthly", 2_900, "month"),
    ("pro", "Pro", "pro_yearly", 29_000, "year"),
    ("enterprise", "Enterprise", "enterprise_monthly", 49_900, "month"),
)
"""(tier, product name, lookup key, cents, interval)."""


def seed(world: World) -> None:
    """Create the products and prices; their ids are `prod_<tier>` and `price_<lookup key>`."""
    for tier, name, lookup_key, unit_amount, interval in SEEDED:
        product_id = f"prod_{tier}"
        if product_id not in world.tables.products:
            product = Product(
                id=product_id,
                name=name,
                created=world.now,
                updated=world.now,
                metadata={"tier": tier},
            )
            add_product(world, product)
        price = Price(
            id=f"price_{lookup_key}",
            product_id=product_id,
            created=world.now,
            currency="usd",
            unit_amount=unit_amount,
            interval=interval,
            lookup_key=lookup_key,
        )
        add_price(world, price)
    _seed_overage(world)


OVERAGE = "api_overage"
"""The meter's event name, and the lookup key of its price: a tenth of a cent for each unit beyond the quota."""
_OVERAGE_CENTS = Decimal("0.1")


def _seed_overage(world: World) -> None:
    """The meter `mtr_api_overage`, and `price_api_overage` of a product without a tier: it grants nothing.

    They tell nobody of it: the ids of events, by which faults are drawn, are those that they were without it.
    """
    product_id, meter_id = f"prod_{OVERAGE}", f"mtr_{OVERAGE}"
    name = "API calls beyond the plan"
    world.tables.products[product_id] = Product(id=product_id, name=name, created=world.now, updated=world.now)
    meter = Meter(id=meter_id, created=world.now, updated=world.now, display_name="API overage", event_name=OVERAGE)
    world.tables.meters[meter_id] = meter
    price_id = f"price_{OVERAGE}"
    world.tables.prices[price_id] = Price(
        id=price_id,
        product_id=product_id,
        created=world.now,
        currency="usd",
        unit_amount=0,
        interval="month",
        lookup_key=OVERAGE,
        tariff=Tariff(unit_amount=_OVERAGE_CENTS),
        meter_id=meter_id,
    )
