"""From the SDK's objects to plain values. Nothing of the SDK leaves this package.

Fields are read as attributes, so the types of the pinned SDK are checked against what is
read here. A field that is missing raises AttributeError, which `failures.stripe_call` turns
into a refusal: an unreadable answer is never taken for an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import stripe

from gateway.billing.first_payments import AT_BEGINNING
from gateway.billing.webhook import (
    METADATA_CUSTOMER,
    METADATA_GIVES_UP,
    METADATA_PLAN,
    METADATA_PLANNED,
    METADATA_PLANNED_AS,
    METADATA_TIER,
)
from gateway.core.billing_facts import DisputeFacts, ItemFacts, PendingFacts, ScheduleFacts, SubscriptionFacts
from gateway.core.money import money_text
from gateway.core.tariff import Tariff

_CLOSED_DISPUTES = frozenset({"won", "lost", "warning_closed", "prevented", "charge_refunded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFacts:
    """What a plan costs, for people to read. Never used to charge and never to find a plan."""

    price_id: str
    lookup_key: str | None
    amount: int | None
    """In the currency's smallest unit; None if the price has no single amount."""
    currency: str
    """Three lower-case letters."""
    interval: str | None
    """`day`, `week`, `month` or `year`; None if it is paid once."""
    interval_count: int
    product_name: str
    active: bool
    is_metered: bool = False
    """Whether it bills usage."""
    meter_id: str | None = None
    """Of the Billing Meter whose usage it bills."""
    product_id: str | None = None

    @property
    def amount_text(self) -> str | None:
        """`19.00 USD`, `2000 JPY`; None if there is no single amount."""
        return None if self.amount is None else money_text(self.amount, self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutFacts:
    """A checkout session as Stripe has it now."""

    session_id: str
    status: str | None
    """`open`, `complete` or `expired`."""
    payment_status: str
    """`paid`, `unpaid` (a delayed payment is on its way) or `no_payment_required`."""
    stripe_customer_id: str | None
    subscription_id: str | None
    client_reference_id: str | None
    customer_id: str | None
    """Ours, from the metadata that we set."""
    plan_id: str | None
    expires_at: int


def read_subscription(
    subscription: stripe.Subscription,
    items: list[stripe.SubscriptionItem],
    tariffs: Mapping[str, Tariff | None],
    schedule: ScheduleFacts | None = None,
    *,
    first_unpaid: stripe.Invoice | None = None,
    confirmation_url: str | None = None,
    taken_back: tuple[tuple[str, int], ...] = (),
) -> SubscriptionFacts:
    """Facts of one subscription with all of its items, and what is planned for it.

    Args:
        subscription: As it is.
        items: All of them.
        tariffs: Of those that are metered, by their ids.
        schedule: What is planned.
        first_unpaid: Its first invoice, if that is not paid: see `gateway.billing.first_payments`.
        confirmation_url: Where a payment is confirmed that waits for it: see `gateway.billing.confirmations`.
        taken_back: How what was paid for its period was lost again: see `gateway.billing.taken_back`.
    """
    return SubscriptionFacts(
        subscription_id=subscription.id,
        status=subscription.status,
        anchor_at=subscription.billing_cycle_anchor,
        started_at=subscription.start_date,
        items=tuple(_read_item(item, tariffs) for item in items),
        currency=subscription.currency,
        cancel_at=subscription.cancel_at,
        cancel_at_period_end=subscription.cancel_at_period_end,
        ended_at=subscription.ended_at,
        paused_collection=None if subscription.pause_collection is None else subscription.pause_collection.behavior,
        has_pending_update=subscription.pending_update is not None,
        pending=_pending(subscription, {item.id for item in items}),
        schedule=schedule,
        is_labelled=any(_label(subscription.metadata, name) for name in (METADATA_CUSTOMER, METADATA_PLAN)),
        is_invoiced=subscription.collection_method == "send_invoice",
        given_up=_gives_up(subscription.metadata, {item.id for item in items}),
        planned_before=_label(subscription.metadata, METADATA_PLANNED),
        planned_as=_label(subscription.metadata, METADATA_PLANNED_AS),
        payment_url=_payment_url(subscription, first_unpaid),
        confirmation_url=confirmation_url,
        first_payment_missing=first_unpaid is not None,
        ran_unpaid=first_unpaid is not None and first_unpaid.billing_reason != AT_BEGINNING,
        taken_back=taken_back,
    )


def read_price(price: stripe.Price) -> PriceFacts:
    """Facts of a price whose product was expanded."""
    recurring = price.recurring
    product = price.product
    return PriceFacts(
        price_id=price.id,
        lookup_key=price.lookup_key,
        amount=price.unit_amount,
        currency=price.currency,
        interval=None if recurring is None else recurring.interval,
        interval_count=1 if recurring is None else recurring.interval_count,
        product_name="" if isinstance(product, str) or "name" not in product else product.name,
        active=price.active,
        product_id=id_of(product),
        is_metered=recurring is not None and recurring.usage_type == "metered",
        meter_id=recurring.meter if recurring is not None and recurring.usage_type == "metered" else None,
    )


def read_tier(product: stripe.Product) -> str | None:
    """The tier that a product's metadata names."""
    return product.metadata.to_dict().get(METADATA_TIER) or None


def read_checkout(session: stripe.checkout.Session) -> CheckoutFacts:
    """Facts of a checkout session."""
    metadata = {} if session.metadata is None else session.metadata.to_dict()
    return CheckoutFacts(
        session_id=session.id,
        status=session.status,
        payment_status=session.payment_status,
        stripe_customer_id=id_of(session.customer),
        subscription_id=id_of(session.subscription),
        client_reference_id=session.client_reference_id,
        customer_id=metadata.get(METADATA_CUSTOMER),
        plan_id=metadata.get(METADATA_PLAN),
        expires_at=session.expires_at,
    )


def read_dispute(dispute: stripe.Dispute) -> DisputeFacts:
    """Facts of a dispute whose charge was expanded. A status that we do not know counts as open."""
    charge = dispute.charge
    return DisputeFacts(
        dispute_id=dispute.id,
        stripe_customer_id=None if isinstance(charge, str) else id_of(charge.customer),
        is_open=dispute.status not in _CLOSED_DISPUTES,
        created=dispute.created,
    )


def _payment_url(subscription: stripe.Subscription, first_unpaid: stripe.Invoice | None) -> str | None:
    """Of one that is void there is nothing left to pay; one that was written off can be paid all the same."""
    if first_unpaid is not None:
        return None if first_unpaid.status == "void" else first_unpaid.hosted_invoice_url
    owed = subscription.latest_invoice
    return owed.hosted_invoice_url if isinstance(owed, stripe.Invoice) and owed.status == "open" else None


def _pending(subscription: stripe.Subscription, there: set[str]) -> PendingFacts | None:
    update, invoice = subscription.pending_update, subscription.latest_invoice
    if update is None or not isinstance(invoice, stripe.Invoice):
        return None
    return PendingFacts(
        items=tuple((item.price.id, _quantity(item)) for item in update.subscription_items or ()),
        invoice_id=invoice.id,
        payment_url=invoice.hosted_invoice_url,
        gives_up=_gives_up(update.metadata, there),
    )


def _gives_up(metadata: stripe.StripeObject | None, there: set[str]) -> tuple[str, ...]:
    """Ids of items that are to go, of those that there are."""
    return tuple(item_id for item_id in _label(metadata, METADATA_GIVES_UP).split(",") if item_id in there)


def _label(metadata: stripe.StripeObject | None, name: str) -> str:
    return "" if metadata is None else str(metadata.to_dict().get(name) or "")


def read_phase_item(item: stripe.SubscriptionSchedule.Phase.Item, place: int, at: int) -> ItemFacts:
    """An item that there will be from `at` on, whose price was expanded; `place` is its place in the phase."""
    price = item.price
    if not isinstance(price, stripe.Price):
        raise TypeError("the price of a phase was not expanded")
    recurring = price.recurring
    return ItemFacts(
        item_id=f"phase-{place}",
        price_id=price.id,
        lookup_key=price.lookup_key,
        quantity=_quantity(item),
        product_id=id_of(price.product),
        period_starts_at=at,
        period_ends_at=at,
        interval=None if recurring is None else recurring.interval,
        interval_count=1 if recurring is None else recurring.interval_count,
        amount=price.unit_amount,
        currency=price.currency,
        is_metered=recurring is not None and recurring.usage_type == "metered",
    )


def _read_item(item: stripe.SubscriptionItem, tariffs: Mapping[str, Tariff | None]) -> ItemFacts:
    recurring = item.price.recurring
    return ItemFacts(
        item_id=item.id,
        price_id=item.price.id,
        lookup_key=item.price.lookup_key,
        quantity=_quantity(item),
        product_id=id_of(item.price.product),
        period_starts_at=item.current_period_start,
        period_ends_at=item.current_period_end,
        interval=None if recurring is None else recurring.interval,
        interval_count=1 if recurring is None else recurring.interval_count,
        amount=item.price.unit_amount,
        currency=item.price.currency,
        is_metered=item.id in tariffs,
        meter_id=None if recurring is None else recurring.meter,
        tariff=tariffs.get(item.id),
    )


def _quantity(item: stripe.SubscriptionItem | stripe.SubscriptionSchedule.Phase.Item) -> int:
    """Items that are billed by use have none."""
    quantity = item.quantity if "quantity" in item else None
    return 1 if quantity is None else quantity


def id_of(value: str | stripe.StripeObject | None) -> str | None:
    """The id of an object that may have been expanded."""
    if value is None or isinstance(value, str):
        return value
    return str(value["id"])
