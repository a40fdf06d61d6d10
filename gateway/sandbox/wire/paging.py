"""Stripe's lists: newest first, by cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from gateway.sandbox.records import Json
from gateway.sandbox.shapes.lists import list_shape
from gateway.sandbox.wire.params import Instants, Spec, Text, Whole
from gateway.sandbox.wire.problems import invalid

_MOST = 100
_USUAL = 10

PAGE: Spec = {"limit": Whole(least=1, most=_MOST), "starting_after": Text(), "ending_before": Text()}
CREATED: Spec = {"created": Instants()}


class Listed(Protocol):
    """A record that can be in a list."""

    @property
    def id(self) -> str:
        """The cursor."""
        ...

    @property
    def created(self) -> int:
        """Unix seconds."""
        ...


One = TypeVar("One", bound=Listed)


def page(records: Iterable[One], params: Mapping[str, Any], url: str, shape: Callable[[One], Json]) -> Json:
    """One page of `records`, which come oldest first.

    Raises:
        StripeProblem: a cursor that names nothing in this list.
    """
    found = [one for one in reversed(list(records)) if within(one.created, params.get("created"))]
    limit = params.get("limit", _USUAL)
    if "ending_before" in params:
        end = _place(found, params["ending_before"], "ending_before")
        chosen = found[max(end - limit, 0) : end]
        has_more = end > limit
    else:
        start = 0
        if "starting_after" in params:
            start = _place(found, params["starting_after"], "starting_after") + 1
        chosen = found[start : start + limit]
        has_more = len(found) > start + limit
    return list_shape([shape(one) for one in chosen], url, has_more=has_more)


def _place(found: list[One], record_id: str, param: str) -> int:
    for place, one in enumerate(found):
        if one.id == record_id:
            return place
    raise invalid(f"No such object: '{record_id}'", param, "resource_missing")


def within(instant: int, bounds: Mapping[str, int] | None) -> bool:
    """Whether an instant meets every bound (gt, gte, lt, lte)."""
    if bounds is None:
        return True
    return (
        instant > bounds.get("gt", instant - 1)
        and instant >= bounds.get("gte", instant)
        and instant < bounds.get("lt", instant + 1)
        and instant <= bounds.get("lte", instant)
    )
