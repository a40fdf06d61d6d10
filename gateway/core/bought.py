"""A tier as one customer has bought it: its limits per seat times the seats, with what add-ons add. Pure.

Laws:
- limits keep their counters (`core.limits.limit_field`), so another number of seats, or an add-on,
  moves the limit and keeps the count;
- an add-on adds units to a quota that the tier has, never a limit of its own, and features;
- a tier without limits per seat, bought without add-ons, is the policy's own object.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.limit_text import EXACT_BELOW
from gateway.core.limits import Concurrency, Quota, limit_field

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.limits import Limit
    from gateway.core.policy import Policy, Tier


def tier_as_bought(tier: Tier, subscription: Subscription, policy: Policy) -> Tier:
    """The tier with the seats and add-ons of a subscription.

    Args:
        tier: That its plan grants; what a change of plan left of its quotas included.
        subscription: Whose. An add-on that policy does not know adds nothing.
        policy: Its add-ons.
    """
    if tier.is_per_seat:
        tier = replace(tier, limits=tuple(of_seats(limit, subscription.seats) for limit in tier.limits))
    more, features = _added(subscription, policy)
    if more:
        tier = replace(tier, limits=tuple(_raised(limit, more.get(limit_field(limit), 0)) for limit in tier.limits))
    return tier if features <= tier.features else replace(tier, features=tier.features | features)


def of_seats(limit: Limit, seats: int) -> Limit:
    """What a limit per seat comes to; any other stays as it is.

    No seats make a quota of nothing. A pace cannot be nothing: it stays that of one seat. Both stop where they
    could not be counted exactly.
    """
    if isinstance(limit, Concurrency) or not limit.per_seat:
        return limit
    if isinstance(limit, Quota):
        return replace(limit, units=units_of_seats(limit, seats), per_seat=False)
    times = max(1, min(seats, (EXACT_BELOW - 1) // (limit.burst * limit.window_ms)))
    return replace(limit, units=limit.units * times, burst=limit.burst * times, per_seat=False)


def units_of_seats(quota: Quota, seats: int) -> int:
    """The units of a quota for so many seats."""
    return min(quota.units * seats, EXACT_BELOW - 1) if quota.per_seat else quota.units


def _added(subscription: Subscription, policy: Policy) -> tuple[dict[str, int], frozenset[str]]:
    """Units by counter, and features."""
    units: dict[str, int] = {}
    features: frozenset[str] = frozenset()
    for name, count in subscription.add_ons:
        add_on = policy.add_ons.get(name)
        if add_on is None:
            continue
        features |= add_on.features
        for quota in add_on.limits:
            field = limit_field(quota)
            units[field] = units.get(field, 0) + quota.units * count
    return units, features


def _raised(limit: Limit, units: int) -> Limit:
    if not units or not isinstance(limit, Quota):
        return limit
    return replace(limit, units=min(limit.units + units, EXACT_BELOW - 1))
