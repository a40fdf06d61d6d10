"""What the simulated account holds: immutable records, one per Stripe object.

A change is a new record put in the place of the old one, so a snapshot of the whole account is a
copy of its tables. Amounts are cents. Instants are Unix seconds of simulated time. Bills, events and schedules have
modules of their own (`invoice_records`, `event_records`, `schedule_records`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.sandbox.cards import Challenge
from gateway.sandbox.coupons import Discount
from gateway.sandbox.tariffs import Tariff

Json = dict[str, Any]
Labels = Mapping[str, str]
"""Stripe's `metadata`; never changed in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Something that is sold."""

    id: str
    name: str
    created: int
    updated: int
    description: str | None = None
    active: bool = True
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a product costs, once (`interval` is None) or every `interval_count` intervals.

    `tariff` is there when it is not whole cents for each unit; `unit_amount` is then the whole part.
    `meter_id`: usage that the meter counts is billed in arrears, instead of a quantity ahead.
    """

    id: str
    product_id: str
    created: int
    currency: str
    unit_amount: int
    interval: str | None = None
    interval_count: int = 1
    lookup_key: str | None = None
    nickname: str | None = None
    tax_behavior: str = "unspecified"
    active: bool = True
    tariff: Tariff | None = None
    meter_id: str | None = None
    metadata: Labels = field(default_factory=dict)

    @property
    def rates(self) -> Tariff:
        """How a quantity is priced."""
        return self.tariff or Tariff(unit_amount=Decimal(self.unit_amount))


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Who pays. A negative `balance` is credit that the next invoices use up."""

    id: str
    created: int
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    description: str | None = None
    default_payment_method_id: str | None = None
    balance: int = 0
    currency: str | None = None
    invoice_count: int = 0
    deleted: bool = False
    test_clock_id: str | None = None
    address: Labels | None = None
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestClock:
    """A clock of the API. `target_time`: it is on its way there."""

    id: str
    created: int
    frozen_time: int
    name: str | None = None
    target_time: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """A card, or a bank account (`delayed`), on file. Only the number's last four digits and its behaviour are kept."""

    id: str
    created: int
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    pays_on_session: bool = True
    pays_off_session: bool = True
    delayed: bool = False
    disputes: bool = False
    challenge: Challenge = "never"
    is_set_up: bool = False
    """Its bank was asked once, and agreed to payments without the customer."""
    customer_id: str | None = None
    email: str | None = None
    name: str | None = None
    metadata: Labels = field(default_factory=dict)

    @property
    def asks_for_customer(self) -> bool:
        """Whether its bank lets no payment through at which the customer is not there."""
        return self.challenge == "always" or (self.challenge == "unless set up" and not self.is_set_up)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One price within a subscription, with the period that is paid or due.

    A metered one has no quantity (0 here). `usage_since`: since when its usage counts, when it came within a period.
    """

    id: str
    price_id: str
    quantity: int
    created: int
    period_starts_at: int
    period_ends_at: int
    usage_since: int | None = None
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUpdate:
    """A change of items that waits for `invoice_id` to be paid until `expires_at`."""

    items: tuple[Item, ...]
    anchor: int
    invoice_id: str
    expires_at: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What is merged into the subscription's when it is applied."""
    ends_trial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceWords:
    """What the seller has written on every invoice of a subscription."""

    description: str | None = None
    footer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a customer is billed for, again and again.

    `trial_without_method`: what becomes of a trial that ends and there is nothing to charge.
    `anchor` is where the calendar steps are counted from: see `gateway.sandbox.periods`.
    """

    id: str
    customer_id: str
    created: int
    currency: str
    anchor: int
    items: tuple[Item, ...]
    status: str = "incomplete"
    default_payment_method_id: str | None = None
    latest_invoice_id: str | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    cancel_comment: str | None = None
    cancel_feedback: str | None = None
    cancel_reason: str | None = None
    ended_at: int | None = None
    trial_starts_at: int | None = None
    trial_ends_at: int | None = None
    trial_end_announced: bool = False
    trial_without_method: str = "create_invoice"
    days_until_due: int | None = None
    """Of invoices that are sent by mail; None: they are collected by themselves."""
    pause_behavior: str | None = None
    pause_resumes_at: int | None = None
    past_due_since: int | None = None
    pending_update: PendingUpdate | None = None
    discounts: tuple[Discount, ...] = ()
    automatic_tax: bool = False
    schedule_id: str | None = None
    description: str | None = None
    invoice_words: InvoiceWords = field(default_factory=InvoiceWords)
    metadata: Labels = field(default_factory=dict)

    @property
    def period_ends_at(self) -> int:
        """The earliest end of an item's period: the next thing that is due."""
        return min(item.period_ends_at for item in self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Something that subscribers of a product may use. `active` is False when it is archived."""

    id: str
    created: int
    name: str
    lookup_key: str
    active: bool = True
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFeature:
    """A feature that a product has."""

    id: str
    product_id: str
    feature_id: str
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A payment that a card made."""

    id: str
    customer_id: str
    created: int
    invoice_id: str
    payment_method_id: str
    amount: int
    currency: str
    amount_refunded: int = 0
    disputed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A payment, or a part of it, that was given back. `failure`: why it came back, in Stripe's word."""

    id: str
    charge_id: str
    invoice_id: str
    created: int
    amount: int
    currency: str
    reason: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A payment that its payer wants back from the bank. `status` is Stripe's word.

    `evidence`: what the seller says, staged until it is submitted.
    """

    id: str
    charge_id: str
    created: int
    amount: int
    currency: str
    reason: str
    status: str
    evidence: str | None = None
    submissions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutLine:
    """One price that a checkout page sells; `range`: within which the payer may choose another quantity."""

    id: str
    price_id: str
    quantity: int
    range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutSession:
    """A hosted page that turns a card into a subscription, once."""

    id: str
    created: int
    expires_at: int
    currency: str
    lines: tuple[CheckoutLine, ...]
    success_url: str
    cancel_url: str | None = None
    customer_id: str | None = None
    customer_email: str | None = None
    client_reference_id: str | None = None
    status: str = "open"
    payment_status: str = "unpaid"
    subscription_id: str | None = None
    invoice_id: str | None = None
    allow_promotion_codes: bool | None = None
    locale: str | None = None
    coupon_id: str | None = None
    promotion_code_id: str | None = None
    automatic_tax: bool = False
    collects_tax_ids: bool = False
    trial_days: int = 0
    trial_without_method: str = "create_invoice"
    asks_for_method: bool = True
    subscription_description: str | None = None
    subscription_metadata: Labels = field(default_factory=dict)
    metadata: Labels = field(default_factory=dict)
    payer_email: str | None = None
    payer_name: str | None = None
    payer_address: Labels | None = None
    asks_for_address: bool = False
    saves_to_customer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalConfiguration:
    """What the portal lets customers do. `features` are in Stripe's shape; the account's default is not recorded."""

    id: str
    created: int
    updated: int
    features: Mapping[str, Any]
    active: bool = True
    name: str | None = None
    default_return_url: str | None = None
    headline: str | None = None
    metadata: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSession:
    """A hosted page on which one customer manages its subscriptions. `configuration_id`: None is the default."""

    id: str
    customer_id: str
    created: int
    configuration_id: str | None = None
    return_url: str | None = None
    locale: str | None = None
    flow: Mapping[str, Any] | None = None
