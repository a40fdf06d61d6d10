"""/v1/products and /v1/prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.api.tariffs import TARIFF, read_meter, read_tariff
from gateway.sandbox.engine.saving import add_price, add_product, change_price, change_product
from gateway.sandbox.periods import INTERVALS
from gateway.sandbox.records import Json, Price, Product
from gateway.sandbox.shapes.catalog import price_shape, product_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Flag, Labels, Shape, Spec, Text, Texts, Whole, merge_labels
from gateway.sandbox.wire.problems import StripeProblem, invalid
from gateway.sandbox.world import World

_PRODUCT_FIELDS: Spec = {
    "active": Flag(),
    "metadata": Labels(),
}
_RECURRING: Spec = {
    "interval": Text(required=True, choices=INTERVALS),
    "interval_count": Whole(least=1),
    "usage_type": Text(choices=("licensed", "metered")),
    "meter": Text(),
}
_TAX = Text(choices=("exclusive", "inclusive", "unspecified"))


def create_product(call: Call) -> Json:
    """A new product; its id may be chosen."""
    world, params = call.world, call.params
    product_id = params.get("id") or world.new_id("prod")
    if product_id in world.tables.products:
        raise invalid("Product already exists.", "id", "resource_already_exists")
    product = Product(
        id=product_id,
        name=params["name"],
        created=world.now,
        updated=world.now,
        description=params.get("description"),
        active=params.get("active", True),
        metadata=merge_labels({}, params),
    )
    add_product(world, product)
    return product_shape(product)


def _retrieve_product(call: Call) -> Json:
    return product_shape(call.world.product(call.id))


def _update_product(call: Call) -> Json:
    product = call.world.product(call.id)
    params = call.params
    changed = replace(
        product,
        name=params.get("name", product.name),
        description=params.get("description", product.description),
        active=params.get("active", product.active),
        metadata=merge_labels(product.metadata, params),
        updated=call.world.now,
    )
    change_product(call.world, changed)
    return product_shape(changed)


def _list_products(call: Call) -> Json:
    products = [
        one
        for one in call.world.tables.products.values()
        if one.active == call.params.get("active", one.active) and one.id in call.params.get("ids", [one.id])
    ]
    return page(products, call.params, "/v1/products", product_shape)


def create_price(call: Call) -> Json:
    """A new price of a product."""
    world, params = call.world, call.params
    product = world.product(params["product"])
    recurring = params.get("recurring", {})
    tariff = read_tariff(params)
    lookup_key = params.get("lookup_key")
    _free_lookup_key(world, lookup_key, transfer=params.get("transfer_lookup_key", False))
    price = Price(
        id=world.new_id("price"),
        product_id=product.id,
        created=world.now,
        currency=params["currency"].lower(),
        unit_amount=int(tariff.unit_amount),
        interval=recurring.get("interval"),
        interval_count=recurring.get("interval_count", 1),
        lookup_key=lookup_key,
        nickname=params.get("nickname"),
        tax_behavior=params.get("tax_behavior", "unspecified"),
        active=params.get("active", True),
        metadata=merge_labels({}, params),
        tariff=tariff,
        meter_id=read_meter(world, recurring),
    )
    add_price(world, price)
    return price_shape(price)


def _free_lookup_key(world: World, lookup_key: str | None, *, transfer: bool) -> None:
    if lookup_key is None:
        return
    for holder in list(world.tables.prices.values()):
        if holder.lookup_key != lookup_key:
            continue
        if not transfer:
            message = f"A price (`{holder.id}`) already uses that lookup key."
            raise StripeProblem(message, param="lookup_key", code="resource_already_exists")
        change_price(world, replace(holder, lookup_key=None))


def _retrieve_price(call: Call) -> Json:
    return price_shape(call.world.price(call.id))


def _update_price(call: Call) -> Json:
    world, params = call.world, call.params
    price = world.price(call.id)
    if "lookup_key" in params and params["lookup_key"] != price.lookup_key:
        _free_lookup_key(world, params["lookup_key"], transfer=params.get("transfer_lookup_key", False))
    changed = replace(
        price,
        active=params.get("active", price.active),
        nickname=params.get("nickname", price.nickname),
        lookup_key=params.get("lookup_key", price.lookup_key),
        tax_behavior=params.get("tax_behavior", price.tax_behavior),
        metadata=merge_labels(price.metadata, params),
    )
    change_price(world, changed)
    return price_shape(changed)


def _list_prices(call: Call) -> Json:
    params = call.params
    prices = [one for one in call.world.tables.prices.values() if _price_matches(one, params)]
    return page(prices, params, "/v1/prices", price_shape)


def _price_matches(price: Price, wanted: Mapping[str, Any]) -> bool:
    kind = "one_time" if price.interval is None else "recurring"
    recurring = wanted.get("recurring", {})
    usage_type = "licensed" if price.meter_id is None else "metered"
    return (
        price.active == wanted.get("active", price.active)
        and price.currency == wanted.get("currency", price.currency)
        and price.product_id == wanted.get("product", price.product_id)
        and kind == wanted.get("type", kind)
        and price.interval == recurring.get("interval", price.interval)
        and price.meter_id == recurring.get("meter", price.meter_id)
        and usage_type == recurring.get("usage_type", usage_type)
        and ("lookup_keys" not in wanted or price.lookup_key in wanted["lookup_keys"])
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/products",
        act=create_product,
        spec={"id": Text(), "name": Text(required=True), "description": Text(), **_PRODUCT_FIELDS},
    ),
    Endpoint(
        method="GET",
        path="/v1/products",
        act=_list_products,
        spec={"active": Flag(), "ids": Texts(), **CREATED, **PAGE},
    ),
    Endpoint(method="GET", path="/v1/products/{id}", act=_retrieve_product),
    Endpoint(
        method="POST",
        path="/v1/products/{id}",
        act=_update_product,
        spec={"name": Text(), "description": Text(clearable=True), **_PRODUCT_FIELDS},
    ),
    Endpoint(
        method="POST",
        path="/v1/prices",
        act=create_price,
        spec={
            "currency": Text(required=True),
            "product": Text(required=True),
            **TARIFF,
            "recurring": Shape(fields=_RECURRING),
            "lookup_key": Text(),
            "transfer_lookup_key": Flag(),
            "nickname": Text(),
            "tax_behavior": _TAX,
            "active": Flag(),
            "metadata": Labels(),
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/prices",
        act=_list_prices,
        spec={
            "active": Flag(),
            "currency": Text(),
            "lookup_keys": Texts(),
            "product": Text(),
            "recurring": Shape(
                fields={
                    "interval": Text(choices=INTERVALS),
                    "meter": Text(),
                    "usage_type": Text(choices=("licensed", "metered")),
                }
            ),
            "type": Text(choices=("one_time", "recurring")),
            **CREATED,
            **PAGE,
        },
    ),
    Endpoint(method="GET", path="/v1/prices/{id}", act=_retrieve_price),
    Endpoint(
        method="POST",
        path="/v1/prices/{id}",
        act=_update_price,
        spec={
            "active": Flag(),
            "lookup_key": Text(),
            "transfer_lookup_key": Flag(),
            "nickname": Text(),
            "tax_behavior": _TAX,
            "metadata": Labels(),
        },
    ),
)
