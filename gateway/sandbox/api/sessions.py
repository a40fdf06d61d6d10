"""/v1/checkout/sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.sandbox.api.discount_params import DISCOUNTS, read_discount
from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.api.trial_settings import TRIAL_SETTINGS, trial_without_method
from gateway.sandbox.engine.checkout import checkout_of, expire
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import put_checkout
from gateway.sandbox.engine.subscriptions import expect_currency, recurring_price
from gateway.sandbox.records import CheckoutLine, CheckoutSession, Json
from gateway.sandbox.shapes.sessions import checkout_lines_shape, checkout_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Each, Flag, Labels, Shape, Spec, Text, Whole, merge_labels
from gateway.sandbox.wire.problems import check_url, invalid, missing
from gateway.sandbox.world import World

_SHORTEST_S, _LONGEST_S = 30 * 60, 24 * 3600
_MOST_OF_ONE, _USUAL_MOST = 999_999, 99
_CHECKOUT: Spec = {
    "mode": Text(required=True, choices=("subscription",)),
    "success_url": Text(required=True),
    "cancel_url": Text(),
    "customer": Text(),
    "customer_email": Text(),
    "client_reference_id": Text(),
    "line_items": Each(
        fields={
            "price": Text(required=True),
            "quantity": Whole(least=1),
            "adjustable_quantity": Shape(
                fields={
                    "enabled": Flag(required=True),
                    "minimum": Whole(most=_MOST_OF_ONE),
                    "maximum": Whole(least=1, most=_MOST_OF_ONE),
                }
            ),
        },
        required=True,
    ),
    "metadata": Labels(),
    "subscription_data": Shape(
        fields={
            "description": Text(),
            "metadata": Labels(),
            "trial_period_days": Whole(least=1, most=730),
            "trial_settings": TRIAL_SETTINGS,
        }
    ),
    "expires_at": Whole(),
    "allow_promotion_codes": Flag(),
    "locale": Text(),
    "payment_method_collection": Text(choices=("always", "if_required")),
    "billing_address_collection": Text(choices=("auto", "required")),
    "automatic_tax": Shape(fields={"enabled": Flag(required=True)}),
    "tax_id_collection": Shape(fields={"enabled": Flag(required=True)}),
    "discounts": DISCOUNTS,
    "customer_update": Shape(
        fields={
            "address": Text(choices=("auto", "never")),
            "name": Text(choices=("auto", "never")),
            "shipping": Text(choices=("auto", "never")),
        }
    ),
    "ui_mode": Text(choices=("hosted_page",)),
}


def _check_currencies(currencies: list[str]) -> None:
    """All prices of a session have the same default currency (https://docs.stripe.com/products-prices/manage-prices)."""
    for other in currencies:
        expect_currency(other, currencies[0], "line_items")


def _create_checkout(call: Call) -> Json:
    world, params = call.world, call.params
    check_url(params["success_url"], "success_url")
    if "customer" in params:
        if "customer_email" in params:
            raise Refused("You may only specify one of these parameters: customer, customer_email.")
        world.customer(params["customer"])
    elif "customer_update" in params:
        raise Refused("`customer_update` can only be used with `customer`.", param="customer_update")
    _check_tax(world, params)
    if params.get("discounts") and "allow_promotion_codes" in params:
        raise Refused("You may only specify one of these parameters: allow_promotion_codes, discounts.")
    coupon_id, code_id = read_discount(world, params, "You may apply at most one discount to a Checkout Session.")
    lines = tuple(_line(world, at, item) for at, item in enumerate(params["line_items"]))
    if not lines:
        raise missing("line_items")
    _check_currencies([world.price(line.price_id).currency for line in lines])
    subscription = params.get("subscription_data", {})
    session = CheckoutSession(
        id=world.new_unordered_id("cs_test"),
        created=world.now,
        expires_at=_expiry(world, params),
        currency=world.price(lines[0].price_id).currency,
        lines=lines,
        success_url=params["success_url"],
        cancel_url=params.get("cancel_url"),
        customer_id=params.get("customer"),
        customer_email=params.get("customer_email"),
        client_reference_id=params.get("client_reference_id"),
        allow_promotion_codes=params.get("allow_promotion_codes"),
        locale=params.get("locale"),
        trial_days=subscription.get("trial_period_days", 0),
        trial_without_method=trial_without_method(subscription),
        asks_for_method=params.get("payment_method_collection", "always") == "always",
        coupon_id=coupon_id,
        promotion_code_id=code_id,
        automatic_tax=_is_enabled(params, "automatic_tax"),
        collects_tax_ids=_is_enabled(params, "tax_id_collection"),
        asks_for_address=params.get("billing_address_collection") == "required",
        saves_to_customer=tuple(part for part, word in params.get("customer_update", {}).items() if word == "auto"),
        subscription_description=subscription.get("description"),
        subscription_metadata=merge_labels({}, subscription),
        metadata=merge_labels({}, params),
    )
    put_checkout(world, session)
    return checkout_shape(world, session)


def _line(world: World, at: int, item: dict[str, Any]) -> CheckoutLine:
    price = recurring_price(world, item["price"], f"line_items[{at}][price]")
    if price.meter_id is not None and "quantity" in item:
        where = f"line_items[{at}]"
        message = f"Quantity should not be specified where usage_type is `metered`. Remove quantity from `{where}`"
        raise Refused(message, param=f"{where}[quantity]")
    quantity = 0 if price.meter_id is not None else item.get("quantity", 1)
    adjusted = item.get("adjustable_quantity", {})
    limits = (adjusted.get("minimum", 0), adjusted.get("maximum", _USUAL_MOST)) if adjusted.get("enabled") else None
    if limits is not None and not limits[0] <= quantity <= limits[1]:
        message = f"The quantity must be between {limits[0]} and {limits[1]}, the limits of `adjustable_quantity`."
        raise invalid(message, f"line_items[{at}][quantity]")
    return CheckoutLine(id=world.new_id("li"), price_id=price.id, quantity=quantity, range=limits)


def _is_enabled(params: Mapping[str, Any], name: str) -> bool:
    return bool(params.get(name, {}).get("enabled"))


def _check_tax(world: World, params: Mapping[str, Any]) -> None:
    """Of a customer that is there already, the page must be allowed to write down what tax depends on."""
    if "customer" not in params:
        return
    updates = params.get("customer_update", {})
    has_address = world.customer(params["customer"]).address is not None
    if _is_enabled(params, "automatic_tax") and not has_address and updates.get("address") != "auto":
        message = (
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to "
            "the Customer or set either `customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto' "
            "to save the address entered in Checkout to the Customer."
        )
        raise Refused(message, code="customer_tax_location_invalid")
    if _is_enabled(params, "tax_id_collection") and updates.get("name") != "auto":
        message = (
            "Tax ID collection requires updating business name on the customer. To enable tax ID collection for an "
            "existing customer, please set `customer_update[name]` to `auto`."
        )
        raise Refused(message)


def _expiry(world: World, params: Any) -> int:
    at: int = params.get("expires_at", world.now + world.rules.checkout_s)
    if "expires_at" in params and not _SHORTEST_S <= at - world.now <= _LONGEST_S:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now."
        raise invalid(message, "expires_at")
    return at


def _retrieve_checkout(call: Call) -> Json:
    return checkout_shape(call.world, checkout_of(call.world, call.id))


def _expire_checkout(call: Call) -> Json:
    return checkout_shape(call.world, expire(call.world, call.id))


def _list_line_items(call: Call) -> Json:
    return checkout_lines_shape(call.world, checkout_of(call.world, call.id))


def _list_checkouts(call: Call) -> Json:
    params, whose = call.params, call.whose
    sessions = [
        one
        for one in call.world.tables.checkouts.values()
        if whose in {None, one.customer_id}
        and one.subscription_id == params.get("subscription", one.subscription_id)
        and one.status == params.get("status", one.status)
    ]
    return page(sessions, params, "/v1/checkout/sessions", lambda one: checkout_shape(call.world, one))


ENDPOINTS = (
    Endpoint(method="POST", path="/v1/checkout/sessions", act=_create_checkout, spec=_CHECKOUT),
    Endpoint(
        method="GET",
        path="/v1/checkout/sessions",
        act=_list_checkouts,
        spec={
            "customer": Text(),
            "subscription": Text(),
            "status": Text(choices=("open", "complete", "expired")),
            **CREATED,
            **PAGE,
        },
    ),
    Endpoint(method="GET", path="/v1/checkout/sessions/{id}", act=_retrieve_checkout),
    Endpoint(method="POST", path="/v1/checkout/sessions/{id}/expire", act=_expire_checkout),
    Endpoint(method="GET", path="/v1/checkout/sessions/{id}/line_items", act=_list_line_items, spec=PAGE),
)
