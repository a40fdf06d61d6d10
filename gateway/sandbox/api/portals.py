"""/v1/billing_portal: configurations and sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.engine.portal import live_subscriptions
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.subscriptions import recurring_price
from gateway.sandbox.records import Json, PortalConfiguration, PortalSession
from gateway.sandbox.shapes.portals import (
    NO_FEATURES,
    configuration_shape,
    default_configuration,
    default_configuration_id,
    portal_shape,
)
from gateway.sandbox.wire.paging import PAGE, page
from gateway.sandbox.wire.params import Each, Flag, Labels, Shape, Spec, Text, Texts, Whole, merge_labels
from gateway.sandbox.wire.problems import check_url, missing
from gateway.sandbox.world import World, find

_ENABLED = Flag(required=True)
_PRORATION = Text(choices=("always_invoice", "create_prorations", "none"))
_CONFIGURATION: Spec = {
    "business_profile": Shape(fields={"headline": Text(clearable=True)}),
    "default_return_url": Text(clearable=True),
    "metadata": Labels(),
    "name": Text(clearable=True),
}
_FEATURES: Spec = {
    "customer_update": Shape(fields={"enabled": _ENABLED, "allowed_updates": Texts()}),
    "invoice_history": Shape(fields={"enabled": _ENABLED}),
    "payment_method_update": Shape(fields={"enabled": _ENABLED}),
    "subscription_cancel": Shape(
        fields={
            "enabled": _ENABLED,
            "mode": Text(choices=("at_period_end", "immediately")),
            "proration_behavior": _PRORATION,
        }
    ),
    "subscription_update": Shape(
        fields={
            "enabled": _ENABLED,
            "default_allowed_updates": Texts(),
            "products": Each(fields={"product": Text(required=True), "prices": Texts(required=True)}),
            "proration_behavior": _PRORATION,
        }
    ),
}
_FEATURE_OF = {
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
}
"""What a configuration must allow for each flow."""
_PORTAL: Spec = {
    "customer": Text(required=True),
    "return_url": Text(),
    "configuration": Text(),
    "locale": Text(),
    "flow_data": Shape(
        fields={
            "type": Text(
                required=True,
                choices=(
                    "payment_method_update",
                    "subscription_cancel",
                    "subscription_update",
                    "subscription_update_confirm",
                ),
            ),
            "subscription_cancel": Shape(fields={"subscription": Text(required=True)}),
            "subscription_update": Shape(fields={"subscription": Text(required=True)}),
            "subscription_update_confirm": Shape(
                fields={
                    "subscription": Text(required=True),
                    "items": Each(
                        fields={"id": Text(required=True), "price": Text(), "quantity": Whole(least=1)}, required=True
                    ),
                }
            ),
            "after_completion": Shape(
                fields={
                    "type": Text(required=True, choices=("hosted_confirmation", "portal_homepage", "redirect")),
                    "hosted_confirmation": Shape(fields={"custom_message": Text()}),
                    "redirect": Shape(fields={"return_url": Text(required=True)}),
                }
            ),
        }
    ),
}


def _create_configuration(call: Call) -> Json:
    world, params = call.world, call.params
    made = PortalConfiguration(
        id=world.new_id("bpc"),
        created=world.now,
        updated=world.now,
        features=_features(world, NO_FEATURES, params["features"]),
        name=params.get("name"),
        default_return_url=params.get("default_return_url"),
        headline=params.get("business_profile", {}).get("headline"),
        metadata=merge_labels({}, params),
    )
    world.tables.portal_configurations[made.id] = made
    return configuration_shape(world, made)


def _features(world: World, before: Mapping[str, Any], asked: Mapping[str, Any]) -> Json:
    """What is said of a feature, over what it was."""
    merged = {name: before[name] | asked.get(name, {}) for name in before}
    update = merged["subscription_update"]
    if update["enabled"] and not update["products"]:
        raise missing("features[subscription_update][products]")
    update["products"] = [_sold(world, one) for one in update["products"] or ()] or None
    return merged


def _sold(world: World, asked: Mapping[str, Any]) -> Json:
    product = world.product(asked["product"])
    for price_id in asked["prices"]:
        if world.price(price_id).product_id != product.id:
            message = f"The price {price_id} does not belong to the product {product.id}."
            raise Refused(message, param="features[subscription_update][products]")
    adjustable = {"enabled": False, "maximum": None, "minimum": 1}
    return {"adjustable_quantity": adjustable, "prices": list(asked["prices"]), "product": product.id}


def _configuration(world: World, configuration_id: str) -> PortalConfiguration:
    """The account's own, or one that was made."""
    if configuration_id == default_configuration_id(world) and world.rules.portal_is_set_up:
        return default_configuration(world)
    return find(world.tables.portal_configurations, "configuration", configuration_id)


def _retrieve_configuration(call: Call) -> Json:
    return configuration_shape(call.world, _configuration(call.world, call.id))


def _update_configuration(call: Call) -> Json:
    """Of those that were made; the account's own follows the rules of the sandbox."""
    world, params = call.world, call.params
    made = find(world.tables.portal_configurations, "configuration", call.id)
    changed = replace(
        made,
        updated=world.now,
        active=params.get("active", made.active),
        features=_features(world, made.features, params.get("features", {})),
        name=params.get("name", made.name),
        default_return_url=params.get("default_return_url", made.default_return_url),
        headline=params.get("business_profile", {}).get("headline", made.headline),
        metadata=merge_labels(made.metadata, params),
    )
    world.tables.portal_configurations[made.id] = changed
    return configuration_shape(world, changed)


def _list_configurations(call: Call) -> Json:
    world, params = call.world, call.params
    there = [default_configuration(world)] if world.rules.portal_is_set_up else []
    there += world.tables.portal_configurations.values()
    found = [
        one
        for one in there
        if one.active == params.get("active", one.active)
        and params.get("is_default") in {None, one.id == default_configuration_id(world)}
    ]
    return page(found, params, "/v1/billing_portal/configurations", lambda one: configuration_shape(world, one))


def _create_portal(call: Call) -> Json:
    world, params = call.world, call.params
    customer = world.customer(params["customer"])
    if "return_url" in params:
        check_url(params["return_url"], "return_url")
    asked = params.get("configuration")
    if asked is None and not world.rules.portal_is_set_up:
        raise Refused("No configuration provided and your default configuration has not been created.")
    configuration = _configuration(world, asked or default_configuration_id(world))
    if not configuration.active:
        raise Refused(f"The configuration {configuration.id} is not active.", param="configuration")
    session = PortalSession(
        id=world.new_id("bps"),
        customer_id=customer.id,
        created=world.now,
        configuration_id=asked,
        return_url=params.get("return_url") or configuration.default_return_url,
        locale=params.get("locale"),
        flow=_flow(world, customer.id, configuration, params.get("flow_data")),
    )
    world.tables.portals[session.id] = session
    return portal_shape(world, session)


def _flow(
    world: World, customer_id: str, configuration: PortalConfiguration, asked: dict[str, Any] | None
) -> Json | None:
    if asked is None:
        return None
    kind = asked["type"]
    feature = configuration.features[_FEATURE_OF[kind]]
    if not feature["enabled"]:
        message = f"The {_FEATURE_OF[kind]} feature of the portal configuration is disabled."
        raise Refused(message, param="flow_data[type]")
    flow: Json = {
        "after_completion": {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"}
        | asked.get("after_completion", {}),
        "subscription_cancel": None,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }
    if kind != "payment_method_update":
        details = asked.get(kind)
        if details is None:
            raise missing(f"flow_data[{kind}]")
        running = world.tables.subscriptions.get(details["subscription"])
        if kind == "subscription_cancel" and running is not None and running.cancel_at is not None:
            message = "This subscription cannot be canceled because it is already set to be canceled."
            raise Refused(message, param="flow_data[subscription_cancel][subscription]")
        if details["subscription"] not in {one.id for one in live_subscriptions(world, customer_id)}:
            raise Refused("The subscription cannot be changed in this flow.", param=f"flow_data[{kind}][subscription]")
        if kind == "subscription_update_confirm":
            flow[kind] = _confirmation(world, feature, details)
        else:
            flow[kind] = details | ({"retention": None} if kind == "subscription_cancel" else {})
    return flow


def _confirmation(world: World, feature: Mapping[str, Any], details: dict[str, Any]) -> Json:
    """Source: https://docs.stripe.com/api/customer_portal/sessions/create, of one item of a subscription of one."""
    param = "flow_data[subscription_update_confirm][items]"
    subscription = world.subscription(details["subscription"])
    [*items] = details["items"]
    if len(items) != 1 or len(subscription.items) != 1:
        raise Refused("Only subscriptions with one item can be updated in this flow.", param=param)
    [asked], [item] = items, subscription.items
    if asked["id"] != item.id:
        raise Refused(f"No such subscription item: '{asked['id']}'", param=param, code="resource_missing")
    price = recurring_price(world, asked.get("price", item.price_id), param)
    if feature["products"] is not None and not any(price.id in one["prices"] for one in feature["products"]):
        raise Refused(f"The price {price.id} is not one that the portal configuration sells.", param=param)
    shown = {"id": item.id, "price": price.id, "quantity": asked.get("quantity", item.quantity)}
    return {"subscription": subscription.id, "items": [shown], "discounts": None}


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/billing_portal/configurations",
        act=_create_configuration,
        spec={"features": Shape(fields=_FEATURES, required=True), **_CONFIGURATION},
    ),
    Endpoint(
        method="GET",
        path="/v1/billing_portal/configurations",
        act=_list_configurations,
        spec={"active": Flag(), "is_default": Flag(), **PAGE},
    ),
    Endpoint(method="GET", path="/v1/billing_portal/configurations/{id}", act=_retrieve_configuration),
    Endpoint(
        method="POST",
        path="/v1/billing_portal/configurations/{id}",
        act=_update_configuration,
        spec={"active": Flag(), "features": Shape(fields=_FEATURES), **_CONFIGURATION},
    ),
    Endpoint(method="POST", path="/v1/billing_portal/sessions", act=_create_portal, spec=_PORTAL),
)
