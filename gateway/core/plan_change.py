"""What a change of plan does to the quota of the billing period it happens in. Pure.

Policy chooses (`plan_change`); counters are kept by whoever counts, and only this says how far and from where:

| word | the quota in the window of a change | the count |
|---|---|---|
| `keep` | that of the plan in force, whole | kept |
| `prorate` | of each plan, the share of the window that it was in force | kept |
| `reset` | that of the plan in force, whole | starts at a rise to a tier higher than any before in this window |

Laws:
- it is computed from the account alone: which plans there were, and when we saw them change;
- only changes within the window count, so the next window is whole again;
- under `prorate` a rise never lowers the quota, so nobody who could call is refused for it;
- under `reset` each tier gives a fresh count once a window at most: to and fro wins nothing;
- quotas of hours and days, rates and the limits of keys are those of the plan in force, at once;
- seats and add-ons are those of now, for every plan there was: more of them count from the window's start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from gateway.core.bought import units_of_seats
from gateway.core.limits import Quota, limit_field
from gateway.core.window import quota_window

if TYPE_CHECKING:
    from gateway.core.account import Account
    from gateway.core.limits import Limit
    from gateway.core.policy import Policy, Tier


MOST_CHANGES = 8
"""So many are remembered. Of a window with more, the time before the first that is known counts as the smallest
of the plans, and no rise in it starts a count."""

Stretch: TypeAlias = tuple[int, int, str]
"""From, until, and the plan that was in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedQuota(Quota):
    """A quota in the window in which the plan changed: its units are for this window only."""

    since: int
    """Unix seconds, within the window: what was used before does not count."""


def counted_window(account: Account, now: float, quota: Quota) -> tuple[int, int]:
    """Start and end of what is counted of a quota now: its window, or what is left of it after a reset."""
    starts_at, ends_at = quota_window(account, now, quota.window_s)
    if isinstance(quota, ChangedQuota):
        starts_at = max(starts_at, quota.since)
    return starts_at, ends_at


def with_change(
    changes: tuple[tuple[int, str], ...], before: str | None, after: str | None, now: int
) -> tuple[tuple[int, str], ...]:
    """The changes of a subscription's plan with the one that is seen now, if it is one."""
    if before is None or after is None or before == after:
        return changes
    return (*changes, (now, before))[-MOST_CHANGES:]


def tier_after_changes(policy: Policy, account: Account, tier: Tier, plan_id: str, now: float) -> Tier:
    """The tier of a plan, with the quotas that it has in a window in which the plan changed."""
    starts_at, ends_at = quota_window(account, now, None)
    changes = account.subscription.plan_changes if account.subscription is not None else ()
    recent = [change for change in changes if starts_at < change[0] < ends_at]
    if not recent:
        return tier
    bounds = [starts_at, *(at for at, _ in recent), ends_at]
    plans = [*(plan for _, plan in recent), plan_id]
    stretches = [(bounds[place], bounds[place + 1], plan) for place, plan in enumerate(plans)]
    is_known = len(changes) < MOST_CHANGES or changes[0][0] <= starts_at
    seats = 1 if account.subscription is None else account.subscription.seats
    limits = tuple(_changed(limit, policy, stretches, seats, is_known=is_known) for limit in tier.limits)
    return replace(tier, limits=limits)


def _changed(limit: Limit, policy: Policy, stretches: list[Stretch], seats: int, *, is_known: bool) -> Limit:
    if not isinstance(limit, Quota) or limit.window_s is not None:
        return limit
    units, since = units_of_seats(limit, seats), stretches[0][0]
    if policy.plan_change == "prorate":
        units = _share(limit, policy, stretches, seats, is_known=is_known)
    elif policy.plan_change == "reset" and is_known:
        since = _last_rise(policy, stretches)
    return ChangedQuota(name=limit.name, meter=limit.meter, units=units, window_s=None, group=limit.group, since=since)


def _share(limit: Quota, policy: Policy, stretches: list[Stretch], seats: int, *, is_known: bool) -> int:
    units = [_units_of(plan, limit, policy, seats) for _, _, plan in stretches]
    if not is_known:
        units[0] = min(units)
    total = sum(count * (until - since) for count, (since, until, _) in zip(units, stretches, strict=True))
    return total // (stretches[-1][1] - stretches[0][0])


def _units_of(plan_id: str, limit: Quota, policy: Policy, seats: int) -> int:
    """What a plan has of the same quota; one without it, or that is not sold any more, counts as the plan in force."""
    plan = policy.find_plan(plan_id)
    for other in policy.tiers[plan.tier].limits if plan is not None else ():
        if isinstance(other, Quota) and limit_field(other) == limit_field(limit):
            return units_of_seats(other, seats)
    return units_of_seats(limit, seats)


def _last_rise(policy: Policy, stretches: list[Stretch]) -> int:
    """When the plan last rose above every tier that it had in this window before."""
    since, highest = stretches[0][0], -1
    for place, (starts_at, _, plan_id) in enumerate(stretches):
        plan = policy.find_plan(plan_id)
        rank = -1 if plan is None else policy.tiers[plan.tier].rank
        if rank > highest:
            highest = rank
            since = starts_at if place else since
    return since
