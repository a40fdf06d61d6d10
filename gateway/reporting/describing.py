"""What a window of overage is: when it ends, what it includes, and by which meter of Stripe it is billed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.access import decide_access, in_force
from gateway.core.allowance import carried_item
from gateway.core.limits import Quota
from gateway.core.window import month_window, quota_window

if TYPE_CHECKING:
    from gateway.core.account import Account
    from gateway.core.policy import Policy
    from gateway.ledger import MeteredWindowRow


def describe(window: MeteredWindowRow, policy: Policy, account: Account | None, now: int) -> MeteredWindowRow:
    """The window with its end, what it includes, and Stripe's meter: of the tier in force, else as it was known."""
    account = account and in_force(account, policy, now)
    starts_at = window.window_starts_at
    ends_at, included, stripe_meter = window.window_ends_at, window.included, window.stripe_meter
    if ends_at is None:
        ends_at = month_window(starts_at, starts_at)[1]
        if account is not None and quota_window(account, starts_at, None)[0] == starts_at:
            ends_at = quota_window(account, starts_at, None)[1]
    if account is not None and starts_at < (next_at := quota_window(account, now, None)[0]):
        ends_at = min(ends_at, next_at)  # another subscription began before this one's period was over
    access = None if account is None else decide_access(account, policy, now)
    if account is not None and access is not None and access.tier is not None and now < ends_at:
        for limit in access.tier.limits:
            if isinstance(limit, Quota) and (limit.meter, limit.window_s, limit.group) == (
                window.meter,
                None,
                None,
            ):
                included = limit.units
        for overage in access.tier.overages:
            if overage.meter == window.meter and carried_item(policy, account, access, overage) is not None:
                stripe_meter = overage.stripe_meter
    if stripe_meter is None:
        any_tier = (one for tier in policy.tiers.values() for one in tier.overages if one.meter == window.meter)
        stripe_meter = next((one.stripe_meter for one in any_tier), None)
    return replace(window, window_ends_at=ends_at, included=included or 0, stripe_meter=stripe_meter)
