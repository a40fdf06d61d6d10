"""/v1/coupons and /v1/promotion_codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.coupons import Coupon, PromotionCode
from gateway.sandbox.engine.discounts import coupon_of
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import emit
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.coupons import coupon_shape, promotion_code_shape
from gateway.sandbox.shapes.events import deleted_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Exact, Flag, Labels, Shape, Text, Texts, Whole, merge_labels
from gateway.sandbox.wire.problems import invalid, missing
from gateway.sandbox.world import World, find

_WHOLE = 100
_DURATIONS = ("forever", "once", "repeating")


def _create(call: Call) -> Json:
    world, params = call.world, call.params
    percent, amount = params.get("percent_off"), params.get("amount_off")
    if (percent is None) == (amount is None):
        raise Refused("Must provide percent_off or amount_off, and not both.")
    if percent is not None and not 0 < percent <= _WHOLE:
        raise invalid("Invalid percent_off: must be greater than 0 and at most 100", "percent_off")
    if amount is not None and "currency" not in params:
        raise missing("currency")
    duration = params.get("duration", "once")
    if (duration == "repeating") != ("duration_in_months" in params):
        raise Refused(
            "`duration_in_months` goes with `duration` repeating, and with no other.", param="duration_in_months"
        )
    coupon_id = params.get("id") or world.new_id("coupon")
    if coupon_id in world.tables.coupons:
        raise Refused("Coupon already exists.", param="id", code="resource_already_exists")
    coupon = Coupon(
        id=coupon_id,
        created=world.now,
        duration=duration,
        duration_in_months=params.get("duration_in_months"),
        percent_off=percent,
        amount_off=amount,
        currency=params.get("currency") if amount is not None else None,
        name=params.get("name"),
        max_redemptions=params.get("max_redemptions"),
        redeem_by=params.get("redeem_by"),
        products=_products(world, params),
        metadata=merge_labels({}, params),
    )
    world.tables.coupons[coupon.id] = coupon
    emit(world, "coupon.created", coupon_shape(world, coupon))
    return coupon_shape(world, coupon)


def _products(world: World, params: Mapping[str, Any]) -> tuple[str, ...]:
    named = tuple(params.get("applies_to", {}).get("products", ()))
    for product_id in named:
        find(world.tables.products, "product", product_id)
    return named


def _retrieve(call: Call) -> Json:
    return coupon_shape(call.world, find(call.world.tables.coupons, "coupon", call.id))


def _list(call: Call) -> Json:
    world = call.world
    return page(list(world.tables.coupons.values()), call.params, "/v1/coupons", lambda one: coupon_shape(world, one))


def _delete(call: Call) -> Json:
    """What it gave stays; nobody can redeem it any more."""
    coupon = find(call.world.tables.coupons, "coupon", call.id)
    emit(call.world, "coupon.deleted", coupon_shape(call.world, coupon))
    del call.world.tables.coupons[coupon.id]
    return deleted_shape("coupon", coupon.id)


def _create_code(call: Call) -> Json:
    world, params = call.world, call.params
    promotion = params["promotion"]
    if "coupon" not in promotion:
        raise missing("promotion[coupon]")
    coupon = coupon_of(world, promotion["coupon"], "promotion[coupon]")
    code_id = world.new_id("promo")
    code = params.get("code") or code_id.removeprefix("promo_").upper()
    rivals = [one for one in world.tables.promotion_codes.values() if one.active]
    if any(one.code.casefold() == code.casefold() for one in rivals):
        raise Refused(f"An active promotion code with `code: {code}` already exists.", param="code")
    if "customer" in params:
        world.customer(params["customer"])
    made = PromotionCode(
        id=code_id,
        code=code,
        coupon_id=coupon.id,
        created=world.now,
        active=params.get("active", True),
        customer_id=params.get("customer"),
        expires_at=params.get("expires_at"),
        max_redemptions=params.get("max_redemptions"),
        metadata=merge_labels({}, params),
    )
    world.tables.promotion_codes[made.id] = made
    emit(world, "promotion_code.created", promotion_code_shape(made))
    return promotion_code_shape(made)


def _retrieve_code(call: Call) -> Json:
    return promotion_code_shape(find(call.world.tables.promotion_codes, "promotion_code", call.id))


def _update_code(call: Call) -> Json:
    world, params = call.world, call.params
    code = find(world.tables.promotion_codes, "promotion_code", call.id)
    changed = replace(code, active=params.get("active", code.active), metadata=merge_labels(code.metadata, params))
    world.tables.promotion_codes[code.id] = changed
    emit(world, "promotion_code.updated", promotion_code_shape(changed))
    return promotion_code_shape(changed)


def _list_codes(call: Call) -> Json:
    params, whose = call.params, call.whose
    found = [
        one
        for one in call.world.tables.promotion_codes.values()
        if one.active == params.get("active", one.active)
        and one.code.casefold() == params.get("code", one.code).casefold()
        and one.coupon_id == params.get("coupon", one.coupon_id)
        and whose in {None, one.customer_id}
    ]
    return page(found, params, "/v1/promotion_codes", promotion_code_shape)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/coupons",
        act=_create,
        spec={
            "id": Text(),
            "amount_off": Whole(least=1),
            "applies_to": Shape(fields={"products": Texts()}),
            "percent_off": Exact(),
            "currency": Text(),
            "duration": Text(choices=_DURATIONS),
            "duration_in_months": Whole(least=1),
            "max_redemptions": Whole(least=1),
            "name": Text(),
            "redeem_by": Whole(),
            "metadata": Labels(),
        },
    ),
    Endpoint(method="GET", path="/v1/coupons", act=_list, spec={**CREATED, **PAGE}),
    Endpoint(method="GET", path="/v1/coupons/{id}", act=_retrieve),
    Endpoint(method="DELETE", path="/v1/coupons/{id}", act=_delete),
    Endpoint(
        method="POST",
        path="/v1/promotion_codes",
        act=_create_code,
        spec={
            "promotion": Shape(
                fields={"type": Text(required=True, choices=("coupon",)), "coupon": Text()}, required=True
            ),
            "active": Flag(),
            "code": Text(),
            "customer": Text(),
            "expires_at": Whole(),
            "max_redemptions": Whole(least=1),
            "metadata": Labels(),
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/promotion_codes",
        act=_list_codes,
        spec={"active": Flag(), "code": Text(), "coupon": Text(), "customer": Text(), **CREATED, **PAGE},
    ),
    Endpoint(method="GET", path="/v1/promotion_codes/{id}", act=_retrieve_code),
    Endpoint(
        method="POST",
        path="/v1/promotion_codes/{id}",
        act=_update_code,
        spec={"active": Flag(), "metadata": Labels()},
    ),
)
