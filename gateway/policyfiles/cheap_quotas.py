"""What a policy lets customers have for a price that nobody meant: for minutes of it, or for none.

Stripe bills a change by time, to the second. Whatever is had whole is then cheap at an edge of the period: at its end
by going up, at its beginning by going down again. And what is not paid at once may never be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.limit_text import limit_words
from gateway.core.limits import Quota
from gateway.policyfiles.faults import Caution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.core.policy import PlanChange
    from gateway.core.switching import SwitchTerms
    from gateway.policyfiles.add_ons import AddOnDraft
    from gateway.policyfiles.faults import Place
    from gateway.policyfiles.plans import PlanDraft
    from gateway.policyfiles.tiers import TierDraft

_MINUTES = 20
"""In the example."""
_SHARE = 30 * 24 * 60 // _MINUTES
"""They are this part of 30 days."""


def find_cheap_quotas(
    plans: Iterable[PlanDraft],
    tiers: Mapping[str, TierDraft],
    add_ons: Mapping[str, AddOnDraft],
    terms: SwitchTerms,
    plan_change: PlanChange,
) -> list[Caution]:
    """Quotas that are had for less than they are sold at, by changing to more and back.

    Of each way to do it, the first plan is named that can be changed to.
    """
    rises = list(_rises(plans, tiers, add_ons))
    of_periods = [rise for rise in rises if rise[0].window_s is None]
    found = [(of_periods, words) for words in _late_rises(terms, plan_change)]
    found += [(rises, words) for words in _other_ways(terms)]
    return [Caution.at(some[0][1], f"{some[0][2]} {words}") for some, words in found if some]


def _late_rises(terms: SwitchTerms, plan_change: PlanChange) -> Iterator[str]:
    if "now" in terms.upgrade and plan_change != "prorate":
        yield (
            f"is had whole for {_MINUTES} minutes' price, 1/{_SHARE:_} of 30 days', by who changes to it before its"
            " period ends, and may plan the way back, in every period: write 'plan_change: prorate', or"
            " 'switching: {upgrade: at period end}'"
        )


def _other_ways(terms: SwitchTerms) -> Iterator[str]:
    is_raised_at_once = "now" in terms.upgrade
    if "now" in terms.downgrade and terms.proration != "none":
        yield (
            f"is had whole for {_MINUTES} minutes' price, 1/{_SHARE:_} of 30 days', by who uses it as its period begins"
            " and changes back, because the rest is credited: write 'switching: {downgrade: at period end}'"
        )
    if is_raised_at_once and terms.proration == "next invoice":
        yield (
            "is used for up to a whole period before any of it is paid, and never paid by who cancels at once or"
            " whose card fails then: write 'switching: {proration: now}'"
        )
    if is_raised_at_once and terms.proration == "none":
        yield (
            "is had at the price of less in every period, because a change to it costs 0 until the period ends, and the"
            " way back can be planned for then: write 'switching: {proration: now}'"
        )


def _rises(
    plans: Iterable[PlanDraft], tiers: Mapping[str, TierDraft], add_ons: Mapping[str, AddOnDraft]
) -> Iterator[tuple[Quota, Place, str]]:
    """Quotas that a running subscription can be changed to, and what they are in words, lowest tier first."""
    ranks = {name: rank for rank, name in enumerate(tiers)}
    sold = sorted(plans, key=lambda plan: ranks[plan.tier.value])
    for plan in sold:
        name, place = plan.tier.value, plan.tier.place
        for quota in (limit for limit, _ in tiers[name].limits if isinstance(limit, Quota)):
            words = f"{limit_words(quota)!r} in tier {name!r}"
            if quota.per_seat and plan.seats is not None and plan.seats.most > plan.seats.least:
                yield quota, place, f"{words}, {quota.units * plan.seats.most:_} for {plan.seats.most:_} seats,"
            elif name != sold[0].tier.value:
                yield quota, place, words
        for add_on in plan.add_ons:
            for quota, _ in add_ons[add_on.value].limits:
                yield quota, add_on.place, f"{limit_words(quota)!r} of the add-on {add_on.value!r}"
