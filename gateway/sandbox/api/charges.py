"""/v1/charges, /v1/refunds and /v1/disputes."""

from __future__ import annotations

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.engine.charges import CLOSED, answer_dispute, charge_of, dispute_of, move_dispute, refund
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.charges import charge_shape, dispute_shape, refund_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Flag, Shape, Text, Whole
from gateway.sandbox.world import find

_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def _retrieve_charge(call: Call) -> Json:
    return charge_shape(charge_of(call.world, call.id))


def _list_charges(call: Call) -> Json:
    whose = call.whose
    found = [one for one in call.world.tables.charges.values() if whose in {None, one.customer_id}]
    return page(found, call.params, "/v1/charges", charge_shape)


def _create_refund(call: Call) -> Json:
    params = call.params
    return refund_shape(refund(call.world, params["charge"], amount=params.get("amount"), reason=params.get("reason")))


def _retrieve_refund(call: Call) -> Json:
    return refund_shape(find(call.world.tables.refunds, "refund", call.id))


def _list_refunds(call: Call) -> Json:
    wanted = call.params.get("charge")
    found = [one for one in call.world.tables.refunds.values() if wanted in {None, one.charge_id}]
    return page(found, call.params, "/v1/refunds", refund_shape)


def _retrieve_dispute(call: Call) -> Json:
    return dispute_shape(dispute_of(call.world, call.id))


def _list_disputes(call: Call) -> Json:
    wanted = call.params.get("charge")
    found = [one for one in call.world.tables.disputes.values() if wanted in {None, one.charge_id}]
    return page(found, call.params, "/v1/disputes", dispute_shape)


def _close_dispute(call: Call) -> Json:
    """The seller gives in."""
    if dispute_of(call.world, call.id).status in CLOSED:
        raise Refused("This dispute is already closed.")
    return dispute_shape(move_dispute(call.world, call.id, "lost"))


def _update_dispute(call: Call) -> Json:
    text, submits = call.params.get("evidence", {}).get("uncategorized_text"), call.params.get("submit", True)
    return dispute_shape(answer_dispute(call.world, call.id, text=text, submits=submits))


ENDPOINTS = (
    Endpoint(method="GET", path="/v1/charges", act=_list_charges, spec={"customer": Text(), **CREATED, **PAGE}),
    Endpoint(method="GET", path="/v1/charges/{id}", act=_retrieve_charge),
    Endpoint(
        method="POST",
        path="/v1/refunds",
        act=_create_refund,
        spec={"charge": Text(required=True), "amount": Whole(least=1), "reason": Text(choices=_REASONS)},
    ),
    Endpoint(method="GET", path="/v1/refunds", act=_list_refunds, spec={"charge": Text(), **CREATED, **PAGE}),
    Endpoint(method="GET", path="/v1/refunds/{id}", act=_retrieve_refund),
    Endpoint(method="GET", path="/v1/disputes", act=_list_disputes, spec={"charge": Text(), **CREATED, **PAGE}),
    Endpoint(method="GET", path="/v1/disputes/{id}", act=_retrieve_dispute),
    Endpoint(
        method="POST",
        path="/v1/disputes/{id}",
        act=_update_dispute,
        spec={"evidence": Shape(fields={"uncategorized_text": Text()}), "submit": Flag()},
    ),
    Endpoint(method="POST", path="/v1/disputes/{id}/close", act=_close_dispute),
)
