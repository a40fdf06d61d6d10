"""What must be true of overages beside the rest of a policy: quotas, meters, prices and plans that fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.limits import Quota

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from gateway.core.overage import PriceName
    from gateway.policyfiles.add_ons import AddOnDraft
    from gateway.policyfiles.faults import FaultLog, Place
    from gateway.policyfiles.overages import OverageDraft
    from gateway.policyfiles.plans import PlanDraft
    from gateway.policyfiles.tiers import TierDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sold:
    """What has prices that are paid for having it, and not for using it."""

    plans: tuple[PlanDraft, ...]
    add_ons: tuple[AddOnDraft, ...]


def check_overages(
    tiers: dict[str, TierDraft],
    plans: Iterable[PlanDraft],
    add_ons: Iterable[AddOnDraft],
    meters: Collection[str],
    faults: FaultLog,
) -> None:
    """Each is of a quota of the billing period, is counted by a meter of its own in Stripe, and has a price of its own.

    One meter of Stripe may count the same meter in several tiers, and never two meters of ours: it would add apples
    to pears. So may a price, which bills one meter.
    """
    sold = _Sold(plans=tuple(plans), add_ons=tuple(add_ons))
    counts: dict[str, OverageDraft] = {}
    for tier in tiers.values():
        seen: dict[str, OverageDraft] = {}
        for draft in tier.overages:
            _check_quota(tier, draft, meters, faults)
            first = seen.setdefault(draft.meter_name, draft)
            if first is not draft:
                message = f"tier {tier.name.value!r} has two overages of {draft.meter_name!r}: first at {first.place}"
                faults.add(draft.place, message)
            _check_meter(draft, counts, faults)
            _check_price(draft, sold, faults)
    for plan in sold.plans:
        if plan.tier.value in tiers:
            _check_plan(plan, tiers[plan.tier.value], sold, faults)
    _check_bills_one(_prices(tiers, sold.plans), faults)


def overage_prices(plan: PlanDraft, tier: TierDraft) -> tuple[tuple[str, PriceName], ...]:
    """The prices that a checked plan names, by meter."""
    return tuple(
        (tier.overages[0].meter_name if one.meter is None else one.meter.value, one.price)
        for one in plan.overage_prices
    )


def _check_quota(tier: TierDraft, draft: OverageDraft, meters: Collection[str], faults: FaultLog) -> None:
    name, what = draft.meter_name, f"the overage of tier {tier.name.value!r}"
    place = draft.place if draft.meter is None else draft.meter.place
    if name not in meters:
        known = ", ".join(sorted(meters))
        faults.add_unknown(
            place, f"{what} is of a meter that is not there: {name[:40]!r} (there are: {known})", name, meters
        )
        return
    quotas = [
        limit
        for limit, _ in tier.limits
        if isinstance(limit, Quota) and limit.window_s is None and limit.group is None and limit.meter == name
    ]
    if not quotas:
        with_quota = [
            limit.meter
            for limit, _ in tier.limits
            if isinstance(limit, Quota) and limit.window_s is None and limit.group is None
        ]
        faults.add_unknown(
            place,
            f"{what} needs a quota that it exceeds: write '10_000 {name} per billing period' among its limits;"
            " quotas of hours, days and groups of routes have no overage",
            name,
            with_quota,
        )
    elif draft.overage is not None and draft.overage.cap_percent is not None and not quotas[0].units:
        faults.add(draft.place, f"{what} has a cap of so many times nothing: write it in units")


def _check_meter(draft: OverageDraft, counts: dict[str, OverageDraft], faults: FaultLog) -> None:
    if draft.stripe_meter is None:
        return
    first = counts.setdefault(draft.stripe_meter.value.strip(), draft)
    if first.meter_name != draft.meter_name:
        faults.add(
            draft.stripe_meter.place,
            f"Stripe's meter {draft.stripe_meter.value.strip()!r} counts {first.meter_name!r} already ({first.place}):"
            f" {draft.meter_name!r} needs one of its own",
        )


def _check_price(draft: OverageDraft, sold: _Sold, faults: FaultLog) -> None:
    if draft.price is not None and draft.overage is not None:
        _check_not_sold(draft.price.place, draft.overage.price, sold, faults)


def _prices(tiers: dict[str, TierDraft], plans: Iterable[PlanDraft]) -> Iterator[tuple[Place, PriceName, str]]:
    """Each price of overage with the meter of ours that it bills."""
    for tier in tiers.values():
        for draft in tier.overages:
            if draft.price is not None and draft.overage is not None:
                yield draft.price.place, draft.overage.price, draft.meter_name
    for plan in plans:
        have = tiers[plan.tier.value].overages if plan.tier.value in tiers else ()
        for one in plan.overage_prices:
            if one.meter is not None or have:
                yield one.text.place, one.price, have[0].meter_name if one.meter is None else one.meter.value


def _check_bills_one(prices: Iterable[tuple[Place, PriceName, str]], faults: FaultLog) -> None:
    bills: dict[PriceName, tuple[str, Place]] = {}
    for place, price, meter in prices:
        first, where = bills.setdefault(price, (meter, place))
        if first != meter:
            name = price.price_id or f"lookup_key {price.lookup_key}"
            faults.add(place, f"the price {name!r} bills {first!r} already ({where}): {meter!r} needs one of its own")


def _check_plan(plan: PlanDraft, tier: TierDraft, sold: _Sold, faults: FaultLog) -> None:
    what, have = f"plan {plan.name.value!r}", [draft.meter_name for draft in tier.overages]
    for one in plan.overage_prices:
        place = one.text.place if one.meter is None else one.meter.place
        if not have:
            faults.add(place, f"{what} has an 'overage_price', and its tier {tier.name.value!r} has no 'overage'")
        elif one.meter is None and len(have) > 1:
            faults.add(place, f"{what} must say of which meter: 'overage_price: {{{have[0]}: lookup_key ...}}'")
        elif one.meter is not None and one.meter.value not in have:
            message = f"tier {tier.name.value!r} has no overage of {one.meter.value[:40]!r}"
            faults.add_unknown(place, message, one.meter.value, have)
        _check_not_sold(one.text.place, one.price, sold, faults)


def _check_not_sold(place: Place, price: PriceName, sold: _Sold, faults: FaultLog) -> None:
    for kind, drafts in (("plan", sold.plans), ("add-on", sold.add_ons)):
        for draft in drafts:
            if (draft.price_id, draft.lookup_key) == (price.price_id, price.lookup_key):
                whose = f"{kind} {draft.name.value!r}"
                faults.add(place, f"the price of overage is that of {whose}: a metered price is another one")
