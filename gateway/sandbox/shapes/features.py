"""Features, entitlements, and the summary that events carry."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.sandbox.records import Feature, Json, ProductFeature
from gateway.sandbox.shapes.lists import list_shape

_FIRST = 10


def feature_shape(feature: Feature) -> Json:
    """`entitlements.feature`."""
    return {
        "id": feature.id,
        "object": "entitlements.feature",
        "active": feature.active,
        "livemode": False,
        "lookup_key": feature.lookup_key,
        "metadata": dict(feature.metadata),
        "name": feature.name,
    }


def product_feature_shape(record: ProductFeature, feature: Feature) -> Json:
    """`product_feature`."""
    return {
        "id": record.id,
        "object": "product_feature",
        "entitlement_feature": feature_shape(feature),
        "livemode": False,
    }


def entitlement_shape(customer_id: str, feature: Feature) -> Json:
    """`entitlements.active_entitlement`. Its id follows from whose it is and to what."""
    return {
        "id": f"ent_{customer_id.removeprefix('cus_')}{feature.id.removeprefix('feat_')}",
        "object": "entitlements.active_entitlement",
        "feature": feature.id,
        "livemode": False,
        "lookup_key": feature.lookup_key,
    }


def summary_shape(customer_id: str, features: Sequence[Feature]) -> Json:
    """`entitlements.active_entitlement_summary`, with the first page of entitlements."""
    shown = [entitlement_shape(customer_id, feature) for feature in features[:_FIRST]]
    url = "/v1/entitlements/active_entitlements"
    return {
        "object": "entitlements.active_entitlement_summary",
        "customer": customer_id,
        "entitlements": list_shape(shown, url, has_more=len(features) > _FIRST),
        "livemode": False,
    }
