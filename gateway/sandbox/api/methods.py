"""/v1/payment_methods: cards only."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.cards import TEST_METHODS, read_number
from gateway.sandbox.engine.methods import attach, detach, new_method
from gateway.sandbox.engine.saving import put_payment_method
from gateway.sandbox.records import Json, PaymentMethod
from gateway.sandbox.shapes.customers import payment_method_shape
from gateway.sandbox.wire.paging import PAGE, page
from gateway.sandbox.wire.params import Labels, Shape, Spec, Text, Whole, merge_labels
from gateway.sandbox.world import NoSuchRecord, find

_CARD: Spec = {
    "number": Text(),
    "token": Text(),
    "exp_month": Whole(least=1, most=12),
    "exp_year": Whole(least=2000),
    "cvc": Text(),
}
_TOKENS = {"tok_visa": "pm_card_visa", "tok_chargeCustomerFail": "pm_card_chargeCustomerFail"}
_BILLING: Spec = {"email": Text(clearable=True), "name": Text(clearable=True)}
_KIND = Text(choices=("card",))


def _create(call: Call) -> Json:
    card, details = call.params["card"], call.params.get("billing_details", {})
    token = card.get("token", "")
    number = TEST_METHODS.get(_TOKENS.get(token, token), card.get("number", ""))
    method = new_method(
        call.world,
        read_number(number),
        exp_month=card.get("exp_month", 12),
        exp_year=card.get("exp_year", 2034),
        email=details.get("email"),
        name=details.get("name"),
    )
    labelled = replace(method, metadata=merge_labels({}, call.params))
    put_payment_method(call.world, labelled)
    return payment_method_shape(labelled)


def _retrieve(call: Call) -> Json:
    return payment_method_shape(find(call.world.tables.payment_methods, "PaymentMethod", call.id))


def _attach(call: Call) -> Json:
    return payment_method_shape(attach(call.world, call.id, call.params["customer"]))


def _detach(call: Call) -> Json:
    return payment_method_shape(detach(call.world, call.id))


def _list(call: Call) -> Json:
    customer = call.world.customer(call.names.get("id") or call.params["customer"])
    owned = [one for one in call.world.tables.payment_methods.values() if one.customer_id == customer.id]
    return page(owned, call.params, "/v1/payment_methods", payment_method_shape)


def _retrieve_owned(call: Call) -> Json:
    method: PaymentMethod = find(call.world.tables.payment_methods, "PaymentMethod", call.names["method"])
    if method.customer_id != call.id:
        raise NoSuchRecord("PaymentMethod", method.id)
    return payment_method_shape(method)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/payment_methods",
        act=_create,
        spec={
            "type": Text(required=True, choices=("card",)),
            "card": Shape(fields=_CARD, required=True),
            "billing_details": Shape(fields=_BILLING),
            "metadata": Labels(),
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/payment_methods",
        act=_list,
        spec={"customer": Text(required=True), "type": _KIND, **PAGE},
    ),
    Endpoint(method="GET", path="/v1/payment_methods/{id}", act=_retrieve),
    Endpoint(
        method="POST",
        path="/v1/payment_methods/{id}/attach",
        act=_attach,
        spec={"customer": Text(required=True)},
    ),
    Endpoint(method="POST", path="/v1/payment_methods/{id}/detach", act=_detach),
    Endpoint(method="GET", path="/v1/customers/{id}/payment_methods", act=_list, spec={"type": _KIND, **PAGE}),
    Endpoint(method="GET", path="/v1/customers/{id}/payment_methods/{method}", act=_retrieve_owned),
)
