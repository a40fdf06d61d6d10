"""/v1/entitlements, and the features of products."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.engine.entitled import entitled
from gateway.sandbox.engine.features import add_feature, attach_feature, detach_feature, feature_of
from gateway.sandbox.records import Feature, Json, ProductFeature
from gateway.sandbox.shapes.events import deleted_shape
from gateway.sandbox.shapes.features import entitlement_shape, feature_shape, product_feature_shape
from gateway.sandbox.wire.paging import PAGE, page
from gateway.sandbox.wire.params import Flag, Labels, Text, merge_labels
from gateway.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entitlement:
    """An entitlement as a list needs it."""

    id: str
    created: int
    shape: Json


def _create(call: Call) -> Json:
    world, params = call.world, call.params
    feature = Feature(
        id=world.new_id("feat"),
        created=world.now,
        name=params["name"],
        lookup_key=params["lookup_key"],
        metadata=merge_labels({}, params),
    )
    add_feature(world, feature)
    return feature_shape(feature)


def _retrieve(call: Call) -> Json:
    return feature_shape(feature_of(call.world, call.id))


def _update(call: Call) -> Json:
    feature = feature_of(call.world, call.id)
    changed = replace(
        feature,
        name=call.params.get("name", feature.name),
        active=call.params.get("active", feature.active),
        metadata=merge_labels(feature.metadata, call.params),
    )
    call.world.tables.features[feature.id] = changed
    return feature_shape(changed)


def _list(call: Call) -> Json:
    wanted = call.params.get("lookup_key")
    archived = call.params.get("archived", False)
    found = [
        one
        for one in call.world.tables.features.values()
        if one.active != archived and wanted in {None, one.lookup_key}
    ]
    return page(found, call.params, "/v1/entitlements/features", feature_shape)


def _shown(world: World, record: ProductFeature) -> Json:
    return product_feature_shape(record, feature_of(world, record.feature_id))


def _attach(call: Call) -> Json:
    return _shown(call.world, attach_feature(call.world, call.id, call.params["entitlement_feature"]))


def _list_attached(call: Call) -> Json:
    product = call.world.product(call.id)
    found = [one for one in call.world.tables.product_features.values() if one.product_id == product.id]
    return page(found, call.params, f"/v1/products/{product.id}/features", lambda one: _shown(call.world, one))


def _detach(call: Call) -> Json:
    return deleted_shape("product_feature", detach_feature(call.world, call.id, call.names["feature"]).id)


def _list_entitlements(call: Call) -> Json:
    customer = call.world.customer(call.params["customer"])
    shapes = [(one, entitlement_shape(customer.id, one)) for one in entitled(call.world, customer.id)]
    found = [_Entitlement(id=shape["id"], created=one.created, shape=shape) for one, shape in shapes]
    return page(found, call.params, "/v1/entitlements/active_entitlements", lambda one: one.shape)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/entitlements/features",
        act=_create,
        spec={"name": Text(required=True), "lookup_key": Text(required=True), "metadata": Labels()},
    ),
    Endpoint(
        method="GET",
        path="/v1/entitlements/features",
        act=_list,
        spec={"lookup_key": Text(), "archived": Flag(), **PAGE},
    ),
    Endpoint(method="GET", path="/v1/entitlements/features/{id}", act=_retrieve),
    Endpoint(
        method="POST",
        path="/v1/entitlements/features/{id}",
        act=_update,
        spec={"name": Text(), "active": Flag(), "metadata": Labels()},
    ),
    Endpoint(
        method="POST",
        path="/v1/products/{id}/features",
        act=_attach,
        spec={"entitlement_feature": Text(required=True)},
    ),
    Endpoint(method="GET", path="/v1/products/{id}/features", act=_list_attached, spec=PAGE),
    Endpoint(method="DELETE", path="/v1/products/{id}/features/{feature}", act=_detach),
    Endpoint(
        method="GET",
        path="/v1/entitlements/active_entitlements",
        act=_list_entitlements,
        spec={"customer": Text(required=True), **PAGE},
    ),
)
