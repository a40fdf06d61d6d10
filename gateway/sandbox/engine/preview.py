"""What the next invoice would be, without making it."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.changes import Change, plan_change
from gateway.sandbox.engine.discounts import with_discounts
from gateway.sandbox.engine.lines import full_line
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.subscriptions import next_end, recurring_price
from gateway.sandbox.engine.usage import licensed, metered, usage_lines
from gateway.sandbox.invoice_records import Invoice, InvoiceLine
from gateway.sandbox.records import Customer, Item, Subscription
from gateway.sandbox.world import World


def preview_change(world: World, subscription: Subscription, change: Change) -> Invoice:
    """The invoice that would come next: at once for a change that bills now, else at the period's end.

    Raises:
        Refused: as `plan_change`; or the subscription ends before another invoice.
    """
    planned = plan_change(world, subscription, change)
    pending = tuple(
        one.line for one in world.tables.pending_lines.values() if one.line.subscription_id == subscription.id
    )
    lines = pending + planned.prorations + planned.full
    due_at = world.now
    if not planned.bills_now:
        if subscription.cancel_at is not None and subscription.cancel_at <= subscription.period_ends_at:
            raise Refused("No upcoming invoices for customer", code="invoice_upcoming_none")
        due_at = min(item.period_ends_at for item in planned.items)
        lines += tuple(_next_period(world, subscription, item) for item in licensed(world, planned.items))
        for item in metered(world, planned.items):
            lines += usage_lines(world, subscription, item, item.period_ends_at)
    reason = "subscription_update" if planned.bills_now else "upcoming"
    customer = world.customer(subscription.customer_id)
    return _upcoming(world, customer, subscription, lines, due_at=due_at, reason=reason)


def _next_period(world: World, subscription: Subscription, item: Item) -> InvoiceLine:
    starts_at = item.period_ends_at
    ends_at = next_end(world.price(item.price_id), subscription.anchor, starts_at)
    return full_line(world, subscription, replace(item, period_starts_at=starts_at, period_ends_at=ends_at))


def preview_start(world: World, customer: Customer, change: Change) -> Invoice:
    """The first invoice of a subscription that does not exist yet."""
    subscription = Subscription(
        id=world.new_id("sub"),
        customer_id=customer.id,
        created=world.now,
        currency="usd",
        anchor=world.now,
        items=(),
    )
    lines: list[InvoiceLine] = []
    for asked in change.items:
        if asked.price_id is None:
            raise Refused("You must pass a price for each item.", param="subscription_details[items]")
        price = recurring_price(world, asked.price_id, "subscription_details[items]")
        if price.meter_id is not None:
            continue
        item = Item(
            id=world.new_id("si"),
            price_id=price.id,
            quantity=1 if asked.quantity is None else asked.quantity,
            created=world.now,
            period_starts_at=world.now,
            period_ends_at=next_end(price, world.now, world.now),
        )
        lines.append(full_line(world, subscription, item))
    return _upcoming(world, customer, subscription, tuple(lines), due_at=world.now, reason="subscription_create")


def _upcoming(
    world: World,
    customer: Customer,
    subscription: Subscription,
    lines: tuple[InvoiceLine, ...],
    *,
    due_at: int,
    reason: str,
) -> Invoice:
    invoice = Invoice(
        id=world.new_id("upcoming_in"),
        customer_id=customer.id,
        subscription_id=subscription.id,
        created=due_at,
        currency=subscription.currency,
        billing_reason=reason,
        lines=lines,
        period_starts_at=world.now,
        period_ends_at=due_at,
        subscription_metadata=subscription.metadata,
        words=subscription.invoice_words,
        starting_balance=customer.balance,
        next_attempt_at=due_at + (0 if due_at == world.now else world.rules.draft_s),
        preview=True,
    )
    invoice = with_discounts(world, subscription, invoice, due_at)
    asked = invoice.total + customer.balance
    return replace(invoice, ending_balance=min(asked, 0), amount_due=max(asked, 0))
