"""/v1/invoices."""

from __future__ import annotations

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.api.subscriptions import ITEM, PRORATION, read_change
from gateway.sandbox.engine.invoices import (
    collect,
    fail_finalization,
    finalize,
    mark_uncollectible,
    pay_out_of_band,
    void,
)
from gateway.sandbox.engine.methods import method_of
from gateway.sandbox.engine.preview import preview_change, preview_start
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.invoices import FINALIZATION_WORDS, invoice_shape, lines_shape
from gateway.sandbox.shapes.lists import list_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Each, Flag, Shape, Text, Whole
from gateway.sandbox.wire.problems import StripeProblem
from gateway.sandbox.world import World

_STATUSES = ("draft", "open", "paid", "uncollectible", "void")


def _retrieve(call: Call) -> Json:
    return invoice_shape(call.world, call.world.invoice(call.id))


def _list(call: Call) -> Json:
    params, whose = call.params, call.whose
    found = [
        one
        for one in call.world.tables.invoices.values()
        if whose in {None, one.customer_id}
        and one.subscription_id == params.get("subscription", one.subscription_id)
        and one.status == params.get("status", one.status)
    ]
    return page(found, params, "/v1/invoices", lambda one: invoice_shape(call.world, one))


def _lines(call: Call) -> Json:
    invoice = call.world.invoice(call.id)
    data = lines_shape(call.world, invoice)
    return list_shape(data, f"/v1/invoices/{invoice.id}/lines")


def _pay(call: Call) -> Json:
    """Collect now. A refusal is an error, and still counts as an attempt."""
    world, params = call.world, call.params
    invoice = world.invoice(call.id)
    if invoice.status == "draft":
        invoice = _finalized(world, invoice)
    elif invoice.status not in {"open", "uncollectible"}:
        raise Refused(f"Invoice is already {invoice.status}", code="invoice_already_paid")
    method_id = None
    if "payment_method" in params:
        method_id = _own_method(world, invoice, params["payment_method"])
    if params.get("paid_out_of_band"):
        pay_out_of_band(world, invoice.id)
    refusal = collect(world, invoice.id, method_id=method_id)
    if refusal is not None:
        raise refusal
    return invoice_shape(world, world.invoice(invoice.id))


def _own_method(world: World, invoice: Invoice, method_id: str) -> str:
    method = method_of(world, method_id)
    if method.customer_id not in {None, invoice.customer_id}:
        message = "The payment method belongs to another customer."
        raise Refused(message, param="payment_method", code="resource_missing")
    return method.id


def _finalize(call: Call) -> Json:
    if call.world.invoice(call.id).status != "draft":
        raise Refused("This invoice is already finalized.", code="invoice_not_editable")
    return invoice_shape(call.world, _finalized(call.world, call.world.invoice(call.id)))


def _finalized(world: World, invoice: Invoice) -> Invoice:
    """An attempt that fails is noted on the invoice, and told."""
    code = world.rules.finalization_error
    if code:
        fail_finalization(world, invoice.id)
        raise Refused(FINALIZATION_WORDS[code], code=code)
    return finalize(world, invoice.id)


def _void(call: Call) -> Json:
    _must_be_open(call.world.invoice(call.id), "voided")
    return invoice_shape(call.world, void(call.world, call.id))


def _mark_uncollectible(call: Call) -> Json:
    _must_be_open(call.world.invoice(call.id), "marked uncollectible")
    return invoice_shape(call.world, mark_uncollectible(call.world, call.id))


def _must_be_open(invoice: Invoice, verb: str) -> None:
    if invoice.status != "open":
        raise Refused(f"This invoice cannot be {verb}: its status is {invoice.status}.")


def _preview(call: Call) -> Json:
    world, params = call.world, call.params
    details = params.get("subscription_details", {})
    change = read_change(details)
    if "subscription" in params:
        subscription = world.subscription(params["subscription"])
        if subscription.customer_id != params.get("customer", subscription.customer_id):
            raise Refused("The subscription belongs to another customer.", param="subscription")
        if subscription.ended_at is not None or details.get("cancel_at_period_end"):
            raise Refused("No upcoming invoices for customer", code="invoice_upcoming_none")
        return invoice_shape(world, preview_change(world, subscription, change))
    if "customer" not in params:
        raise StripeProblem("You must pass one of `customer`, `subscription` or `schedule`.", code="parameter_missing")
    if not change.items:
        raise Refused("No upcoming invoices for customer", code="invoice_upcoming_none")
    return invoice_shape(world, preview_start(world, world.customer(params["customer"]), change))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/invoices/create_preview",
        act=_preview,
        spec={
            "customer": Text(),
            "subscription": Text(),
            "subscription_details": Shape(
                fields={
                    "items": Each(fields=ITEM),
                    "proration_behavior": PRORATION,
                    "proration_date": Whole(),
                    "trial_end": Text(choices=("now",)),
                    "cancel_at_period_end": Flag(),
                }
            ),
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/invoices",
        act=_list,
        spec={
            "customer": Text(),
            "subscription": Text(),
            "status": Text(choices=_STATUSES),
            **CREATED,
            **PAGE,
        },
    ),
    Endpoint(method="GET", path="/v1/invoices/{id}", act=_retrieve),
    Endpoint(method="GET", path="/v1/invoices/{id}/lines", act=_lines, spec=PAGE),
    Endpoint(
        method="POST",
        path="/v1/invoices/{id}/pay",
        act=_pay,
        spec={"payment_method": Text(), "off_session": Flag(), "paid_out_of_band": Flag()},
        keeps_failures=True,
    ),
    Endpoint(method="POST", path="/v1/invoices/{id}/finalize", act=_finalize, keeps_failures=True),
    Endpoint(method="POST", path="/v1/invoices/{id}/void", act=_void),
    Endpoint(method="POST", path="/v1/invoices/{id}/mark_uncollectible", act=_mark_uncollectible),
)
