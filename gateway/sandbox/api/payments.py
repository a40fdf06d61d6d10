"""/v1/invoice_payments and /v1/payment_intents: how invoices are paid, to be read."""

from __future__ import annotations

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.payments import (
    has_payment,
    invoice_of_intent,
    invoice_payment_shape,
    invoice_payment_status,
    payment_intent_shape,
)
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Text


def _list(call: Call) -> Json:
    params = call.params
    found = [
        one
        for one in call.world.tables.invoices.values()
        if has_payment(one)
        and one.id == params.get("invoice", one.id)
        and invoice_payment_status(one) == params.get("status", invoice_payment_status(one))
    ]
    return page(found, params, "/v1/invoice_payments", invoice_payment_shape)


def _retrieve_intent(call: Call) -> Json:
    return payment_intent_shape(call.world, invoice_of_intent(call.world, call.id))


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/invoice_payments",
        act=_list,
        spec={"invoice": Text(), "status": Text(choices=("open", "paid", "canceled")), **CREATED, **PAGE},
    ),
    Endpoint(method="GET", path="/v1/payment_intents/{id}", act=_retrieve_intent),
)
