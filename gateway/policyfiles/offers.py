"""What only shows when plans, tiers and add-ons are together: what is bought must be countable and add something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.limit_text import EXACT_BELOW, limit_words
from gateway.core.limits import Concurrency, Quota, Rate, limit_field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.limits import Limit
    from gateway.policyfiles.add_ons import AddOnDraft
    from gateway.policyfiles.document import Text
    from gateway.policyfiles.faults import FaultLog
    from gateway.policyfiles.plans import PlanDraft
    from gateway.policyfiles.tiers import TierDraft


def check_offers(
    plans: Iterable[PlanDraft], tiers: dict[str, TierDraft], add_ons: dict[str, AddOnDraft], faults: FaultLog
) -> None:
    """Seats and add-ons of every plan."""
    for plan in plans:
        tier = tiers.get(plan.tier.value)
        if tier is None:
            continue
        _check_seats(plan, tier, faults)
        for name in plan.add_ons:
            add_on = add_ons.get(name.value)
            if add_on is None:
                message = f"there is no add-on {name.value[:40]!r} in 'add_ons'"
                faults.add_unknown(name.place, message, name.value, add_ons)
            else:
                _check_add_on(plan, name, add_on, tier, faults)


def _check_seats(plan: PlanDraft, tier: TierDraft, faults: FaultLog) -> None:
    """As many seats as are sold must be countable."""
    if plan.seats is None or plan.seats_place is None:
        return
    for limit, place in tier.limits:
        if isinstance(limit, Concurrency) or not limit.per_seat:
            continue
        most = (EXACT_BELOW - 1) // max(1, _size(limit))
        if plan.seats.most > most:
            faults.add(
                plan.seats_place,
                f"{limit_words(limit)!r} ({place}) cannot be counted exactly for so many seats: at most {most:_}",
            )


def _size(limit: Rate | Quota) -> int:
    return limit.units if isinstance(limit, Quota) else limit.burst * limit.window_ms


def _check_add_on(plan: PlanDraft, name: Text, add_on: AddOnDraft, tier: TierDraft, faults: FaultLog) -> None:
    """What it adds to must be there: a tier without the quota has no limit to raise, or nothing to sell."""
    counted: dict[str, Limit] = {limit_field(limit): limit for limit, _ in tier.limits}
    for quota, place in add_on.limits:
        if limit_field(quota) not in counted:
            faults.add(
                name.place,
                f"add-on {name.value!r} adds {limit_words(quota)!r} ({place}), and tier {tier.name.value!r} of plan"
                f" {plan.name.value!r} has no such quota: give the tier one (it may be of 0), or leave the add-on out",
            )
