"""Metered items on invoices: in arrears, at what was reported for the period that has ended.

Billing mode is flexible: a metered item makes no line when it is added, a line (also of 0) when its period ends,
and a line for what it has used so far when its price goes. Nothing of it is ever prorated. A draft takes what is
reported late until it is finalized, an invoice that is final takes nothing.
Source: https://docs.stripe.com/billing/subscriptions/billing-mode/compare,
https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.sandbox.invoice_records import Invoice, InvoiceLine
from gateway.sandbox.meters import aggregated, counted
from gateway.sandbox.records import Item, Price, Subscription
from gateway.sandbox.tariffs import Part, decimal_text, parts_of
from gateway.sandbox.world import World


def is_metered(world: World, item: Item) -> bool:
    """Whether what it costs is known only afterwards."""
    return world.price(item.price_id).meter_id is not None


def metered(world: World, items: Iterable[Item]) -> tuple[Item, ...]:
    """Those that are billed by what was used."""
    return tuple(item for item in items if is_metered(world, item))


def licensed(world: World, items: Iterable[Item]) -> tuple[Item, ...]:
    """Those that are billed ahead, by their quantity."""
    return tuple(item for item in items if not is_metered(world, item))


def used(world: World, price: Price, customer_id: str, starts_at: int, ends_at: int) -> int:
    """What was reported between two instants; never below 0, as on an invoice."""
    meter = world.tables.meters[price.meter_id or ""]
    events = counted(
        world.tables.meter_events.values(),
        meter_id=meter.id,
        customer_id=customer_id,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    return max(aggregated(meter, events), 0)


def usage_lines(
    world: World, subscription: Subscription, item: Item, ends_at: int, *, is_free: bool = False
) -> tuple[InvoiceLine, ...]:
    """What the item used from the beginning of its period (or of its price) until `ends_at`; a trial is free."""
    price = world.price(item.price_id)
    starts_at = max(item.usage_since or 0, item.period_starts_at)
    quantity = used(world, price, subscription.customer_id, starts_at, ends_at)
    name = world.product(price.product_id).name
    parts = parts_of(price.rates, quantity)
    if is_free:
        parts = (Part(quantity=quantity, unit_amount=parts[0].unit_amount, amount=0),)
    return tuple(
        InvoiceLine(
            id=world.new_id("il"),
            amount=part.amount,
            currency=price.currency,
            description=f"Free trial for {quantity} \u00d7 {name}" if is_free else _described(name, price, part),
            price_id=price.id,
            product_id=price.product_id,
            quantity=part.quantity,
            period_starts_at=starts_at,
            period_ends_at=ends_at,
            subscription_id=subscription.id,
            item_id=item.id,
            unit_amount=part.unit_amount,
            is_usage=True,
            is_free=is_free,
        )
        for part in parts
    )


def _described(name: str, price: Price, part: Part) -> str:
    each = f"${decimal_text(part.unit_amount / 100)}"
    per = f" per {price.rates.divide_by}" if price.rates.divide_by > 1 else ""
    tier = "" if part.tier is None else f"Tier {part.tier} "
    if part.quantity == 0 and part.amount:
        return f"{name} ({tier}flat fee {each})"
    return f"{part.quantity} \u00d7 {name} ({tier}at {each}{per} / {price.interval})"


def as_invoice_item(world: World, lines: tuple[InvoiceLine, ...]) -> tuple[InvoiceLine, ...]:
    """The lines of a price that has gone in the middle of a period: they wait as invoice items do."""
    return tuple(replace(line, invoice_item_id=world.new_id("ii")) for line in lines)


def measured_again(world: World, invoice: Invoice) -> Invoice:
    """The draft with the quantities that are reported by now. Lines keep their ids where they can."""
    lines: list[InvoiceLine] = []
    done: set[tuple[str, int]] = set()
    for line in invoice.lines:
        if not line.is_usage or line.invoice_item_id is not None:
            lines.append(line)
        elif (line.item_id, line.period_starts_at) not in done:
            done.add((line.item_id, line.period_starts_at))
            lines.extend(_again(world, invoice, line))
    return replace(invoice, lines=tuple(lines))


def _again(world: World, invoice: Invoice, line: InvoiceLine) -> tuple[InvoiceLine, ...]:
    subscription = world.subscription(line.subscription_id)
    item = Item(
        id=line.item_id,
        price_id=line.price_id,
        quantity=0,
        created=line.period_starts_at,
        period_starts_at=line.period_starts_at,
        period_ends_at=line.period_ends_at,
    )
    fresh = usage_lines(world, subscription, item, line.period_ends_at, is_free=line.is_free)
    known = [one.id for one in invoice.lines if one.is_usage and one.item_id == line.item_id]
    return tuple(replace(one, id=known[at]) if at < len(known) else one for at, one in enumerate(fresh))
