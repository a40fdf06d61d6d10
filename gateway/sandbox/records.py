"""What the simulated account holds: immutable records, one per Stripe object.

A change is a new record put in the place of the old one, so a snapshot of the whole account is a
copy of its tables. Amounts are cents. Instants are Unix seconds of simulated time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.sandbox.cards import Challenge
from gateway.sandbox.coupons import Discount, spread
from gateway.sandbox.tariffs import Tariff
from gateway.sandbox.taxes import tax_of

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
class InvoiceLine:
    """One amount on an invoice, or (before there is one) a pending proration.

    `is_usage`: it is measured again when its draft is finalized. `unit_amount` is None where it is the price's own.
    `credits`: the invoice and the line of it that charged what this one gives back; None if it gives nothing back, or
    what is on no invoice yet.
    """

    id: str
    amount: int
    currency: str
    description: str
    price_id: str
    product_id: str
    quantity: int
    period_starts_at: int
    period_ends_at: int
    subscription_id: str
    item_id: str
    proration: bool = False
    invoice_item_id: str | None = None
    unit_amount: Decimal | None = None
    is_usage: bool = False
    is_free: bool = False
    credits: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingLine:
    """A proration that waits for the subscription's next invoice."""

    id: str
    customer_id: str
    created: int
    line: InvoiceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A bill. `amount_due` is what is left to collect after the customer's balance.

    `arrives_at`, `arrives_by`: a payment is on its way, until when, by which payment method.
    """

    id: str
    customer_id: str
    subscription_id: str
    created: int
    currency: str
    billing_reason: str
    lines: tuple[InvoiceLine, ...]
    period_starts_at: int
    period_ends_at: int
    metadata: Labels = field(default_factory=dict)
    subscription_metadata: Labels = field(default_factory=dict)
    number: str | None = None
    status: str = "draft"
    starting_balance: int = 0
    ending_balance: int | None = None
    amount_due: int = 0
    amount_paid: int = 0
    attempt_count: int = 0
    auto_advance: bool = True
    finalizes_at: int | None = None
    next_attempt_at: int | None = None
    arrives_at: int | None = None
    arrives_by: str | None = None
    action_by: str | None = None
    """The payment method whose bank waits for the customer to confirm the payment."""
    finalization_error: str | None = None
    """Stripe's code for why it could not be finalized when that was tried last."""
    days_until_due: int | None = None
    """None: it is collected by itself."""
    due_at: int | None = None
    is_overdue: bool = False
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    uncollectible_at: int | None = None
    preview: bool = False
    discounts: tuple[Discount, ...] = ()
    taxed: bool = False
    words: InvoiceWords = field(default_factory=InvoiceWords)

    @property
    def subtotal(self) -> int:
        """The sum of the lines; negative when more was credited than charged."""
        return sum(line.amount for line in self.lines)

    def discountable(self, discount: Discount) -> int:
        """What a discount is taken off: what it covers but the prorations, which have it in their amounts."""
        return sum(line.amount for line in self.lines if not line.proration and discount.covers(line.product_id))

    @property
    def discount_parts(self) -> tuple[tuple[int, ...], ...]:
        """Of each discount, one after the other, what it takes off each line of what the ones before have left."""
        left = [0 if line.proration else max(line.amount, 0) for line in self.lines]
        found: list[tuple[int, ...]] = []
        for discount in self.discounts:
            covered = [
                rest if discount.covers(line.product_id) else 0 for line, rest in zip(self.lines, left, strict=True)
            ]
            parts = spread(discount.of(sum(covered)), covered)
            left = [rest - part for rest, part in zip(left, parts, strict=True)]
            found.append(parts)
        return tuple(found)

    @property
    def discount_amounts(self) -> tuple[int, ...]:
        """Of each discount, what it takes off the invoice."""
        return tuple(sum(parts) for parts in self.discount_parts)

    @property
    def net(self) -> int:
        """Before tax."""
        return self.subtotal - sum(self.discount_amounts)

    @property
    def tax(self) -> int:
        """What is added to it."""
        return tax_of(self.net) if self.taxed else 0

    @property
    def total(self) -> int:
        """What the customer owes for it, the balance aside; negative for a credit."""
        return self.net + self.tax


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


def is_thin_name(event_type: str) -> bool:
    """Whether a type is that of a thin event: the API's version is in front."""
    return event_type.startswith(("v1.", "v2."))


def thin_name(event_type: str) -> str:
    """The type that a thin event has."""
    return event_type if is_thin_name(event_type) else f"v1.{event_type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where events are sent, and the secret that signs them. `is_destination`: made by the API of those."""

    id: str
    created: int
    url: str
    secret: str
    enabled_events: tuple[str, ...]
    description: str | None = None
    api_version: str | None = None
    enabled: bool = True
    thin: bool = False
    is_destination: bool = False
    name: str = ""
    updated: int = 0
    metadata: Labels = field(default_factory=dict)

    def wants(self, event_type: str) -> bool:
        """Whether this endpoint is enabled for that type of event: it gets all of them as thin events, or none."""
        name = thin_name(event_type) if self.thin else event_type
        is_fit = self.thin or not is_thin_name(event_type)
        return self.enabled and is_fit and not {"*", name}.isdisjoint(self.enabled_events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change as it was seen when it happened. `endpoint_ids` is who was to be told.

    `thin_data`: what is fetched from /v2/core/events besides, of one that has no snapshot.
    """

    id: str
    type: str
    created: int
    data_object: Json
    previous: Json | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    endpoint_ids: tuple[str, ...] = ()
    thin_data: Json | None = None

    @property
    def is_thin_only(self) -> bool:
        """Whether there is no snapshot of it."""
        return is_thin_name(self.type)

    @property
    def thin_type(self) -> str:
        """The type of the thin event."""
        return thin_name(self.type)

    @property
    def thin_id(self) -> str:
        """The id of the thin event: it is another than the snapshot's, which has its own."""
        return self.id if self.is_thin_only else self.id.replace("evt_", "evt_thin_", 1)
