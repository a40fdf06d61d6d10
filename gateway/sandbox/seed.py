"""What is for sale in a fresh sandbox: the three prices that the shipped policies sell."""

from __future__ import annotations

from gateway.sandbox.engine.saving import add_price, add_product
from gateway.sandbox.records import Price, Product
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
