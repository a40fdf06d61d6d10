"""Which Stripe events we act on, and what each of them means to us.

An event is never applied: it only says that something should be read again. So most of the
table says "sync the customer", and what differs is the reason to listen at all.
"""

from __future__ import annotations

from enum import Enum

from gateway.billing.meter_errors import ERROR_REPORTS


class Meaning(Enum):
    """What an event asks for."""

    SYNC = "sync"
    """Read the customer's subscriptions again."""
    PRICES = "prices"
    """Forget the prices we remember, and sync whoever has a plan by what prices and products say."""
    REFUND = "refund"
    """Write down what was given back, and read the customer's subscriptions again where payments are looked at."""
    PAYMENT = "payment"
    """Read the customer's subscriptions again where payments are looked at; else nothing."""
    ALERT = "alert"
    """Somebody must look: set aside as dead, where people see it."""
    IGNORE = "ignore"
    """Nothing: answered 200 and counted."""


REASONS: dict[str, str] = {
    "checkout.session.completed": "a checkout was paid, or will be: this binds the Stripe customer",
    "checkout.session.async_payment_succeeded": "a delayed payment arrived",
    "checkout.session.async_payment_failed": "a delayed payment failed",
    "checkout.session.expired": "a checkout was given up; whatever it had begun is gone",
    "customer.subscription.created": "a subscription exists",
    "customer.subscription.updated": "plan, status, period or cancellation changed",
    "customer.subscription.deleted": "a subscription ended",
    "customer.subscription.paused": "a trial ended without a payment method",
    "customer.subscription.resumed": "a paused subscription goes on",
    "customer.subscription.trial_will_end": "three days left: a cheap moment to be in step",
    "customer.subscription.pending_update_applied": "a plan change was paid",
    "customer.subscription.pending_update_expired": "a plan change was not paid in time",
    "invoice.paid": "a renewal was paid, or an overdue payment made up",
    "invoice.payment_failed": "a renewal failed: grace begins",
    "invoice.payment_action_required": "a payment waits for the customer's bank",
    "invoice.marked_uncollectible": "the seller gave a payment up",
    "invoice.voided": "an invoice was withdrawn",
    "invoice.finalization_failed": "an invoice could not be made, so nothing is being collected",
    "entitlements.active_entitlement_summary.updated": "what the customer is entitled to changed",
    "subscription_schedule.updated": "a planned change was moved",
    "subscription_schedule.released": "a schedule let go of its subscription",
    "subscription_schedule.canceled": "a schedule ended and may have ended its subscription",
    "customer.deleted": "the customer is gone, and its subscriptions with it",
    "charge.dispute.created": "a payment is disputed",
    "charge.dispute.updated": "a dispute that was lost may be appealed, and is open again",
    "charge.dispute.closed": "a dispute is over",
    "charge.refunded": "money was given back: recorded; policy says what that does to access",
    "refund.created": "the same, told of the refund",
    "refund.updated": "a refund is on its way, has arrived, or was taken back",
    "refund.failed": "a refund did not arrive: the payment counts again",
    "price.created": "a plan's lookup key may lead to a new price",
    "price.updated": "a lookup key may have moved",
    "price.deleted": "a plan may have lost its price",
    "product.updated": "the name shown for a price changed, or the tier that its metadata names",
}
"""Every event type we act on, with the one reason we do."""

PLANS_CHANGED = "tiergate.plans-changed"
"""Not Stripe's: what we put into our own inbox for each customer whose plan a change of prices may have moved."""

ITEMS_LEFT = "tiergate.items-left"
"""Nor is this: for a customer with an item that goes once all is reported that it bills, due when to look at it."""

_THIN = "v1."
_THIN_ONLY = {
    "billing.meter.error_report_triggered": Meaning.ALERT,
    "billing.meter.no_meter_found": Meaning.ALERT,
}
"""What Stripe tells in thin events only: units that were reported and are not billed."""
_THIN_FINER = ("customer.subscription.", "entitlements.active_entitlement_summary.", "price.", "product.")
"""Of these, thin events name every single change: `v1.price.lookup_key_changed`."""

_OTHERS = {
    "charge.refunded": Meaning.REFUND,
    "refund.": Meaning.PAYMENT,
    "price.": Meaning.PRICES,
    "product.": Meaning.PRICES,
}
"""What known events ask for that begin so. All others ask for a sync."""

SUBSCRIBED_TYPES = tuple(REASONS)
"""What a webhook endpoint must be subscribed to; `doctor` compares."""
METER_ERRORS = tuple(f"{_THIN}{name}" for name in _THIN_ONLY)
"""What no webhook endpoint gets, and an event destination does."""
THIN_TYPES = (*(f"{_THIN}{name}" for name in SUBSCRIBED_TYPES), *METER_ERRORS)
"""What an event destination must be subscribed to that tells all. Stripe has each of our types as a thin event."""


def thin_type(event_type: str) -> str:
    """What the thin event of a snapshot's type is called."""
    return f"{_THIN}{event_type}"


def meaning_of(event_type: str) -> Meaning:
    """What an event of this type asks for, thin (`v1.` in front) or not. Types that are not known ask for nothing."""
    if event_type in {PLANS_CHANGED, ITEMS_LEFT}:
        return Meaning.SYNC
    if event_type in ERROR_REPORTS:
        return Meaning.ALERT
    is_thin, known = event_type.startswith(_THIN), event_type.removeprefix(_THIN)
    if is_thin and known in _THIN_ONLY:
        return _THIN_ONLY[known]
    if known not in REASONS and not (is_thin and known.startswith(_THIN_FINER)):
        return Meaning.IGNORE
    return next((meaning for beginning, meaning in _OTHERS.items() if known.startswith(beginning)), Meaning.SYNC)
