"""How a schedule's subscription is paid and taxed: copied as it is taken over, and set as each phase becomes active.

A phase that does not say it takes what the schedule has, and where that has nothing, the customer's own holds: never
what the subscription has. What is changed directly on the subscription meanwhile does not get into the schedule here;
Stripe says of its own that it might.

Source: https://docs.stripe.com/billing/subscriptions/subscription-schedules ("Phase attribute inheritance",
"Subscription updates when a schedule is attached")
"""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.records import InvoiceWords, Subscription
from gateway.sandbox.schedule_records import Phase, Schedule, Settings
from gateway.sandbox.world import World

AUTOMATICALLY = "charge_automatically"
BY_MAIL = "send_invoice"


def copied(subscription: Subscription) -> Settings:
    """What a schedule has that takes a subscription over."""
    return Settings(
        payment_method_id=subscription.default_payment_method_id,
        collection_method=AUTOMATICALLY if subscription.days_until_due is None else BY_MAIL,
        days_until_due=subscription.days_until_due,
        automatic_tax=subscription.automatic_tax,
        description=subscription.description,
        invoice_words=subscription.invoice_words,
    )


def days_to_pay(phase: Phase, defaults: Settings) -> int | None:
    """Days in which invoices of a phase are to be paid; None: they are collected by themselves.

    Raises:
        Refused: They are sent by mail, and nobody says for how long.
    """
    if (phase.settings.collection_method or defaults.collection_method) != BY_MAIL:
        return None
    days = defaults.days_until_due if phase.settings.days_until_due is None else phase.settings.days_until_due
    if days is None:
        message = "If `collection_method` is set to `send_invoice`, then you must specify `days_until_due`."
        raise Refused(message, param="phases")
    return days


def with_settings(world: World, subscription: Subscription, schedule: Schedule, phase: Phase) -> Subscription:
    """The subscription as a phase has it that becomes active; to be put by the caller."""
    own, defaults = phase.settings, schedule.defaults
    method_id = own.payment_method_id or defaults.payment_method_id
    method = world.tables.payment_methods.get(method_id or "")
    is_there = method is not None and method.customer_id == subscription.customer_id
    return replace(
        subscription,
        days_until_due=days_to_pay(phase, schedule.defaults),
        default_payment_method_id=method_id if is_there else None,
        automatic_tax=bool(defaults.automatic_tax if own.automatic_tax is None else own.automatic_tax),
        description=own.description or defaults.description,
        invoice_words=own.invoice_words or defaults.invoice_words or InvoiceWords(),
    )
