"""/v1/customers."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.engine.leaving import delete_customer
from gateway.sandbox.engine.methods import attach
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import add_customer, change_customer, shape_of_customer
from gateway.sandbox.engine.test_clocks import check_place
from gateway.sandbox.records import Customer, Json
from gateway.sandbox.shapes.events import deleted_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Labels, Shape, Spec, Text, Whole, merge_labels
from gateway.sandbox.wire.searching import SEARCH, search
from gateway.sandbox.world import NoSuchRecord, World

_FIELDS: Spec = {
    "email": Text(),
    "name": Text(),
    "phone": Text(),
    "description": Text(),
    "balance": Whole(least=-(10**12)),
    "invoice_settings": Shape(fields={"default_payment_method": Text()}),
    "metadata": Labels(),
}

_CREATE: Spec = {"payment_method": Text(), "test_clock": Text(), **_FIELDS}
_LIST: Spec = {"email": Text(), "test_clock": Text(), **CREATED, **PAGE}


def _create(call: Call) -> Json:
    world, params = call.world, call.params
    if "test_clock" in params:
        check_place(world, params["test_clock"])
    customer = Customer(
        id=world.new_id("cus"),
        created=world.now,
        email=params.get("email"),
        name=params.get("name"),
        phone=params.get("phone"),
        description=params.get("description"),
        balance=params.get("balance", 0),
        metadata=merge_labels({}, params),
        test_clock_id=params.get("test_clock"),
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
    delete_customer(call.world, call.id)
    return deleted_shape("customer", call.id)


def _list(call: Call) -> Json:
    customers = [
        one
        for one in call.world.tables.customers.values()
        if not one.deleted
        and one.email == call.params.get("email", one.email)
        and one.test_clock_id == call.params.get("test_clock")
    ]
    return page(customers, call.params, "/v1/customers", lambda one: shape_of_customer(call.world, one))


def _search(call: Call) -> Json:
    if not call.world.rules.has_search:
        raise Refused("The search feature is temporarily unavailable in your region.")
    return search(
        (one for one in call.world.tables.customers.values() if not one.deleted),
        call.params,
        "/v1/customers/search",
        labels=lambda one: one.metadata,
        shape=lambda one: shape_of_customer(call.world, one),
    )


ENDPOINTS = (
    Endpoint(method="POST", path="/v1/customers", act=_create, spec=_CREATE),
    Endpoint(method="GET", path="/v1/customers", act=_list, spec=_LIST),
    Endpoint(method="GET", path="/v1/customers/search", act=_search, spec=SEARCH, is_search=True),
    Endpoint(method="GET", path="/v1/customers/{id}", act=_retrieve),
    Endpoint(method="POST", path="/v1/customers/{id}", act=_update, spec=_FIELDS),
    Endpoint(method="DELETE", path="/v1/customers/{id}", act=_delete),
)
