"""The checkout page's acts: open, pay, expire."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.sandbox.cards import Card, CardRefused
from gateway.sandbox.engine.methods import attach, new_method
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import add_customer, put_checkout
from gateway.sandbox.engine.subscriptions import Start, start
from gateway.sandbox.records import CheckoutSession, Customer
from gateway.sandbox.shapes.sessions import checkout_total
from gateway.sandbox.world import World, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the payer typed. `card` was read already."""

    card: Card
    exp_month: int
    exp_year: int
    email: str | None = None
    name: str | None = None


def checkout_of(world: World, session_id: str) -> CheckoutSession:
    """Raises NoSuchRecord."""
    return find(world.tables.checkouts, "checkout.session", session_id)


def pay(world: World, session_id: str, payment: Payment) -> CheckoutSession:
    """Turn an open session into a paid subscription.

    Raises:
        CardRefused: nothing has happened and the payer may try another card.
        Refused: the session is not open any more.
    """
    session = checkout_of(world, session_id)
    if session.status != "open":
        raise Refused(f"This checkout session is {session.status}.")
    if not payment.card.attaches:
        raise CardRefused(payment.card.message, code="card_declined", decline_code=payment.card.decline_code)
    customer = _payer(world, session, payment)
    method = new_method(
        world,
        payment.card,
        exp_month=payment.exp_month,
        exp_year=payment.exp_year,
        email=payment.email or customer.email,
        name=payment.name,
    )
    attach(world, method.id, customer.id)
    subscription = start(
        world,
        Start(
            customer_id=customer.id,
            prices=[(line.price_id, line.quantity) for line in session.lines],
            payment_method_id=method.id,
            on_session=True,
            trial_days=session.trial_days,
            description=session.subscription_description,
            metadata=session.subscription_metadata,
        ),
    )
    done = replace(
        session,
        status="complete",
        payment_status="paid" if checkout_total(world, session) else "no_payment_required",
        customer_id=customer.id,
        subscription_id=subscription.id,
        invoice_id=subscription.latest_invoice_id,
        payer_email=payment.email or customer.email,
        payer_name=payment.name,
    )
    put_checkout(world, done, "checkout.session.completed")
    return done


def _payer(world: World, session: CheckoutSession, payment: Payment) -> Customer:
    if session.customer_id is not None:
        return world.customer(session.customer_id)
    email = payment.email or session.customer_email
    customer = Customer(id=world.new_id("cus"), created=world.now, email=email, name=payment.name)
    add_customer(world, customer)
    return customer


def expire(world: World, session_id: str) -> CheckoutSession:
    """Close an open session; its page takes no payment any more.

    Raises:
        Refused: it is complete or expired already.
    """
    session = checkout_of(world, session_id)
    if session.status != "open":
        message = 'Only Checkout Sessions with a status in ["open"] can be expired. '
        raise Refused(f"{message}This Checkout Session has a status of {session.status}.")
    expired = replace(session, status="expired")
    put_checkout(world, expired, "checkout.session.expired")
    return expired
