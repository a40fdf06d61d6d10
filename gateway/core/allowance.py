"""Overage: units beyond the quota of a billing period, which are billed at a metered price of Stripe. Pure.

Laws:
- they are counted by a counter of their own, which stands at the end of a chain: a call's cost is covered by what is
  included first, by credits then, which are paid for already, and by overage last; together they cover it, or
  nothing is spent. So the counter *is* the number of units to bill: nothing is subtracted to find it;
- therefore a change of plan bills nobody for units that were included when they were used: a rise gives room in what
  is included again, and overage goes on where it stood; after a fall, only what is used from then on is overage;
- overage counts in the billing period, also where a change of plan restarted the count of what is included: so a cap
  holds for the period;
- only who bought it may have it: the subscription is active with a plan of the tier, nothing else is true of it,
  and it carries the metered item. Without all of that the plain quota holds;
- of all caps the lowest holds. One that cannot be worked out is 0. Where the price changed in the window, a spend cap
  holds for what was billed before and after together (`core.spending`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.charge import QuotaClaim
from gateway.core.limits import Quota
from gateway.core.metered_items import find_metered, tariffs_of
from gateway.core.money import money_text
from gateway.core.overage import overage_field
from gateway.core.spending import units_at_all
from gateway.core.tariff import MOST_UNITS
from gateway.core.window import quota_window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.access_value import Access
    from gateway.core.account import Account, MeteredItem, SpendCap
    from gateway.core.limits import Limit
    from gateway.core.overage import Overage
    from gateway.core.policy import Policy
    from gateway.core.tariff import Tariff

_BESIDE_OVERAGE = frozenset({"pending_update"})
"""What may be true of a subscription beside its status, and it still has overage: the old plan is paid for."""

Bound: TypeAlias = Literal["none", "policy", "spend-cap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How far a customer may exceed one quota."""

    overage: Overage
    units: int
    """Beyond what is included, in this billing period. 0: not at all, and `bound` says who wants that."""
    bound: Bound
    """Whose cap is the lowest."""
    words: str
    """The cap for people: `the spend cap of 50.00 USD`."""
    is_passing: bool = False
    """The price changed in this window, so the next may allow more."""


def find_allowance(policy: Policy, account: Account, access: Access, limit: Limit, now: float) -> Allowance | None:
    """How far a limit of the tier that `access` grants may be exceeded; None: it is a plain limit.

    Args:
        policy: That granted the access.
        account: Of the customer.
        access: With the tier that `limit` is of, as it is in this window.
        limit: Any.
        now: Unix seconds.
    """
    if access.tier is None or not isinstance(limit, Quota) or limit.window_s is not None or limit.group is not None:
        return None
    overage = next((each for each in access.tier.overages if each.meter == limit.meter), None)
    item = None if overage is None else carried_item(policy, account, access, overage)
    if overage is None or item is None:
        return None
    prices = prices_now(policy, account, item, limit.meter, now)
    return replace(_lowest(overage, prices, limit.units, find_cap(account, overage)), is_passing=len(prices) > 1)


def carried_item(policy: Policy, account: Account, access: Access, overage: Overage) -> MeteredItem | None:
    """The item at whose price overage is billed; None: it is not bought, or not in good standing."""
    subscription = account.subscription
    if subscription is None or access.standing != "good" or subscription.status != "active":
        return None
    plan = policy.find_plan(access.plan_id)
    if plan is None or access.tier is None or access.tier.name != plan.tier:  # it was granted by hand: not sold
        return None
    if any(flag not in _BESIDE_OVERAGE for flag, _ in subscription.flags):
        return None
    price = dict(plan.overage_prices).get(overage.meter, overage.price)
    return find_metered(subscription.metered, price)


def prices_now(
    policy: Policy, account: Account, item: MeteredItem, meter: str, now: float
) -> tuple[Tariff | None, ...]:
    """What is asked for overage in this window: by the item that there is, and by those before it."""
    known = () if account.subscription is None else account.subscription.metered
    if all(one.gone_at is None for one in known):
        return (item.tariff,)
    return tariffs_of(policy, known, item, meter, quota_window(account, now, None)[0])


def find_cap(account: Account, overage: Overage) -> SpendCap | None:
    """The customer's own cap; None: it set none."""
    return next((cap for cap in account.spend_caps if cap.meter == overage.meter), None)


def _lowest(overage: Overage, prices: Sequence[Tariff | None], included: int, own: SpendCap | None) -> Allowance:
    units, bound, words = MOST_UNITS - included, "none", "what can be counted"
    if overage.cap_units is not None:
        units, bound, words = min(units, overage.cap_units), "policy", f"the plan's cap of {overage.cap_units:,} units"
    elif overage.cap_percent is not None:
        most = included * overage.cap_percent // 100
        units, bound = min(units, max(0, most - included)), "policy"
        words = f"the plan's cap of {overage.cap_percent / 100:g} times what is included"
    spend = overage.spend_cap if own is None else (own.amount, own.currency)
    if spend is not None and (bought := units_at_all(prices, *spend)) <= units:
        units, bound, words = bought, "spend-cap", f"the spend cap of {money_text(*spend)}{_unlike(spend[1], prices)}"
    return Allowance(overage=overage, units=units, bound=bound, words=words)  # type: ignore[arg-type]  # words of Bound


def _unlike(currency: str, prices: Sequence[Tariff | None]) -> str:
    """That what is billed cannot be held against a cap, because it is in another currency; else nothing."""
    others = sorted({one.currency for one in prices if one is not None} - {currency})
    return f", while this overage is billed in {' and '.join(others).upper()}," if others else ""


def overage_words(meter: str, allowance: Allowance) -> str:
    """What a caller is told in overage: plain ASCII without quotes or line ends."""
    upto = "" if allowance.bound == "none" else f", up to {allowance.words}"
    return f"What the plan includes of {meter} is used up in this billing period. What is used beyond is billed{upto}."


def with_overage(
    behind: tuple[QuotaClaim, ...], allowance: Allowance | None, account: Account, cost: int, now: float
) -> tuple[QuotaClaim, ...]:
    """What stands behind a quota, with overage at its end.

    Args:
        behind: The credits, a chain's end.
        allowance: Of the quota. None, or of no units: nothing is added.
        account: Whose billing period it is.
        cost: Units of the quota's meter, >= 1.
        now: Unix seconds.
    """
    if allowance is None or allowance.units <= 0:
        return behind
    starts_at, ends_at = quota_window(account, now, None)
    claim = QuotaClaim(
        field=overage_field(allowance.overage.meter),
        cost=cost,
        limit=allowance.units,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    return (*behind[:-1], replace(behind[-1], passes_on=True), claim) if behind else (claim,)
