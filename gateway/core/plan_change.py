"""What a change of plan, seats or add-ons does to the quota of the billing period it happens in. Pure.

Policy chooses (`plan_change`); counters are kept by whoever counts, and only this says how far and from where:

| word | the quota in the window of a change | the count |
|---|---|---|
| `keep` | that of what is in force, whole | kept |
| `prorate` | of what was in force, plan, seats and add-ons, each time's share of the window | kept |
| `reset` | that of what is in force, whole | starts at a rise to a tier higher than any before in this window |

Laws:
- it is computed from the account alone: what there was, and when it became otherwise (`core.seen_changes`);
- only changes within the window count, so the next window is whole again;
- under `prorate` the quota is the sum of what was in force, second by second, through the window's length, with what is
  in force now until the window's end; never more. So a rise never lowers it, and adds at most the rise times the
  share of the window that is left;
- under `reset` each tier gives a fresh count once a window at most: to and fro wins nothing;
- quotas of hours and days, rates and the limits of keys are those of what is in force, at once;
- a tier that is granted by hand counts as if it had been there all the window, with the seats and add-ons that there
  were, and no rise below it starts its count;
- a time without seats counts as what a customer without a subscription has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from gateway.core.bought import tier_as_bought
from gateway.core.limits import Quota, limit_field
from gateway.core.seen_changes import MOST_CHANGES
from gateway.core.window import quota_window

if TYPE_CHECKING:
    from gateway.core.account import Account, Subscription
    from gateway.core.limits import Limit
    from gateway.core.policy import Policy, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedQuota(Quota):
    """A quota in the window in which the plan changed: its units are for this window only."""

    since: int
    """Unix seconds, within the window: what was used before does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """A part of a window in which nothing changed."""

    starts_at: int
    ends_at: int
    held: Subscription
    """As it was: its plan, seats and add-ons."""
    tier: Tier | None = None
    """What that came to; None: no access."""


def counted_window(account: Account, now: float, quota: Quota) -> tuple[int, int]:
    """Start and end of what is counted of a quota now: its window, or what is left of it after a reset."""
    starts_at, ends_at = quota_window(account, now, quota.window_s)
    if isinstance(quota, ChangedQuota):
        starts_at = max(starts_at, quota.since)
    return starts_at, ends_at


def tier_after_changes(policy: Policy, account: Account, tier: Tier, plan_id: str, now: float) -> Tier:
    """A tier as it was bought, with the quotas that it has in a window in which something changed.

    Args:
        policy: Its `plan_change`.
        account: Whose subscription has the plan.
        tier: What the plan grants, or what was granted by hand above it; before seats and add-ons.
        plan_id: Of the plan that is in force.
        now: Unix seconds.
    """
    subscription = account.subscription
    if subscription is None:
        return tier
    bought = tier_as_bought(tier, subscription, policy)
    if policy.plan_change == "keep" or not (subscription.plan_changes or subscription.extras_changes):
        return bought
    window = quota_window(account, now, None)
    if policy.plan_change == "reset":
        current = policy.find_plan(plan_id)
        is_granted = current is not None and current.tier != tier.name
        return bought if is_granted else _counted_since(bought, _last_rise(policy, subscription, plan_id, window))
    held = _held(subscription, plan_id, window)
    if len(held) == 1:
        return bought
    granted = _granted(policy, account, now)
    stretches = [replace(one, tier=_tier_of(one.held, tier, granted, policy)) for one in held]
    return _shared(bought, stretches)


def _held(subscription: Subscription, plan_id: str, window: tuple[int, int]) -> list[_Stretch]:
    """The parts of a window in which nothing changed, in order, without their tiers."""
    starts_at, ends_at = window
    plans = _plans_within(subscription, window)
    extras = [change for change in subscription.extras_changes if starts_at < change.at < ends_at]
    bounds = sorted({starts_at, *(at for at, _ in plans), *(change.at for change in extras), ends_at})
    found: list[_Stretch] = []
    for since, until in pairwise(bounds):
        plan = next((before for at, before in plans if at > since), plan_id)
        beside = next((change for change in extras if change.at > since), subscription)
        held = replace(subscription, plan_id=plan, seats=beside.seats, add_ons=beside.add_ons)
        found.append(_Stretch(starts_at=since, ends_at=until, held=held))
    return found


def _plans_within(subscription: Subscription, window: tuple[int, int]) -> list[tuple[int, str]]:
    starts_at, ends_at = window
    return [change for change in subscription.plan_changes if starts_at < change[0] < ends_at]


def _granted(policy: Policy, account: Account, now: float) -> Tier | None:
    grant = account.tier_grant
    return policy.tiers.get(grant.tier) if grant is not None and now < grant.ends_at else None


def _tier_of(held: Subscription, tier: Tier, granted: Tier | None, policy: Policy) -> Tier | None:
    """What somebody had who held this. A plan that is not sold any more counts as the one in force."""
    plan = policy.find_plan(held.plan_id or "")
    had = tier if plan is None else policy.tiers[plan.tier]
    if granted is not None and granted.rank > had.rank:
        return tier_as_bought(granted, held, policy)
    if held.seats < 1:
        then = policy.lifecycle["none"].then
        return None if then is None else policy.tiers[then]
    return tier_as_bought(had, held, policy)


def _shared(tier: Tier, stretches: list[_Stretch]) -> Tier:
    starts_at, ends_at = stretches[0].starts_at, stretches[-1].ends_at
    changed: list[Limit] = []
    for limit in tier.limits:
        if isinstance(limit, Quota) and limit.window_s is None:
            total = sum(_units_of(limit, one) * (one.ends_at - one.starts_at) for one in stretches)
            changed.append(_of_this_window(limit, total // (ends_at - starts_at), starts_at))
        else:
            changed.append(limit)
    return replace(tier, limits=tuple(changed))


def _of_this_window(limit: Quota, units: int, since: int) -> ChangedQuota:
    return ChangedQuota(name=limit.name, meter=limit.meter, units=units, window_s=None, group=limit.group, since=since)


def _units_of(limit: Quota, stretch: _Stretch) -> int:
    """What there was of the same quota. A tier without it is not bounded by it, and counts as the one in force."""
    if stretch.tier is None:
        return 0
    field = limit_field(limit)
    same = (one for one in stretch.tier.limits if isinstance(one, Quota) and limit_field(one) == field)
    return next((one.units for one in same), limit.units)


def _counted_since(tier: Tier, since: int | None) -> Tier:
    if since is None:
        return tier
    limits = tuple(
        _of_this_window(limit, limit.units, since) if isinstance(limit, Quota) and limit.window_s is None else limit
        for limit in tier.limits
    )
    return replace(tier, limits=limits)


def _last_rise(policy: Policy, subscription: Subscription, plan_id: str, window: tuple[int, int]) -> int | None:
    """When the plan last rose above every tier that it had in this window before, if only for a moment.

    None: no change of the plan was in this window. Its start, where more were in it than are remembered.
    """
    starts_at, _ = window
    changes, recent = subscription.plan_changes, _plans_within(subscription, window)
    if not recent:
        return None
    if len(changes) >= MOST_CHANGES and changes[0][0] > starts_at:
        return starts_at
    instants = [starts_at, *(at for at, _ in recent)]
    since, highest = starts_at, -1
    for place, plan_of_then in enumerate([*(before for _, before in recent), plan_id]):
        plan = policy.find_plan(plan_of_then)
        rank = -1 if plan is None else policy.tiers[plan.tier].rank
        if rank > highest:
            highest = rank
            since = instants[place] if place else since
    return since
