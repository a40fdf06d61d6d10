"""What only shows when all sections are together: names that must resolve, costs that must fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.credits import lives_on_credits
from gateway.core.limit_text import LimitInvalid, check_group, limit_words
from gateway.core.limits import Concurrency, Quota, Rate
from gateway.core.upstream_policy import DEFAULT_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.upstream_policy import UpstreamGroup
    from gateway.policyfiles.add_ons import AddOnDraft
    from gateway.policyfiles.document import Text
    from gateway.policyfiles.faults import FaultLog, Place
    from gateway.policyfiles.plans import PlanDraft
    from gateway.policyfiles.routes import RouteDraft
    from gateway.policyfiles.tiers import TierDraft


def check_default_tier(default_tier: Text | None, tiers: dict[str, TierDraft], faults: FaultLog) -> None:
    """The tier of customers without a subscription must exist."""
    if default_tier is not None and default_tier.value not in tiers:
        message = f"there is no tier {default_tier.value[:40]!r}"
        faults.add_unknown(default_tier.place, message, default_tier.value, tiers)


def check_plans(plans: Iterable[PlanDraft], tiers: dict[str, TierDraft], faults: FaultLog) -> None:
    """A plan must grant a tier that exists."""
    for plan in plans:
        if plan.tier.value not in tiers:
            message = f"plan {plan.name.value!r} grants a tier that is not there: {plan.tier.value[:40]!r}"
            faults.add_unknown(plan.tier.place, message, plan.tier.value, tiers)


def check_features(
    routes: Iterable[RouteDraft],
    granting: Iterable[TierDraft | AddOnDraft],
    entitlements: frozenset[str],
    faults: FaultLog,
) -> None:
    """A feature that nothing on sale has and Stripe cannot grant would make a route that nobody can call."""
    features = entitlements | {feature.value for one in granting for feature in one.features}
    for route in routes:
        if route.requires is not None and route.requires.value not in features:
            message = f"no tier has the feature {route.requires.value[:40]!r}"
            faults.add_unknown(route.requires.place, message, route.requires.value, features)


def check_groups(routes: Iterable[RouteDraft], groups: dict[str, UpstreamGroup], faults: FaultLog) -> None:
    """A route must go to servers that are there."""
    for route in routes:
        name = route.forwarding.group
        if name is not None and name.value not in groups:
            known = f"there are: {', '.join(groups)}" if groups else "there is no 'upstreams'"
            message = f"there is no group {name.value[:40]!r} in 'upstreams' ({known})"
            faults.add_unknown(name.place, message, name.value, groups)


def check_route_groups(
    routes: Iterable[RouteDraft], limited: Iterable[TierDraft | AddOnDraft], faults: FaultLog
) -> None:
    """A limit on a group that no route is in would count nothing."""
    groups = {route.group.value for route in routes if route.group is not None}
    for one in limited:
        for limit, place in one.limits:
            if limit.group is None:
                continue
            try:
                check_group(limit.group, groups)
            except LimitInvalid as error:
                faults.add(place, str(error), suggestion=error.suggestion)


def check_default_group(routes: Iterable[RouteDraft], groups: dict[str, UpstreamGroup], faults: FaultLog) -> None:
    """A route that names no group needs the default one, where the settings name no servers."""
    if DEFAULT_GROUP in groups:
        return
    route = next((route for route in routes if route.forwarding.group is None), None)
    if route is not None:
        faults.add(
            route.place,
            f"no server is known for these calls: define the group {DEFAULT_GROUP!r} in 'upstreams' (or name another"
            " group here with 'upstream'), or set TIERGATE_UPSTREAM_URL",
        )


def check_costs(routes: Iterable[RouteDraft], tiers: dict[str, TierDraft], faults: FaultLog) -> None:
    """A cost above a burst or a quota could never be charged: waiting would not help, unless for credits."""
    for route in routes:
        text, socket = route.pattern.text, route.forwarding.options.websocket
        group = None if route.group is None else route.group.value
        costs = [(f"{text!r} costs", route.cost, route.cost_place, "called")]
        if socket is not None and route.forwarding.socket_place is not None:
            place = route.forwarding.socket_place
            costs.append((f"a message to {text!r} costs", socket.cost_per_message, place, "sent"))
            costs.append((f"a minute of {text!r} costs", socket.cost_per_minute, place, "paid"))
        for tier in tiers.values():
            if _may_call(tier, route):
                counting = replace(tier, limits=tuple(each for each in tier.limits if each[0].group in {None, group}))
                for what, cost, place, verb in costs:
                    _check_cost(what, dict(cost), place, verb, counting, faults)


def _may_call(tier: TierDraft, route: RouteDraft) -> bool:
    return route.requires is None or any(feature.value == route.requires.value for feature in tier.features)


def _check_cost(what: str, cost: dict[str, int], place: Place, verb: str, tier: TierDraft, faults: FaultLog) -> None:
    limits = [limit for limit, _ in tier.limits]
    for limit, limit_place in tier.limits:
        if isinstance(limit, Concurrency) or lives_on_credits(limit, limits):
            continue
        units = cost.get(limit.meter, 0)
        if units > _most(limit):
            part = f"burst of {limit.burst:_}" if isinstance(limit, Rate) else f"quota of {limit.units:_}"
            faults.add(
                place,
                f"{what} {units:_} {limit.meter}, more than the {part} in tier"
                f" {tier.name.value!r} ({limit_words(limit)!r}, {limit_place}): it could never be {verb};"
                " raise the limit, lower the cost, or require a feature that this tier does not have",
            )


def _most(limit: Rate | Quota) -> int:
    return limit.burst if isinstance(limit, Rate) else limit.units
