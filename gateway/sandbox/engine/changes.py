"""Changing what a subscription is for, in the middle of a period.

`plan_change` computes the items and the prorations and changes nothing, so that a preview and the change
itself cannot differ; `apply_change` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.sandbox.cards import CardRefused
from gateway.sandbox.engine.invoices import attempt, bill_now, void
from gateway.sandbox.engine.lines import full_line, remaining_line, unused_line
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import add_pending_line, change_subscription
from gateway.sandbox.engine.subscriptions import expect_currency, next_end, of_subscription, recurring_price
from gateway.sandbox.engine.usage import as_invoice_item, is_metered, licensed, usage_lines
from gateway.sandbox.invoice_records import InvoiceLine, PendingLine
from gateway.sandbox.records import Item, PendingUpdate, Price, Subscription
from gateway.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """What is asked of one item; without `item_id` it is a new one."""

    item_id: str | None = None
    price_id: str | None = None
    quantity: int | None = None
    deleted: bool = False
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of items, and how its price is settled."""

    items: tuple[ItemChange, ...] = ()
    proration_behavior: str = "create_prorations"
    proration_date: int | None = None
    anchor_now: bool = False
    end_trial: bool = False
    payment_behavior: str = "allow_incomplete"
    on_session: bool = False
    """As of `collect`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a change comes to. `resets`: the period starts afresh and is billed at once."""

    items: tuple[Item, ...]
    anchor: int
    prorations: tuple[InvoiceLine, ...]
    full: tuple[InvoiceLine, ...]
    resets: bool
    bills_now: bool
    ends_trial: bool


def plan_change(world: World, subscription: Subscription, change: Change) -> Planned:
    """Compute a change without making it.

    A new interval, a step from a free price to a paid one, the end of a trial, or `anchor_now` resets the period,
    as at Stripe.

    Raises:
        Refused: an unknown item, a price twice, no item left, a proration date outside the period.
    """
    at = _proration_date(world, subscription, change)
    before = {item.id: item for item in subscription.items}
    after = _changed_items(world, subscription, change)
    ends_trial = change.end_trial and subscription.status == "trialing"
    resets = change.anchor_now or ends_trial
    resets = resets or any(_resets(world, before[item.id], item) for item in after if item.id in before)
    anchor = world.now if resets else subscription.anchor
    if resets:
        after = tuple(_from_now(world, item, anchor) for item in after)
    free_of_charge = change.proration_behavior == "none" or subscription.status == "trialing"
    prorations: tuple[InvoiceLine, ...] = ()
    if not free_of_charge:
        prorations = _prorations(world, subscription, after, at, whole_credit=resets)
    if not free_of_charge or resets:
        prorations += _used_until_now(world, subscription, after, resets=resets)
    full = tuple(full_line(world, subscription, item) for item in licensed(world, after)) if resets else ()
    always = change.proration_behavior == "always_invoice" and bool(prorations)
    return Planned(
        items=after,
        anchor=anchor,
        prorations=prorations,
        full=full,
        resets=resets,
        bills_now=resets or always,
        ends_trial=ends_trial,
    )


def _proration_date(world: World, subscription: Subscription, change: Change) -> int:
    at = change.proration_date if change.proration_date is not None else world.now
    for item in subscription.items:
        if not item.period_starts_at <= at <= item.period_ends_at:
            message = "Cannot specify `proration_date` outside of the current billing period."
            raise Refused(message, param="proration_date")
    return at


def _changed_items(world: World, subscription: Subscription, change: Change) -> tuple[Item, ...]:
    items = {item.id: item for item in subscription.items}
    for asked in change.items:
        if asked.item_id is None:
            added = _new_item(world, subscription, asked)
            items[added.id] = added
            continue
        if asked.item_id not in items:
            raise Refused(f"No such subscription item: '{asked.item_id}'", param="items", code="resource_missing")
        if asked.deleted:
            del items[asked.item_id]
        else:
            items[asked.item_id] = _changed_item(world, items[asked.item_id], asked)
    prices = [item.price_id for item in items.values()]
    for price_id in prices:
        expect_currency(world.price(price_id).currency, subscription.currency, "items")
    if not items:
        raise Refused("A subscription must have at least one active plan.", param="items")
    if len(set(prices)) != len(prices):
        raise Refused("Cannot add multiple subscription items with the same plan.", param="items")
    return tuple(items.values())


def _new_item(world: World, subscription: Subscription, asked: ItemChange) -> Item:
    if asked.price_id is None:
        raise Refused("You must pass a price for each new item.", param="items", code="parameter_missing")
    price = recurring_price(world, asked.price_id, "items")
    return Item(
        id=world.new_id("si"),
        price_id=price.id,
        quantity=_quantity(price, asked, 1),
        created=world.now,
        period_starts_at=subscription.items[0].period_starts_at,
        period_ends_at=next_end(price, subscription.anchor, world.now),
        usage_since=world.now,
        metadata=asked.metadata or {},
    )


def _quantity(price: Price, asked: ItemChange, otherwise: int) -> int:
    if price.meter_id is None:
        return otherwise if asked.quantity is None else asked.quantity
    if asked.quantity is not None:
        message = "You cannot set the quantity for metered plans. Instead, you should report usage to its meter."
        raise Refused(message, param="items")
    return 0


def _changed_item(world: World, item: Item, asked: ItemChange) -> Item:
    price_id = asked.price_id or item.price_id
    moves = price_id != item.price_id
    had = 1 if is_metered(world, item) else item.quantity
    price = recurring_price(world, price_id, "items") if moves else world.price(price_id)
    return replace(
        item,
        price_id=price.id,
        quantity=_quantity(price, asked, had),
        usage_since=world.now if moves else item.usage_since,
        metadata=item.metadata if asked.metadata is None else asked.metadata,
    )


def _resets(world: World, old: Item, new: Item) -> bool:
    before, after = world.price(old.price_id), world.price(new.price_id)
    if before.meter_id is not None or after.meter_id is not None:
        return False
    same_rhythm = (before.interval, before.interval_count) == (after.interval, after.interval_count)
    starts_to_cost = before.unit_amount == 0 and after.unit_amount > 0
    return not same_rhythm or starts_to_cost


def _from_now(world: World, item: Item, anchor: int) -> Item:
    ends_at = next_end(world.price(item.price_id), anchor, world.now)
    return replace(item, period_starts_at=world.now, period_ends_at=ends_at, usage_since=None)


def _prorations(
    world: World, subscription: Subscription, after: tuple[Item, ...], at: int, *, whole_credit: bool
) -> tuple[InvoiceLine, ...]:
    """Credits for what is given up, then charges for what replaces it; a reset is charged by full lines.

    What is metered is neither given back nor charged ahead.
    """
    kept = {item.id: item for item in licensed(world, after)}
    lines: list[InvoiceLine] = []
    for old in subscription.items:
        new = kept.pop(old.id, None)
        same = new is not None and (new.price_id, new.quantity) == (old.price_id, old.quantity)
        if same and not whole_credit:
            continue
        if not is_metered(world, old):
            lines.append(unused_line(world, subscription, old, at))
        if new is not None and not whole_credit:
            lines.append(remaining_line(world, subscription, new, at))
    if not whole_credit:
        lines.extend(remaining_line(world, subscription, added, at) for added in kept.values())
    return tuple(lines)


def _used_until_now(
    world: World, subscription: Subscription, after: tuple[Item, ...], *, resets: bool
) -> tuple[InvoiceLine, ...]:
    """What metered prices that go now have counted so far; with a reset, what all of them have."""
    kept = {item.id: item.price_id for item in after}
    is_trial = subscription.status == "trialing"
    lines: tuple[InvoiceLine, ...] = ()
    for item in subscription.items:
        if is_metered(world, item) and (resets or kept.get(item.id) != item.price_id):
            lines += usage_lines(world, subscription, item, world.now, is_free=is_trial)
    return as_invoice_item(world, lines)


def apply_change(world: World, subscription: Subscription, change: Change) -> Subscription:
    """Change the items; bill at once when the plan says so.

    Raises:
        CardRefused: with `error_if_incomplete`; the caller restores the world.
        Refused: as `plan_change`, and what costs something while the first invoice is not paid.
    """
    planned = plan_change(world, subscription, change)
    if subscription.status == "incomplete" and (planned.bills_now or planned.prorations):
        raise Refused(
            "You cannot update a subscription in `incomplete` status in a way that results in a new invoice or invoice "
            "items. Only minor attributes, like `metadata` or `default_payment_method`, can be updated."
        )
    subscription = _give_up_waiting(world, subscription)
    changed = _carried_out(world, subscription, planned)
    if changed.cancel_at_period_end:
        changed = replace(changed, cancel_at=changed.period_ends_at)
    if not planned.bills_now:
        _remember(world, subscription, planned.prorations)
        change_subscription(world, changed)
        return changed
    waits = change.payment_behavior == "pending_if_incomplete"
    if not waits:
        change_subscription(world, changed)
    lines = planned.prorations + planned.full
    invoice = bill_now(world, world.subscription(subscription.id), lines, reason="subscription_update")
    if waits and world.invoice(invoice.id).status == "open":
        _wait_for(world, subscription.id, planned, invoice.id)
    elif waits:
        current = world.subscription(subscription.id)
        change_subscription(world, _carried_out(world, current, planned))
    refusal: CardRefused | None = None
    if change.payment_behavior != "default_incomplete" and world.invoice(invoice.id).status == "open":
        refusal = attempt(world, invoice.id, on_session=change.on_session)
    if refusal is not None and change.payment_behavior == "error_if_incomplete":
        raise of_subscription(refusal)
    return world.subscription(subscription.id)


def _carried_out(world: World, subscription: Subscription, planned: Planned) -> Subscription:
    changed = replace(subscription, items=planned.items, anchor=planned.anchor)
    return replace(changed, status="active", trial_ends_at=world.now) if planned.ends_trial else changed


def _remember(world: World, subscription: Subscription, lines: tuple[InvoiceLine, ...]) -> None:
    for line in lines:
        pending = PendingLine(
            id=line.invoice_item_id or line.id,
            customer_id=subscription.customer_id,
            created=world.now,
            line=line,
        )
        add_pending_line(world, pending)


def _wait_for(world: World, subscription_id: str, planned: Planned, invoice_id: str) -> None:
    pending = PendingUpdate(
        items=planned.items,
        anchor=planned.anchor,
        invoice_id=invoice_id,
        expires_at=_gives_up_at(world, world.subscription(subscription_id)),
        ends_trial=planned.ends_trial,
    )
    change_subscription(world, replace(world.subscription(subscription_id), pending_update=pending))


def _gives_up_at(world: World, subscription: Subscription) -> int:
    """When an update is given up: with its period or trial, and after 23 hours.

    Source: https://docs.stripe.com/billing/subscriptions/pending-updates-reference
    """
    ends = [subscription.period_ends_at, world.now + world.rules.incomplete_s]
    trial = subscription.trial_ends_at
    return min(ends if trial is None or trial <= world.now else [*ends, trial])


def _give_up_waiting(world: World, subscription: Subscription) -> Subscription:
    """Another update takes the place of one that waits, and its invoice is void."""
    pending = subscription.pending_update
    if pending is not None and world.invoice(pending.invoice_id).status == "open":
        void(world, pending.invoice_id)
    return world.subscription(subscription.id)
