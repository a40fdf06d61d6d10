"""Events as another API version writes them: a webhook endpoint has its own, which need not be its reader's.

Only what a reader could trip over is moved; neither is meant to be whole. A receiver that applies what an
event says fails on both; one that reads Stripe again notices nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.sandbox.records import Json

OLDER = "2024-06-20"
"""Before billing periods moved to the items, and an invoice's subscription to its `parent`."""
NEWER = "2099-12-31.unheard"
"""Nobody knows: fields that were never heard of, words too, and ids that have become objects."""

_PERIOD = ("current_period_start", "current_period_end")


def in_version(data_object: Json, version: str) -> Json:
    """An event's object, as `version` writes it."""
    return OTHER_VERSIONS[version](data_object)


def _older(shape: Json) -> Json:
    if shape.get("object") == "subscription":
        return _older_subscription(shape)
    if shape.get("object") == "invoice":
        return _older_invoice(shape)
    return shape


def _older_subscription(shape: Json) -> Json:
    items = shape["items"]["data"]
    periods = {name: items[0][name] for name in _PERIOD} if items else {}
    plain = [{name: value for name, value in item.items() if name not in (*_PERIOD, "billed_until")} for item in items]
    kept = {name: value for name, value in shape.items() if name not in {"billing_mode", "managed_payments"}}
    return kept | periods | {"items": shape["items"] | {"data": plain}}


def _older_invoice(shape: Json) -> Json:
    details = (shape.get("parent") or {}).get("subscription_details") or {}
    older = {name: value for name, value in shape.items() if name != "parent"}
    return older | {
        "subscription": details.get("subscription"),
        "subscription_details": {"metadata": details.get("metadata")},
        "paid": shape.get("status") == "paid",
    }


def _newer(shape: Json) -> Json:
    newer = shape | {"unheard_of": {"object": "unheard_of", "since": NEWER}}
    if isinstance(shape.get("customer"), str):
        newer["customer"] = {"id": shape["customer"], "object": "customer"}
    if "status" in shape:
        newer["status"] = f"{shape['status']}_in_a_way"
    if shape.get("object") == "subscription":
        newer["item_list"] = newer.pop("items")
    return newer


OTHER_VERSIONS: Mapping[str, Callable[[Json], Json]] = {OLDER: _older, NEWER: _newer}
