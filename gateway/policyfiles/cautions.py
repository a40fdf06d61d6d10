"""What is valid in a policy and surprises people: nothing is refused for it, and all of it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.lifecycle import UNREADABLE
from gateway.core.limit_text import limit_words
from gateway.core.limits import Concurrency, Quota, Rate, limit_field
from gateway.core.policy_edit import gone_plans, restarted_counts
from gateway.core.settle import MOST_UNITS
from gateway.policyfiles.faults import Caution, Place
from gateway.policyfiles.routes import honours_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.policy import Plan, Policy, Standing
    from gateway.core.policy_edit import GonePlan, Restart
    from gateway.core.settle import Settle
    from gateway.policyfiles.once import OnceDraft
    from gateway.policyfiles.routes import RouteDraft
    from gateway.policyfiles.tiers import TierDraft

_AT_ONCE = 20
"""Calls at once in the example of what would help."""


def find_overshoots(routes: Iterable[RouteDraft], tiers: Mapping[str, TierDraft]) -> list[Caution]:
    """Quotas that calls in progress can exceed together: nothing bounds how many settle above what they reserved.

    Of each quota, the route that exceeds it most is named.
    """
    lines = list(routes)
    return [
        Caution.at(place, words)
        for tier in tiers.values()
        for limit, place in tier.limits
        if isinstance(limit, Quota) and (words := _overshoot_words(limit, tier, lines)) is not None
    ]


def find_unbounded(routes: Iterable[RouteDraft]) -> list[Caution]:
    """Meters in which a caller that leaves a stream early pays the reservation, as no bound says what it owes.

    Of each meter, the first such route is named.
    """
    first: dict[str, RouteDraft] = {}
    for route in routes:
        for rule in route.settle:
            if rule.source == "response header" and rule.at_most == MOST_UNITS:
                first.setdefault(rule.meter, route)
    return [
        Caution.at(
            route.cost_place,
            f"{route.pattern.text!r} is settled by a header without a bound: who leaves a stream that tells its"
            f" {meter} at its end, and does not end within 'read_on', pays what was reserved; write 'at most' behind"
            " 'settle', and that is paid then",
        )
        for meter, route in first.items()
    ]


def find_unpaced(routes: Iterable[RouteDraft], tiers: Mapping[str, TierDraft]) -> list[Caution]:
    """Routes that no rate of a tier holds, although it has rates: their calls cost nothing of what these count.

    Of each tier, the first such route is named.
    """
    lines = list(routes)
    found: list[Caution] = []
    for tier in tiers.values():
        features = {feature.value for feature in tier.features}
        rates = [limit for limit, _ in tier.limits if isinstance(limit, Rate)]
        may_call = [route for route in lines if route.requires is None or route.requires.value in features]
        route = next((route for route in may_call if rates and not any(_paces(rate, route) for rate in rates)), None)
        if route is not None:
            found.append(
                Caution.at(
                    route.cost_place,
                    f"{route.pattern.text!r} costs nothing of what a rate of tier {tier.name.value!r} counts"
                    f" ({limit_words(rates[0])!r}): its calls pass as fast as they come; let it cost 1 of the"
                    " rate's meter, or bound its calls with a limit on its group",
                )
            )
    return found


def _paces(rate: Rate, route: RouteDraft) -> bool:
    group = None if route.group is None else route.group.value
    costs = dict(route.cost).get(rate.meter, 0) > 0 or any(one.meter == rate.meter for one in route.measures)
    return costs and rate.group in {None, group}


def _overshoot_words(quota: Quota, tier: TierDraft, routes: list[RouteDraft]) -> str | None:
    features = {feature.value for feature in tier.features}
    worst, most = None, 0
    for route in routes:
        rule = next((rule for rule in route.settle if rule.meter == quota.meter), None)
        group = None if route.group is None else route.group.value
        may_call = route.requires is None or route.requires.value in features
        if rule is None or not may_call or quota.group not in {None, group} or _is_bounded(tier, group):
            continue
        reserved = _reserved(route, rule)
        over = quota.units // reserved * (rule.at_most - reserved)
        if over > most:
            worst, most = (route, rule, reserved), over
    if worst is None:
        return None
    route, rule, reserved = worst
    calls, difference = quota.units // reserved, rule.at_most - reserved
    start = f"{limit_words(quota)!r} in tier {tier.name.value!r} can end"
    why = f"{route.pattern.text!r} reserves {reserved:_} {quota.meter}"
    if rule.at_most == MOST_UNITS:
        return (
            f"{start} above by any number: {why} and is settled at whatever its response says, and {calls:_} such calls"
            f" can be in progress at once; write 'at most' behind 'settle', and bound them, as with"
            f" '{_AT_ONCE} concurrent'"
        )
    return (
        f"{start} {most:_} above: {why} and is settled at {rule.at_most:_} at most, and {calls:_} such calls can be in"
        f" progress at once; bound them, as with '{_AT_ONCE} concurrent' (then"
        f" {min(_AT_ONCE, calls) * difference:_} above at most), or reserve more in 'cost'"
    )


def _is_bounded(tier: TierDraft, group: str | None) -> bool:
    return any(isinstance(limit, Concurrency) and limit.group in {None, group} for limit, _ in tier.limits)


def _reserved(route: RouteDraft, rule: Settle) -> int:
    """What a call takes before it is settled; what is read in the request may be as little as 1."""
    return max(1, dict(route.cost).get(rule.meter, 0))


def find_shared_charges(once: OnceDraft | None, routes: Iterable[RouteDraft]) -> list[Caution]:
    """That one charge pays for calls that may differ, where `idempotency` is first turned on.

    What tells calls apart is what is known when they are charged: the body has not arrived (`core.once`).

    Args:
        once: As the policy says it; None: it says nothing.
        routes: In order.
    """
    said = [route.once or once for route in routes if honours_keys(route)]
    on = [(draft.terms.repeats, draft.place) for draft in said if draft is not None and draft.terms is not None]
    if not on:
        return []
    repeats, place = next((each for each in on if once is not None and each[1] is once.place), on[0])
    return [
        Caution.at(
            place,
            f"one charge under an Idempotency-Key pays for {repeats + 1:_} calls, whose bodies may differ if not in"
            " length: turn it on for an API that looks at keys itself and answers a repeat as the first call, and write"
            " 'idempotency: off' where it does not",
        )
    ]


def find_restarts(before: Policy, after: Policy, limit_places: Mapping[tuple[str, str], Place]) -> tuple[Caution, ...]:
    """What an edit starts to count again.

    Args:
        before: The policy that is in force.
        after: The one that would follow it.
        limit_places: Where the limits of `after` stand, by tier and counter.
    """
    return tuple(
        Caution.at(limit_places[one.tier, limit_field(one.after)], _restart_words(one))
        for one in restarted_counts(before, after)
    )


def _restart_words(one: Restart) -> str:
    old, new = one.before, one.after
    of_tier = "" if one.tier_before == one.tier else f" in tier {one.tier_before!r}"
    words = (
        f"{limit_words(new)!r} in tier {one.tier!r} starts at nothing when this edit is in force: what customers have"
        f" used of {limit_words(old)!r}{of_tier} in their running window"
    )
    if one.because == "window":
        return f"{words} does not count in another window; keep the old line beside this one until its window has ended"
    if one.because == "meter":
        return (
            f"{words} was counted under the name {old.meter!r}, and so were credits; keep the meter's name and give it"
            " a 'title', or take the edit back within the window, and the old count is there again"
        )
    return (
        f"{words} was counted under the name {old.group!r}; keep the name of the group, or take the edit back within"
        " the window, and the old count is there again"
    )


def find_gone_plans(before: Policy, after: Policy, plan_places: Mapping[str, Place]) -> tuple[Caution, ...]:
    """Plans that an edit takes away, which customers may have.

    Args:
        before: The policy that is in force.
        after: The one that would follow it.
        plan_places: Where the plans of `after` stand, by their ids.
    """
    anywhere = next(iter(plan_places.values()), Place(file="plans"))
    return tuple(
        Caution.at(
            anywhere if one.after is None else plan_places[one.after.plan_id],
            _gone_words(one, after) if one.after is None else _renamed_words(one.before, one.after),
        )
        for one in gone_plans(before, after)
    )


def _renamed_words(old: Plan, new: Plan) -> str:
    return (
        f"the plan {old.plan_id!r} is called {new.plan_id!r} when this edit is in force: who pays for it keeps it,"
        " because its price is the same; what names it by the old id, such as your server at create-checkout, has to"
        " follow"
    )


def _gone_words(one: GonePlan, after: Policy) -> str:
    rule = after.lifecycle[UNREADABLE]
    falls = f"gets {rule.refusal!r}" if rule.then is None else f"falls to the tier {rule.then!r}"
    when = "at once, because the tier goes too" if one.before.tier not in after.tiers else _kept_words(rule)
    return (
        f"the plan {one.before.plan_id!r} (tier {one.before.tier!r}) goes when this edit is in force: whoever pays"
        f" for it {falls} {when}, and goes on paying; keep it until nobody has it, or leave its price to the plan that"
        " takes its place"
    )


def _kept_words(rule: Standing) -> str:
    hours = (rule.keep_s or 0) / 3600
    return f"{hours:g} hours after that (`lifecycle: unreadable`), is listed as an unmapped price once Stripe is read"
