"""What a call would spend if it is let through: the limits that apply to it, each with its claim.

What a repeat of the call takes, and what it cost in the end, is worked out on the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.core.access_value import Access
from gateway.core.account import KeyRecord
from gateway.core.allowance import Allowance
from gateway.core.charge import Claim, QuotaClaim
from gateway.core.policy import Tier
from gateway.core.route import Route

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLimit:
    """One limit that applies to a request, with the claim on it."""

    name: str
    quota: int
    """The most that can be left: a quota's units with the credits behind it, a rate's burst, or calls at once."""
    window_s: int
    """How long that takes to come back: a quota's window, or the time in which a rate's burst refills, rounded up.
    0 for calls at once: they have no window."""
    meter: str
    claim: Claim
    of_key: bool
    """The key's own, besides the customer's."""
    credits: tuple[QuotaClaim, ...] = ()
    """What covers the rest of the cost when the quota is used up; with `claim`, a chain. Overage is its last."""
    lives_on_credits: bool = False
    """It is a quota of nothing that credits extend: a cost that it cannot cover now waits for credits."""
    is_passing: bool = False
    """A change of plan gave it its size, or one of its price that of its overage, for this window only: a larger cost
    waits for the next."""
    allowance: Allowance | None = None
    """How far it may be exceeded; None: it is a plain limit."""

    @property
    def has_overage(self) -> bool:
        """Whether the last of `credits` is overage."""
        return self.allowance is not None and self.allowance.units > 0

    @property
    def overage_units(self) -> int:
        """How many units of overage are allowed in all, in this billing period."""
        return 0 if self.allowance is None else self.allowance.units


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request that policy permits if the limits can pay for it."""

    access: Access
    tier: Tier
    key: KeyRecord
    route: Route
    limits: tuple[PlannedLimit, ...]
    live: tuple[str, ...] = ()
    """Fields of the limits on calls at once: where the call takes a place, to be given back at its end."""
    until: int | None = None
    """Unix seconds at which another plan would be made although nothing it shows ends then; None: never."""

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims of all limits, in order."""
        return tuple(claim for limit in self.limits for claim in (limit.claim, *limit.credits))

    @property
    def heads(self) -> tuple[Claim, ...]:
        """One claim of each limit, without the credits behind it."""
        return tuple(limit.claim for limit in self.limits)

    @property
    def costs(self) -> tuple[int, ...]:
        """What each of `claims` takes as long as no credits are asked."""
        return tuple(cost for limit in self.limits for cost in (limit.claim.cost, *(0 for _ in limit.credits)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """What a call cost more than it had taken of a limit with credits or overage behind it.

    The chain pays for it as for a charge: each link in its order, up to its limit. What none of them covers counts
    in the first, above its limit: overage stays within its cap, and a grant within its size.
    """

    units: int
    chain: tuple[QuotaClaim, ...]
    part: int
    """Which of the receipt's parts is the limit's last."""


def unpaid(plan: Plan) -> Plan:
    """The plan of a repeat: quotas are paid for; rates and calls at once count it, for it is forwarded.

    Source: docs/decisions/0008.
    """
    limits = tuple(
        replace(
            limit,
            claim=replace(limit.claim, cost=0),
            credits=tuple(replace(claim, cost=0) for claim in limit.credits),
        )
        if isinstance(limit.claim, QuotaClaim)
        else limit
        for limit in plan.limits
    )
    return replace(plan, limits=limits)


def real_costs(plan: Plan, taken: tuple[int, ...], told: Mapping[str, int]) -> tuple[list[int], tuple[Surplus, ...]]:
    """What a call cost in the end, for each claim of a quota that took units, and what is to be taken more of chains.

    Of a quota with credits behind it, what was taken last is given back first.

    Args:
        plan: Of the call.
        taken: Of each of its claims, what it took.
        told: Units by meter. In a meter that is not there it cost what was charged.
    """
    real: list[int] = []
    surpluses: list[Surplus] = []
    at = 0
    for limit in plan.limits:
        end = at + 1 + len(limit.credits)
        took = [units for units in taken[at:end] if units]
        at = end
        if not took or not isinstance(limit.claim, QuotaClaim):
            continue
        rest = told.get(limit.meter, limit.claim.cost)
        if not limit.credits:
            real.append(rest)
            continue
        for units in took:
            real.append(min(units, rest))
            rest -= real[-1]
        if rest:
            surpluses.append(Surplus(units=rest, chain=(limit.claim, *limit.credits), part=len(real) - 1))
    return real, tuple(surpluses)
