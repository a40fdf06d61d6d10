"""`routes:`: which calls are part of the API, what each costs, and what it requires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.pattern import PatternInvalid, Precedence, parse_pattern
from gateway.policyfiles.billable import read_billable
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.forwarding import FORWARD_KEYS, ForwardingDraft, read_forwarding
from gateway.policyfiles.measuring import read_route_cost
from gateway.policyfiles.once import OnceDraft, bears_keys, read_route_once
from gateway.policyfiles.settling import read_route_settle
from gateway.policyfiles.shapes import as_fields, as_text, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping as Lookup
    from collections.abc import Sequence

    from gateway.core.measure import Measure
    from gateway.core.outcome import Billable
    from gateway.core.pattern import Pattern
    from gateway.core.policy import Meter
    from gateway.core.settle import Settle
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog, Place

MAX_ROUTES = 2_000
"""So many lines are read in a fraction of a second, by every worker, at every edit."""

_ROUTE_KEYS = ("match", "group", "cost", "requires", "settle", "billable", "idempotency", *FORWARD_KEYS)
_ROUTE_LATER = ("enforce",)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDraft:
    """A route as written."""

    pattern: Pattern
    place: Place
    cost: tuple[tuple[str, int], ...]
    cost_place: Place
    requires: Text | None
    group: Text | None
    """Of routes, for limits of their own; of servers is `forwarding.group`."""
    measures: tuple[Measure, ...]
    settle: tuple[Settle, ...]
    forwarding: ForwardingDraft
    billable: Billable | None
    """None: as the policy says."""
    once: OnceDraft | None
    """None: as the policy says."""


def honours_keys(route: RouteDraft) -> bool:
    """Whether an Idempotency-Key can mean anything there: on calls that can bear one and that all cost the same."""
    return bears_keys(route.pattern) and not route.settle and not route.measures


def read_routes(items: Sequence[Node], meters: Lookup[str, Meter], faults: FaultLog) -> list[RouteDraft]:
    """The routes in order; a line that no request can reach is a fault."""
    if len(items) > MAX_ROUTES:
        faults.add(items[MAX_ROUTES].place, f"more than {MAX_ROUTES:_} routes: join some with '*' or '**'")
        return []
    drafts = [_read_route(item, meters, faults) for item in items]
    routes = [draft for draft in drafts if draft is not None]
    _refuse_unreachable(routes, faults)
    return routes


def _read_route(node: Node, meters: Lookup[str, Meter], faults: FaultLog) -> RouteDraft | None:
    if not isinstance(node, Mapping):
        faults.add(node.place, "a route is a mapping: write '- match: GET /v1/**'")
        return None
    fields = as_fields(node, "a route", faults, known=_ROUTE_KEYS, later=_ROUTE_LATER)
    if "match" not in fields:
        faults.add(node.place, "a route has no 'match': write '- match: GET /v1/**'")
        return None
    match = as_text(fields["match"], "'match'", faults)
    requires = as_text(fields["requires"], "'requires'", faults) if "requires" in fields else None
    cost, measures = read_route_cost(fields.get("cost"), meters, faults)
    pattern = None if match is None else _read_pattern(match, faults)
    if pattern is None or match is None:
        return None
    cost_place = fields["cost"].place if "cost" in fields else match.place
    settle = read_route_settle(
        fields.get("settle"),
        cost | {measure.meter: 1 for measure in measures},  # what is read may be as little
        cost_place,
        meters,
        faults,
    )
    is_fixed = not settle and not measures
    return RouteDraft(
        pattern=pattern,
        place=match.place,
        cost=tuple(cost.items()),
        cost_place=cost_place,
        measures=measures,
        settle=settle,
        requires=requires,
        group=_read_group(fields["group"], meters, faults) if "group" in fields else None,
        forwarding=read_forwarding(fields, pattern, meters, faults),
        billable=read_billable(fields["billable"], faults) if "billable" in fields else None,
        once=(
            read_route_once(fields["idempotency"], pattern, faults, is_fixed=is_fixed)
            if "idempotency" in fields
            else None
        ),
    )


def _read_group(node: Node, meters: Lookup[str, Meter], faults: FaultLog) -> Text | None:
    name = as_text(node, "'group'", faults)
    if name is None or not check_name(name, "group of routes", faults):
        return None
    if name.value in meters:  # their limits would have one name in the RateLimit fields
        faults.add(name.place, f"{name.value!r} is a meter: give the group of routes another name")
        return None
    return name


def _read_pattern(match: Text, faults: FaultLog) -> Pattern | None:
    try:
        return parse_pattern(match.value)
    except PatternInvalid as error:
        faults.add(match.place, str(error), suggestion=error.suggestion)
        return None


def _refuse_unreachable(routes: list[RouteDraft], faults: FaultLog) -> None:
    before = Precedence()
    drafts: dict[int, RouteDraft] = {}
    for route in routes:
        hidden_by = before.find_hiding(route.pattern)
        if hidden_by is None:
            before.add(route.pattern)
            drafts[id(route.pattern)] = route
            continue
        other = drafts[id(hidden_by)]
        faults.add(
            route.place,
            f"{route.pattern.text!r} can never match: {other.pattern.text!r} ({other.place}) comes first"
            " and takes all of it; move this line up",
        )
