"""What an endpoint is, and how ids in its answer are expanded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.sandbox.engine.saving import shape_of_customer
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.catalog import currency_options_shape, price_shape, product_shape, tiers_shape
from gateway.sandbox.shapes.charges import charge_shape
from gateway.sandbox.shapes.customers import payment_method_shape
from gateway.sandbox.shapes.invoices import invoice_shape
from gateway.sandbox.shapes.lists import list_shape
from gateway.sandbox.shapes.payments import invoice_of_intent, payment_intent_shape
from gateway.sandbox.shapes.schedules import schedule_shape
from gateway.sandbox.shapes.sessions import checkout_lines_shape
from gateway.sandbox.shapes.subscriptions import subscription_shape
from gateway.sandbox.wire.params import Spec
from gateway.sandbox.world import World, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: `names` are the path's ids, `params` the values that `Endpoint.spec` lets through."""

    world: World
    params: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.names["id"]

    @property
    def whose(self) -> str | None:
        """The customer whose part of a list is asked for; None: everybody's. Of a deleted one there is what it had.

        Raises:
            NoSuchRecord: it never was.
        """
        customer_id: str | None = self.params.get("customer")
        return None if customer_id is None else find(self.world.tables.customers, "customer", customer_id).id


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method and path. `act` answers with an object, or raises what `wire.problems` knows.

    `keeps_failures`: what happened before the error stays (a failed attempt to collect is an attempt);
    anywhere else an error leaves the account as it was. `is_search`: it is answered so many times a second only.
    """

    method: str
    path: str
    act: Callable[[Call], Json]
    spec: Spec = field(default_factory=dict)
    keeps_failures: bool = False
    is_search: bool = False


_SHAPES: Mapping[str, Callable[[World, str], Json]] = {
    "charge": lambda world, one: charge_shape(world.tables.charges[one]),
    "customer": lambda world, one: shape_of_customer(world, world.tables.customers[one]),
    "default_payment_method": lambda world, one: payment_method_shape(world.tables.payment_methods[one]),
    "invoice": lambda world, one: invoice_shape(world, world.tables.invoices[one]),
    "latest_charge": lambda world, one: charge_shape(world.tables.charges[one]),
    "latest_invoice": lambda world, one: invoice_shape(world, world.tables.invoices[one]),
    "payment_intent": lambda world, one: payment_intent_shape(world, invoice_of_intent(world, one)),
    "price": lambda world, one: price_shape(world.tables.prices[one]),
    "product": lambda world, one: product_shape(world.tables.products[one]),
    "schedule": lambda world, one: schedule_shape(world, world.tables.schedules[one]),
    "subscription": lambda world, one: subscription_shape(world, world.tables.subscriptions[one]),
}
_PLAIN = frozenset({("subscription_item", "subscription"), ("line_item", "invoice"), ("line_item", "subscription")})
"""Fields with an expandable name that hold a plain id."""


def look_up(world: World, node: Json, name: str) -> Any:
    """The object behind a field.

    Raises:
        KeyError: the field cannot be expanded.
    """
    kind = node.get("object")
    if (kind, name) == ("checkout.session", "line_items"):
        return checkout_lines_shape(world, world.tables.checkouts[node["id"]])
    if (kind, name) == ("coupon", "applies_to"):
        return {"products": list(world.tables.coupons[node["id"]].products)}
    if (kind, name) == ("price", "tiers"):
        return tiers_shape(world.price(node["id"]))
    if (kind, name) == ("price", "currency_options"):
        return currency_options_shape(world.price(node["id"]))
    if (kind, name) == ("customer", "subscriptions"):
        live = [one for one in world.subscriptions_of(node["id"]) if one.ended_at is None]
        url = f"/v1/customers/{node['id']}/subscriptions"
        return list_shape([subscription_shape(world, one) for one in live], url)
    if (kind, name) in _PLAIN:
        raise KeyError(name)
    return _SHAPES[name](world, node[name])
