"""Putting records in their place, and telling of it: each change makes the event that Stripe makes."""

from __future__ import annotations

from typing import Any

from gateway.sandbox.engine.agenda import note_checkout, note_invoice, note_subscription
from gateway.sandbox.engine.entitled import entitled
from gateway.sandbox.event_records import Event, WebhookEndpoint
from gateway.sandbox.invoice_records import Invoice, PendingLine
from gateway.sandbox.records import (
    CheckoutSession,
    Customer,
    Feature,
    Json,
    PaymentMethod,
    Price,
    Product,
    Subscription,
)
from gateway.sandbox.shapes.catalog import price_shape, product_shape
from gateway.sandbox.shapes.customers import customer_shape, payment_method_shape
from gateway.sandbox.shapes.features import summary_shape
from gateway.sandbox.shapes.invoices import invoice_shape
from gateway.sandbox.shapes.sessions import checkout_shape
from gateway.sandbox.shapes.subscriptions import subscription_shape
from gateway.sandbox.world import World

_ABSENT: Any = object()


def emit(
    world: World, event_type: str, data_object: Json, previous: Json | None = None, *, thin_data: Json | None = None
) -> None:
    """Record that something happened, at the world's present instant; `thin_data`: for event destinations only."""
    endpoints = tuple(one.id for one in world.tables.endpoints.values() if one.wants(event_type))
    _happen(world, event_type, data_object, endpoints, previous=previous, thin_data=thin_data)


def ping(world: World, destination: WebhookEndpoint) -> Event:
    """Have an event sent to one event destination only, to see whether it arrives."""
    about = {"id": destination.id, "object": "v2.core.event_destination"}
    return _happen(world, "v2.core.event_destination.ping", about, (destination.id,))


def _happen(
    world: World,
    event_type: str,
    data_object: Json,
    endpoint_ids: tuple[str, ...],
    *,
    previous: Json | None = None,
    thin_data: Json | None = None,
) -> Event:
    event = Event(
        id=world.new_id("evt"),
        type=event_type,
        created=world.now,
        data_object=data_object,
        previous=previous,
        request_id=world.cause.request_id if world.cause else None,
        idempotency_key=world.cause.idempotency_key if world.cause else None,
        endpoint_ids=endpoint_ids,
        thin_data=thin_data,
    )
    world.tables.events[event.id] = event
    world.fresh_events.append(event)
    return event


def difference(before: Json, after: Json) -> Json:
    """`previous_attributes`: what the changed fields were. Objects are compared within, lists as a whole."""
    changed: Json = {}
    for name in before.keys() | after.keys():
        old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changed[name] = difference(old, new)
        else:
            changed[name] = None if old is _ABSENT else old
    return changed


def _emit_update(world: World, event_type: str, before: Json, after: Json) -> None:
    previous = difference(before, after)
    if previous:
        emit(world, event_type, after, previous)


def add_product(world: World, product: Product) -> None:
    """product.created."""
    world.tables.products[product.id] = product
    emit(world, "product.created", product_shape(product))


def change_product(world: World, product: Product) -> None:
    """product.updated."""
    before = product_shape(world.tables.products[product.id])
    world.tables.products[product.id] = product
    _emit_update(world, "product.updated", before, product_shape(product))


def add_price(world: World, price: Price) -> None:
    """price.created."""
    world.tables.prices[price.id] = price
    emit(world, "price.created", price_shape(price))


def change_price(world: World, price: Price) -> None:
    """price.updated."""
    before = price_shape(world.tables.prices[price.id])
    world.tables.prices[price.id] = price
    _emit_update(world, "price.updated", before, price_shape(price))


def delete_price(world: World, price_id: str) -> None:
    """price.deleted. Whoever asks for it makes sure that nothing has it."""
    gone = world.tables.prices.pop(price_id)
    emit(world, "price.deleted", price_shape(gone))


def shape_of_customer(world: World, customer: Customer) -> Json:
    """The customer as Stripe would show it now; delinquent while its latest invoice is overdue."""
    latest = [one.latest_invoice_id for one in world.subscriptions_of(customer.id) if one.latest_invoice_id]
    invoices = [world.tables.invoices[invoice_id] for invoice_id in latest]
    owing = any(one.status == "open" and one.attempt_count > 0 for one in invoices)
    return customer_shape(customer, delinquent=owing)


def add_customer(world: World, customer: Customer) -> None:
    """customer.created."""
    world.tables.customers[customer.id] = customer
    emit(world, "customer.created", shape_of_customer(world, customer))


def change_customer(world: World, customer: Customer) -> None:
    """customer.updated."""
    before = shape_of_customer(world, world.tables.customers[customer.id])
    world.tables.customers[customer.id] = customer
    _emit_update(world, "customer.updated", before, shape_of_customer(world, customer))


def put_payment_method(world: World, method: PaymentMethod) -> None:
    """payment_method.attached, .detached or .updated; creating one makes no event."""
    known = world.tables.payment_methods.get(method.id)
    world.tables.payment_methods[method.id] = method
    shape = payment_method_shape(method)
    was_attached_to = known.customer_id if known else None
    if was_attached_to != method.customer_id:
        attached = method.customer_id is not None
        emit(world, "payment_method.attached" if attached else "payment_method.detached", shape)
    elif known is not None:
        _emit_update(world, "payment_method.updated", payment_method_shape(known), shape)


def tell_entitlements(world: World, customer_id: str, before: list[Feature]) -> None:
    """entitlements.active_entitlement_summary.updated, unless the customer is entitled to what it was before."""
    after = entitled(world, customer_id)
    if after != before:
        emit(world, "entitlements.active_entitlement_summary.updated", summary_shape(customer_id, after))


def add_subscription(world: World, subscription: Subscription) -> None:
    """customer.subscription.created."""
    had = entitled(world, subscription.customer_id)
    world.tables.subscriptions[subscription.id] = subscription
    note_subscription(world, subscription)
    emit(world, "customer.subscription.created", subscription_shape(world, subscription))
    tell_entitlements(world, subscription.customer_id, had)


def change_subscription(world: World, subscription: Subscription) -> None:
    """customer.subscription.updated, unless nothing that Stripe shows has changed."""
    before = subscription_shape(world, world.tables.subscriptions[subscription.id])
    had = entitled(world, subscription.customer_id)
    world.tables.subscriptions[subscription.id] = subscription
    note_subscription(world, subscription)
    _emit_update(world, "customer.subscription.updated", before, subscription_shape(world, subscription))
    tell_entitlements(world, subscription.customer_id, had)


def end_subscription(world: World, subscription: Subscription) -> None:
    """customer.subscription.deleted."""
    had = entitled(world, subscription.customer_id)
    world.tables.subscriptions[subscription.id] = subscription
    emit(world, "customer.subscription.deleted", subscription_shape(world, subscription))
    tell_entitlements(world, subscription.customer_id, had)


def add_invoice(world: World, invoice: Invoice) -> None:
    """invoice.created."""
    world.tables.invoices[invoice.id] = invoice
    note_invoice(world, invoice)
    emit(world, "invoice.created", invoice_shape(world, invoice))


def change_invoice(world: World, invoice: Invoice, *events: str) -> None:
    """invoice.updated, then each of `events`."""
    before = invoice_shape(world, world.tables.invoices[invoice.id])
    world.tables.invoices[invoice.id] = invoice
    note_invoice(world, invoice)
    after = invoice_shape(world, invoice)
    _emit_update(world, "invoice.updated", before, after)
    for event_type in events:
        emit(world, event_type, after)


def add_pending_line(world: World, pending: PendingLine) -> None:
    """A proration that waits; Stripe's invoiceitem.created is not sent, nothing reads it."""
    world.tables.pending_lines[pending.id] = pending


def put_checkout(world: World, session: CheckoutSession, event_type: str | None = None) -> None:
    """A new or changed session; only its end makes an event."""
    world.tables.checkouts[session.id] = session
    note_checkout(world, session)
    if event_type is not None:
        emit(world, event_type, checkout_shape(world, session))
