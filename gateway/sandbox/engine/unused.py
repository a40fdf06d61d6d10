"""What Stripe's dashboard deletes while nothing has it, and no API does."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import delete_price
from gateway.sandbox.records import Price
from gateway.sandbox.world import World


def delete_unused_price(world: World, price_id: str) -> Price:
    """Delete a price that was never used: price.deleted.

    Source: https://docs.stripe.com/products-prices/manage-prices (only in the dashboard, and only if it was not used).

    Raises:
        NoSuchRecord: There is none.
        Refused: It is in use, or was.
    """
    price = world.price(price_id)
    if price_id in set(_used(world)):
        raise Refused("This price can't be deleted because it has been used. Archive it instead.", param="price")
    delete_price(world, price_id)
    return price


def _used(world: World) -> Iterator[str]:
    tables = world.tables
    yield from (item.price_id for one in tables.subscriptions.values() for item in one.items)
    yield from (line.price_id for one in tables.invoices.values() for line in one.lines)
    yield from (one.line.price_id for one in tables.pending_lines.values())
    yield from (line.price_id for one in tables.checkouts.values() for line in one.lines)
    yield from (item.price_id for one in tables.schedules.values() for phase in one.phases for item in phase.items)
    for one in tables.subscriptions.values():
        if one.pending_update is not None:
            yield from (item.price_id for item in one.pending_update.items)
