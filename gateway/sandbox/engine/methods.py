"""Cards on file."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.cards import TEST_METHODS, Card, CardRefused, read_number
from gateway.sandbox.engine.saving import change_customer, change_subscription, put_payment_method
from gateway.sandbox.records import PaymentMethod
from gateway.sandbox.world import World, find

_TEST_EXPIRY = (12, 2034)


def new_method(
    world: World,
    card: Card,
    *,
    exp_month: int,
    exp_year: int,
    email: str | None = None,
    name: str | None = None,
    is_set_up: bool = False,
) -> PaymentMethod:
    """A payment method that belongs to nobody yet. `is_set_up`: its bank was asked, and agreed."""
    method = PaymentMethod(
        id=world.new_id("pm"),
        created=world.now,
        brand=card.brand,
        last4=card.number[-4:],
        exp_month=exp_month,
        exp_year=exp_year,
        pays_on_session=card.pays_on_session and card.attaches,
        pays_off_session=card.pays_off_session and card.attaches,
        delayed=card.delayed,
        disputes=card.disputes,
        challenge=card.challenge,
        is_set_up=is_set_up or card.is_set_up,
        email=email,
        name=name,
    )
    put_payment_method(world, method)
    return method


def method_of(world: World, method_id: str) -> PaymentMethod:
    """The payment method of that id; one of Stripe's test names makes a new one each time.

    Raises:
        NoSuchRecord: there is none.
    """
    if method_id in TEST_METHODS:
        month, year = _TEST_EXPIRY
        return new_method(world, read_number(TEST_METHODS[method_id]), exp_month=month, exp_year=year)
    return find(world.tables.payment_methods, "PaymentMethod", method_id)


def attach(world: World, method_id: str, customer_id: str) -> PaymentMethod:
    """Give a card to a customer.

    Raises:
        CardRefused: the card's bank refuses it.
        NoSuchRecord: no such card or customer.
    """
    method = method_of(world, method_id)
    customer = world.customer(customer_id)
    if not method.pays_on_session and not method.pays_off_session:
        raise CardRefused("Your card was declined.", code="card_declined", decline_code="generic_decline")
    attached = replace(method, customer_id=customer.id, email=method.email or customer.email)
    put_payment_method(world, attached)
    return attached


def detach(world: World, method_id: str) -> PaymentMethod:
    """Take a card away from its customer, and from everything that would have charged it."""
    method = find(world.tables.payment_methods, "PaymentMethod", method_id)
    if method.customer_id is not None:
        customer = world.customer(method.customer_id)
        if customer.default_payment_method_id == method_id:
            change_customer(world, replace(customer, default_payment_method_id=None))
        for subscription in world.subscriptions_of(customer.id):
            if subscription.default_payment_method_id == method_id:
                change_subscription(world, replace(subscription, default_payment_method_id=None))
    freed = replace(method, customer_id=None)
    put_payment_method(world, freed)
    return freed
