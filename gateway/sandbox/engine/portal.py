"""The billing portal's acts: what a customer does to its own subscriptions."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.cards import Card, CardRefused
from gateway.sandbox.engine.agenda import ENDED
from gateway.sandbox.engine.changes import Change, ItemChange, apply_change
from gateway.sandbox.engine.methods import attach, new_method
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import change_customer, change_subscription
from gateway.sandbox.engine.scheduled import let_go, schedule_of
from gateway.sandbox.engine.subscriptions import (
    cancel,
    pay_open_invoices,
    schedule_end,
    set_default_method,
    unschedule_end,
)
from gateway.sandbox.records import PortalSession, Price, Subscription
from gateway.sandbox.world import World, find


def portal_of(world: World, session_id: str) -> PortalSession:
    """Raises NoSuchRecord."""
    return find(world.tables.portals, "billing_portal.session", session_id)


def live_subscriptions(world: World, customer_id: str) -> list[Subscription]:
    """What the portal shows: everything that has not ended."""
    return [one for one in world.subscriptions_of(customer_id) if one.status not in ENDED]


def own_subscription(world: World, session: PortalSession, subscription_id: str) -> Subscription:
    """A live subscription of the session's customer.

    Raises:
        Refused: it is another customer's, or has ended.
    """
    for subscription in live_subscriptions(world, session.customer_id):
        if subscription.id == subscription_id:
            return subscription
    raise Refused("This subscription cannot be changed here.")


def update_card(
    world: World, session: PortalSession, card: Card, *, exp_month: int, exp_year: int
) -> CardRefused | None:
    """Make a new card the customer's default, take back what subscriptions have in its place, and pay what is owed.

    Source: https://docs.stripe.com/customer-management/integrate-customer-portal#webhooks ("if the override was
    removed").

    Returns:
        Why an open invoice could not be paid with it, if so; the card is kept all the same.

    Raises:
        CardRefused: the card is refused altogether; nothing has changed.
    """
    if not card.attaches:
        raise CardRefused(card.message, code="card_declined", decline_code=card.decline_code)
    method = new_method(world, card, exp_month=exp_month, exp_year=exp_year, is_set_up=True)
    attach(world, method.id, session.customer_id)
    customer = world.customer(session.customer_id)
    change_customer(world, replace(customer, default_payment_method_id=method.id))
    for subscription in live_subscriptions(world, customer.id):
        set_default_method(world, subscription.id, None)
    refusals = [refusal for _, refusal in pay_open_invoices(world, customer.id, method.id) if refusal]
    return refusals[0] if refusals else None


def cancel_as_set(world: World, session: PortalSession, subscription_id: str) -> None:
    """Cancel in the way that the account's portal does it: at the end of the period, or at once."""
    subscription = _without_schedule(world, own_subscription(world, session, subscription_id))
    if world.rules.portal_cancels_by == "immediately":
        cancel(world, subscription.id)
        return
    by_flag = world.rules.portal_cancels_by == "cancel_at_period_end"
    change_subscription(world, schedule_end(world, subscription, subscription.period_ends_at, at_period_end=by_flag))


def resume(world: World, session: PortalSession, subscription_id: str) -> None:
    """Take a scheduled cancellation back."""
    change_subscription(world, unschedule_end(own_subscription(world, session, subscription_id)))


def switch_plan(
    world: World, session: PortalSession, subscription_id: str, price_id: str, *, is_confirmed: bool = False
) -> None:
    """Change the (first) item's price and pay the difference at once.

    Raises:
        CardRefused: the difference could not be collected; the caller restores the world. ActionRequired: not before
            the customer has confirmed it.
        Refused: no such plan.
    """
    subscription = _without_schedule(world, own_subscription(world, session, subscription_id))
    if price_id not in {price.id for price in plans_on_offer(world)}:
        raise Refused("This plan is not on offer.")
    item = ItemChange(item_id=subscription.items[0].id, price_id=price_id)
    change = Change(
        items=(item,),
        proration_behavior="always_invoice",
        payment_behavior="error_if_incomplete",
        on_session=is_confirmed,
    )
    apply_change(world, subscription, change)


def _without_schedule(world: World, subscription: Subscription) -> Subscription:
    """What the customer asks for here takes the place of what was planned."""
    if subscription.schedule_id is not None:
        let_go(world, schedule_of(world, subscription.schedule_id))
    return world.subscription(subscription.id)


def plans_on_offer(world: World) -> list[Price]:
    """Every active recurring price of an active product, in the order of creation; nothing that is metered."""
    return [
        price
        for price in world.tables.prices.values()
        if price.active and price.interval and price.meter_id is None and world.product(price.product_id).active
    ]
