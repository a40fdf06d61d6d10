"""Stripe's list object."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.sandbox.records import Json


def list_shape(data: Iterable[Json], url: str, *, has_more: bool = False) -> Json:
    """One page of objects; `url` is where the list can be read."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


def address_shape() -> Json:
    """An address nobody filled in."""
    return {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}
