"""How far a customer exceeds its quotas, for people to look at. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.allowance import Bound, carried_item, find_allowance, prices_now
from gateway.core.limits import Quota
from gateway.core.overage import overage_field
from gateway.core.spending import most_charged
from gateway.core.window import quota_window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.access_value import Access
    from gateway.core.account import Account
    from gateway.core.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class OverageUsage:
    """How far a quota of the billing period may be exceeded, and how far it is."""

    name: str
    """As in the RateLimit fields."""
    meter: str
    included: int
    """Units of the quota that may be exceeded."""
    allowed: int
    """Units beyond it, by the lowest of all caps; what is included and this are the ceiling."""
    used: int
    """Units beyond it that were used in this billing period: what is billed."""
    bound: Bound
    """Whose cap is the lowest."""
    words: str
    """That cap, for people."""
    cost: int | None
    """The most that the units used can cost, in the currency's smallest unit; None: the price cannot be read."""
    currency: str | None
    window_starts_at: int
    window_ends_at: int

    @property
    def left(self) -> int:
        """Units of it that may still be used."""
        return max(0, self.allowed - self.used)


def list_overages(
    account: Account, access: Access, policy: Policy, counters: Mapping[str, tuple[int, int]], now: float
) -> tuple[OverageUsage, ...]:
    """The overage of every quota that may be exceeded now; `counters`: window and units by name of the counter."""
    listed = []
    for limit in access.tier.limits if access.tier is not None and access.tier.overages else ():
        allowance = find_allowance(policy, account, access, limit, now)
        item = None if allowance is None else carried_item(policy, account, access, allowance.overage)
        if allowance is None or item is None or not isinstance(limit, Quota):
            continue
        starts_at, ends_at = quota_window(account, now, None)
        counted_at, counted = counters.get(overage_field(limit.meter), (0, 0))
        used = counted if counted_at >= starts_at else 0
        listed.append(
            OverageUsage(
                name=f"{limit.name}-overage",
                meter=limit.meter,
                included=limit.units,
                allowed=allowance.units,
                used=used,
                bound=allowance.bound,
                words=allowance.words,
                cost=most_charged(prices_now(policy, account, item, limit.meter, now), used),
                currency=None if item.tariff is None else item.tariff.currency,
                window_starts_at=starts_at,
                window_ends_at=ends_at,
            )
        )
    return tuple(listed)
