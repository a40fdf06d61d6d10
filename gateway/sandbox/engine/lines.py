"""The lines of an invoice: whole periods, and the unused and remaining parts of one."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.sandbox.engine.discounts import live_discounts
from gateway.sandbox.invoice_records import InvoiceLine
from gateway.sandbox.proration import prorate
from gateway.sandbox.records import Item, Subscription
from gateway.sandbox.tariffs import cost_of
from gateway.sandbox.world import World


def full_line(world: World, subscription: Subscription, item: Item, *, amount: int | None = None) -> InvoiceLine:
    """The item's whole period, at its price, or at `amount` (a trial costs 0)."""
    price = world.price(item.price_id)
    name = world.product(price.product_id).name
    total = cost_of(price.rates, item.quantity) if amount is None else amount
    each = f"${price.unit_amount / 100:.2f} / {price.interval}"
    return InvoiceLine(
        id=world.new_id("il"),
        amount=total,
        currency=price.currency,
        description=f"{item.quantity} \u00d7 {name} (at {each})" if total else f"Trial period for {name}",
        price_id=price.id,
        product_id=price.product_id,
        quantity=item.quantity,
        period_starts_at=item.period_starts_at,
        period_ends_at=item.period_ends_at,
        subscription_id=subscription.id,
        item_id=item.id,
    )


def unused_line(world: World, subscription: Subscription, item: Item, at: int) -> InvoiceLine:
    """Credit for what is left of the item's period at `at`."""
    return _part(world, subscription, item, at, credit=True)


def remaining_line(world: World, subscription: Subscription, item: Item, at: int) -> InvoiceLine:
    """The charge for what is left of the item's period at `at`."""
    return _part(world, subscription, item, at, credit=False)


def _part(world: World, subscription: Subscription, item: Item, at: int, *, credit: bool) -> InvoiceLine:
    price = world.price(item.price_id)
    whole = cost_of(price.rates, item.quantity)
    for discount in live_discounts(world, subscription, at):
        if discount.percent_off is not None and discount.covers(price.product_id):
            whole -= discount.of(whole)
    part = prorate(whole, item.period_ends_at - at, item.period_ends_at - item.period_starts_at)
    name = world.product(price.product_id).name
    product = name if item.quantity == 1 else f"{item.quantity} \u00d7 {name}"
    day = datetime.fromtimestamp(at, UTC).strftime("%d %b %Y")
    return InvoiceLine(
        id=world.new_id("il"),
        amount=-part if credit else part,
        currency=price.currency,
        description=f"{'Unused' if credit else 'Remaining'} time on {product} after {day}",
        price_id=price.id,
        product_id=price.product_id,
        quantity=item.quantity,
        period_starts_at=at,
        period_ends_at=item.period_ends_at,
        subscription_id=subscription.id,
        item_id=item.id,
        proration=True,
        invoice_item_id=world.new_id("ii"),
        credits=_charged_by(world, item) if credit else None,
    )


def _charged_by(world: World, item: Item) -> tuple[str, str] | None:
    """The invoice and the line that charged what is left of the item's period; None: it waits for the next one.

    Source: https://docs.stripe.com/billing/subscriptions/prorations#credit-proration-debit-links
    """
    if any(_charges(one.line, item) for one in world.tables.pending_lines.values()):
        return None
    for invoice in reversed(world.tables.invoices.values()):
        for line in invoice.lines:
            if _charges(line, item):
                return invoice.id, line.id
    return None


def _charges(line: InvoiceLine, item: Item) -> bool:
    is_of_it = (line.item_id, line.price_id, line.period_ends_at) == (item.id, item.price_id, item.period_ends_at)
    return is_of_it and line.amount >= 0
