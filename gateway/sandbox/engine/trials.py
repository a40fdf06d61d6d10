"""Trials that end without anything to charge, and subscriptions that go on afterwards."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.invoices import attempt, bill_now
from gateway.sandbox.engine.lines import full_line
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import change_subscription, emit
from gateway.sandbox.engine.subscriptions import cancel, next_end
from gateway.sandbox.engine.usage import licensed
from gateway.sandbox.records import Subscription
from gateway.sandbox.shapes.subscriptions import subscription_shape
from gateway.sandbox.world import World


def ends_without_method(world: World, subscription: Subscription) -> bool:
    """Whether a trial's end finds nothing to charge, and an invoice is not what was asked for then."""
    if subscription.status != "trialing" or subscription.trial_without_method == "create_invoice":
        return False
    customer = world.tables.customers[subscription.customer_id]
    return subscription.default_payment_method_id is None and customer.default_payment_method_id is None


def end_trial(world: World, subscription: Subscription) -> None:
    """Pause it (customer.subscription.paused), or cancel it."""
    if subscription.trial_without_method == "cancel":
        cancel(world, subscription.id, reason="payment_failed")
        return
    paused = replace(subscription, status="paused")
    change_subscription(world, paused)
    emit(world, "customer.subscription.paused", subscription_shape(world, paused))


def resume(world: World, subscription_id: str) -> Subscription:
    """A paused subscription begins a period now and is billed for it: customer.subscription.resumed.

    Raises:
        Refused: it is not paused, or still has nothing to charge.
    """
    subscription = world.subscription(subscription_id)
    if subscription.status != "paused":
        raise Refused("Only paused subscriptions can be resumed.")
    items = tuple(
        replace(
            item,
            period_starts_at=world.now,
            period_ends_at=next_end(world.price(item.price_id), world.now, world.now),
            usage_since=None,
        )
        for item in subscription.items
    )
    resumed = replace(subscription, items=items, anchor=world.now)
    lines = tuple(full_line(world, resumed, item) for item in licensed(world, items))
    change_subscription(world, resumed)
    invoice = bill_now(world, resumed, lines, reason="subscription_cycle")
    refusal = attempt(world, invoice.id) if invoice.status == "open" else None
    if refusal is not None:
        raise Refused(refusal.message)
    active = replace(world.subscription(subscription_id), status="active")
    change_subscription(world, active)
    emit(world, "customer.subscription.resumed", subscription_shape(world, active))
    return active
