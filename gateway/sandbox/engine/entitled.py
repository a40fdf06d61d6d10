"""What a customer is entitled to: the features of the products it is subscribed to, while it is."""

from __future__ import annotations

from gateway.sandbox.records import Feature
from gateway.sandbox.world import World

_ENTITLING = frozenset({"trialing", "active", "past_due"})


def entitled(world: World, customer_id: str) -> list[Feature]:
    """Its features, each once, in the order in which they were made."""
    products = {
        world.price(item.price_id).product_id
        for subscription in world.subscriptions_of(customer_id)
        if subscription.status in _ENTITLING
        for item in subscription.items
    }
    attached = {one.feature_id for one in world.tables.product_features.values() if one.product_id in products}
    return [feature for feature in world.tables.features.values() if feature.id in attached]
