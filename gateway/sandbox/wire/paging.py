"""Stripe's lists: newest first, by cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from gateway.sandbox.records import Json
from gateway.sandbox.shapes.lists import list_shape
from gateway.sandbox.shapes.meters import instant_text
from gateway.sandbox.wire.params import Instants, Spec, Text, Whole
from gateway.sandbox.wire.problems import invalid

_MOST = 100
_USUAL = 10

PAGE: Spec = {"limit": Whole(least=1, most=_MOST), "starting_after": Text(), "ending_before": Text()}
PAGE_V2: Spec = {"limit": Whole(least=1, most=_MOST)}
"""What a list of the newer API takes; `page` is in the address of the next one only."""
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
    if "ending_before" in params and "starting_after" in params:
        raise invalid("You may only specify one of these parameters: ending_before, starting_after.", "ending_before")
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


def page_v2(
    records: Iterable[One],
    params: Mapping[str, Any],
    url: str,
    shape: Callable[[One], Json],
    *,
    cursor: Callable[[One], str] = lambda one: one.id,
) -> Json:
    """One page of `records`, which come oldest first, as the newer API has them: the next one has an address.

    Raises:
        StripeProblem: a page that is none of this list.
    """
    found = list(reversed(list(records)))
    limit, start = params.get("limit", _USUAL), 0
    if "page" in params:
        names = [f"page_{cursor(one)}" for one in found]
        if params["page"] not in names:
            raise invalid(f"Invalid page: {params['page']}", "page")
        start = names.index(params["page"]) + 1
    chosen = found[start : start + limit]
    next_url = None
    if len(found) > start + limit:
        asked = [(f"include[{at}]", name) for at, name in enumerate(params.get("include", ()))]
        asked += [(f"types[{at}]", name) for at, name in enumerate(params.get("types", ()))]
        asked += [(f"created[{name}]", instant_text(at)) for name, at in params.get("created", {}).items()]
        asked += [(name, params[name]) for name in ("object_id",) if name in params]
        asked += [("limit", str(limit)), ("page", f"page_{cursor(chosen[-1])}")]
        next_url = f"{url}?{urlencode(asked)}"
    return {"data": [shape(one) for one in chosen], "next_page_url": next_url, "previous_page_url": None}


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
