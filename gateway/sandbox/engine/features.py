"""Features, and the products that have them."""

from __future__ import annotations

from collections.abc import Callable

from gateway.sandbox.engine.entitled import entitled
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import tell_entitlements
from gateway.sandbox.records import Feature, ProductFeature
from gateway.sandbox.world import World, find


def feature_of(world: World, feature_id: str) -> Feature:
    """Raises NoSuchRecord."""
    return find(world.tables.features, "feature", feature_id)


def add_feature(world: World, feature: Feature) -> None:
    """A new feature, which no product has yet.

    Raises:
        Refused: the lookup key is taken.
    """
    if any(one.lookup_key == feature.lookup_key for one in world.tables.features.values()):
        raise Refused("A feature with this lookup key exists already.", param="lookup_key")
    world.tables.features[feature.id] = feature


def attach_feature(world: World, product_id: str, feature_id: str) -> ProductFeature:
    """Give a feature to a product; whoever is subscribed to it is entitled from now on.

    Raises:
        Refused: the product has it, or the feature is archived.
    """
    product, feature = world.product(product_id), feature_of(world, feature_id)
    if not feature.active:
        raise Refused("An archived feature cannot be attached.", param="entitlement_feature")
    if any(one.feature_id == feature.id and one.product_id == product.id for one in _attached(world)):
        raise Refused("The product has this feature already.", param="entitlement_feature")
    record = ProductFeature(id=world.new_id("prodft"), product_id=product.id, feature_id=feature.id, created=world.now)
    _telling(world, lambda: world.tables.product_features.__setitem__(record.id, record))
    return record


def detach_feature(world: World, product_id: str, attached_id: str) -> ProductFeature:
    """Take a feature away from a product, and from everybody who had it by that."""
    record = find(world.tables.product_features, "product feature", attached_id)
    if record.product_id != product_id:
        raise Refused("The feature is another product's.", param="id")
    _telling(world, lambda: world.tables.product_features.__delitem__(record.id))
    return record


def _attached(world: World) -> list[ProductFeature]:
    return list(world.tables.product_features.values())


def _telling(world: World, act: Callable[[], None]) -> None:
    before = {customer_id: entitled(world, customer_id) for customer_id in world.tables.customers}
    act()
    for customer_id, features in before.items():
        tell_entitlements(world, customer_id, features)
