"""Stripe's list object."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from gateway.sandbox.records import Json, Labels


def list_shape(data: Iterable[Json], url: str, *, has_more: bool = False) -> Json:
    """One page of objects; `url` is where the list can be read."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def address_shape(filled: Labels = MappingProxyType({})) -> Json:
    """An address; what nobody filled in is null."""
    return {part: filled.get(part) for part in _ADDRESS}
