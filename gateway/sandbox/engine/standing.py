"""What a paid or failed invoice does to its subscription's status."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.saving import change_subscription, emit
from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.records import Labels, Subscription
from gateway.sandbox.shapes.subscriptions import subscription_shape
from gateway.sandbox.world import World


def after_payment(world: World, invoice: Invoice) -> None:
    """The latest invoice's payment makes the subscription active again, and applies an update that waited."""
    subscription = world.tables.subscriptions.get(invoice.subscription_id)
    if subscription is None:
        return
    if subscription.pending_update is not None and subscription.pending_update.invoice_id == invoice.id:
        subscription = _apply_pending(world, subscription)
    waits_for_it = subscription.status in {"incomplete", "past_due", "unpaid"}
    if waits_for_it and subscription.latest_invoice_id == invoice.id:
        change_subscription(world, replace(subscription, status="active", past_due_since=None))


def after_promise(world: World, invoice: Invoice) -> None:
    """A first payment that is on its way makes the subscription active, long before anybody has the money."""
    subscription = world.tables.subscriptions.get(invoice.subscription_id)
    if subscription is not None and subscription.status == "incomplete":
        change_subscription(world, replace(subscription, status="active"))


def after_void(world: World, invoice: Invoice) -> None:
    """An update that waited for this invoice is given up with it."""
    after_write_off(world, invoice)
    subscription = world.tables.subscriptions.get(invoice.subscription_id)
    pending = None if subscription is None else subscription.pending_update
    if subscription is None or pending is None or pending.invoice_id != invoice.id:
        return
    without = replace(subscription, pending_update=None)
    change_subscription(world, without)
    emit(world, "customer.subscription.pending_update_expired", subscription_shape(world, without))


def after_write_off(world: World, invoice: Invoice) -> None:
    """The status follows the latest invoice that is not void, and one that is uncollectible counts as paid.

    Where none is left, nothing is due. Source: https://docs.stripe.com/billing/subscriptions/overview; that page
    does not say what becomes of a subscription whose only invoice is void.
    """
    subscription = world.tables.subscriptions.get(invoice.subscription_id)
    if subscription is None or subscription.status not in {"past_due", "unpaid"}:
        return
    invoices = [one for one in world.tables.invoices.values() if one.subscription_id == subscription.id]
    statuses = [one.status for one in invoices if one.status != "void"]
    if not statuses or statuses[-1] in {"paid", "uncollectible"}:
        change_subscription(world, replace(subscription, status="active", past_due_since=None))


def with_waiting_labels(subscription: Subscription, labels: Labels | None) -> Subscription:
    """`metadata` that comes with an update that waits, waits with it."""
    pending = subscription.pending_update
    if pending is None or not labels:
        return subscription
    return replace(subscription, pending_update=replace(pending, metadata={**pending.metadata, **labels}))


def _apply_pending(world: World, subscription: Subscription) -> Subscription:
    pending = subscription.pending_update
    if pending is None:
        return subscription
    metadata = {name: value for name, value in {**subscription.metadata, **pending.metadata}.items() if value != ""}
    applied = replace(subscription, items=pending.items, anchor=pending.anchor, metadata=metadata, pending_update=None)
    if pending.ends_trial:
        applied = replace(applied, status="active", trial_ends_at=pending.anchor)
    change_subscription(world, applied)
    emit(world, "customer.subscription.pending_update_applied", subscription_shape(world, applied))
    return applied


def after_failure(world: World, invoice: Invoice) -> None:
    """A failed charge makes an active subscription past due, unless the charge was for an update that waits."""
    subscription = world.tables.subscriptions.get(invoice.subscription_id)
    if subscription is None or subscription.status not in {"active", "trialing"}:
        return
    pending = subscription.pending_update
    if pending is not None and pending.invoice_id == invoice.id:
        return
    change_subscription(world, replace(subscription, status="past_due", past_due_since=world.now))
