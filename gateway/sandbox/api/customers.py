"""/v1/customers."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.engine.methods import attach
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import add_customer, change_customer, emit, shape_of_customer
from gateway.sandbox.engine.subscriptions import cancel
from gateway.sandbox.records import Customer, Json
from gateway.sandbox.shapes.events import deleted_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Labels, Shape, Spec, Text, Whole, merge_labels
from gateway.sandbox.world import NoSuchRecord, World

_FIELDS: Spec = {
    "email": Text(clearable=True),
    "name": Text(clearable=True),
    "phone": Text(clearable=True),
    "description": Text(clearable=True),
    "balance": Whole(least=-(10**12)),
    "invoice_settings": Shape(fields={"default_payment_method": Text(clearable=True)}),
    "metadata": Labels(),
}


def _create(call: Call) -> Json:
    world, params = call.world, call.params
    customer = Customer(
        id=world.new_id("cus"),
        created=world.now,
        email=params.get("email"),
        name=params.get("name"),
        phone=params.get("phone"),
        description=params.get("description"),
        balance=params.get("balance", 0),
        metadata=merge_labels({}, params),
    )
    add_customer(world, customer)
    settings = params.get("invoice_settings", {})
    method_id = params.get("payment_method") or settings.get("default_payment_method")
    if method_id is not None:
        method = attach(world, method_id, customer.id)
        if "default_payment_method" in settings:
            change_customer(world, replace(customer, default_payment_method_id=method.id))
    return _shown(world, customer.id)


def _shown(world: World, customer_id: str) -> Json:
    return shape_of_customer(world, world.tables.customers[customer_id])


def _retrieve(call: Call) -> Json:
    if call.id not in call.world.tables.customers:
        raise NoSuchRecord("customer", call.id)
    return _shown(call.world, call.id)


def _update(call: Call) -> Json:
    world, params = call.world, call.params
    customer = world.customer(call.id)
    default = customer.default_payment_method_id
    if "default_payment_method" in params.get("invoice_settings", {}):
        default = params["invoice_settings"]["default_payment_method"]
        _must_be_attached(world, customer, default)
    changed = replace(
        customer,
        email=params.get("email", customer.email),
        name=params.get("name", customer.name),
        phone=params.get("phone", customer.phone),
        description=params.get("description", customer.description),
        balance=params.get("balance", customer.balance),
        default_payment_method_id=default,
        metadata=merge_labels(customer.metadata, params),
    )
    change_customer(world, changed)
    return _shown(world, customer.id)


def _must_be_attached(world: World, customer: Customer, method_id: str | None) -> None:
    method = world.tables.payment_methods.get(method_id or "")
    if method_id is not None and (method is None or method.customer_id != customer.id):
        message = (
            f"The customer does not have a payment method with the ID {method_id}. "
            "The payment method must be attached to the customer."
        )
        raise Refused(message, code="resource_missing", param="invoice_settings[default_payment_method]")


def _delete(call: Call) -> Json:
    world = call.world
    customer = world.customer(call.id)
    for subscription in world.subscriptions_of(customer.id):
        if subscription.ended_at is None:
            cancel(world, subscription.id)
    last_seen = shape_of_customer(world, customer)
    world.tables.customers[customer.id] = replace(customer, deleted=True)
    emit(world, "customer.deleted", last_seen)
    return deleted_shape("customer", customer.id)


def _list(call: Call) -> Json:
    customers = [
        one
        for one in call.world.tables.customers.values()
        if not one.deleted and one.email == call.params.get("email", one.email)
    ]
    return page(customers, call.params, "/v1/customers", lambda one: shape_of_customer(call.world, one))


ENDPOINTS = (
    Endpoint(method="POST", path="/v1/customers", act=_create, spec={"payment_method": Text(), **_FIELDS}),
    Endpoint(method="GET", path="/v1/customers", act=_list, spec={"email": Text(), **CREATED, **PAGE}),
    Endpoint(method="GET", path="/v1/customers/{id}", act=_retrieve),
    Endpoint(method="POST", path="/v1/customers/{id}", act=_update, spec=_FIELDS),
    Endpoint(method="DELETE", path="/v1/customers/{id}", act=_delete),
)
