"""The checkout page's acts: open, pay, expire."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.sandbox.cards import Card, CardRefused
from gateway.sandbox.engine.methods import attach, new_method
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import add_customer, change_customer, put_checkout
from gateway.sandbox.engine.subscriptions import Start, start
from gateway.sandbox.records import CheckoutSession, Customer, Labels, PaymentMethod
from gateway.sandbox.shapes.sessions import checkout_total
from gateway.sandbox.world import World, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the payer typed. `card` was read already; None: there is nothing to pay now and none was asked for."""

    card: Card | None
    exp_month: int = 12
    exp_year: int = 2034
    email: str | None = None
    name: str | None = None
    address: Labels | None = None


def checkout_of(world: World, session_id: str) -> CheckoutSession:
    """Raises NoSuchRecord."""
    return find(world.tables.checkouts, "checkout.session", session_id)


def pay(world: World, session_id: str, payment: Payment) -> CheckoutSession:
    """Turn an open session into a paid subscription. Whatever the card's bank asks about was confirmed.

    Raises:
        CardRefused: nothing has happened and the payer may try another card.
        Refused: the session is not open any more.
    """
    session = checkout_of(world, session_id)
    if session.status != "open":
        raise Refused(f"This checkout session is {session.status}.")
    customer = _payer(world, session, payment)
    method = _method(world, session, payment, customer)
    subscription = start(
        world,
        Start(
            customer_id=customer.id,
            prices=[(line.price_id, line.quantity) for line in session.lines],
            payment_method_id=None if method is None else method.id,
            on_session=True,
            trial_days=session.trial_days,
            trial_without_method=session.trial_without_method,
            coupon_id=session.coupon_id,
            promotion_code_id=session.promotion_code_id,
            automatic_tax=session.automatic_tax,
            description=session.subscription_description,
            metadata=session.subscription_metadata,
        ),
    )
    done = replace(
        session,
        status="complete",
        payment_status=_payment_status(checkout_total(world, session), method),
        customer_id=customer.id,
        subscription_id=subscription.id,
        invoice_id=subscription.latest_invoice_id,
        payer_email=payment.email or customer.email,
        payer_name=payment.name,
        payer_address=payment.address,
    )
    put_checkout(world, done, "checkout.session.completed")
    return done


def _method(world: World, session: CheckoutSession, payment: Payment, customer: Customer) -> PaymentMethod | None:
    """What was typed, on file; None if nothing was and nothing had to be."""
    card = payment.card
    if card is None and needs_method(world, session):
        raise CardRefused("Your card number is incomplete.", code="incomplete_number")
    if card is None:
        return None
    if not card.attaches:
        raise CardRefused(card.message, code="card_declined", decline_code=card.decline_code)
    method = new_method(
        world,
        card,
        exp_month=payment.exp_month,
        exp_year=payment.exp_year,
        email=payment.email or customer.email,
        name=payment.name,
        is_set_up=True,
    )
    attach(world, method.id, customer.id)
    return method


def needs_method(world: World, session: CheckoutSession) -> bool:
    """Whether a page takes no submission without a card."""
    return session.asks_for_method or checkout_total(world, session) > 0


def _payment_status(total: int, method: PaymentMethod | None) -> str:
    if total == 0 or method is None:
        return "no_payment_required"
    return "unpaid" if method.delayed else "paid"


def _payer(world: World, session: CheckoutSession, payment: Payment) -> Customer:
    if session.customer_id is not None:
        return _updated(world, session, payment)
    email = payment.email or session.customer_email
    customer = Customer(id=world.new_id("cus"), created=world.now, email=email, name=payment.name)
    add_customer(world, customer)
    return customer


def _updated(world: World, session: CheckoutSession, payment: Payment) -> Customer:
    """The customer, with what the page may write on it (`customer_update`)."""
    customer = world.customer(session.customer_id or "")
    saved = customer
    if "address" in session.saves_to_customer and payment.address is not None:
        saved = replace(saved, address=payment.address)
    if "name" in session.saves_to_customer and payment.name is not None:
        saved = replace(saved, name=payment.name)
    if saved != customer:
        change_customer(world, saved)
    return saved


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
