"""What a caller is told when the limits cannot pay for its call. Pure.

A refusal that names a wait is true: who waits so long is let in, if nobody else of the same customer spends
meanwhile. So a call that no wait lets in is told that, and what helps.
"""

from __future__ import annotations

from math import inf

from gateway.core.allowance import Allowance
from gateway.core.charge import Claim, ConcurrencyClaim, LimitState, QuotaClaim, RateClaim
from gateway.core.errors import (
    ChargeDenied,
    CostAboveLimit,
    OverageCapReached,
    QuotaExceeded,
    RateLimited,
    TooManyConcurrent,
)
from gateway.core.planned import Plan, PlannedLimit
from gateway.core.ratelimit_fields import seconds_up

_LONGEST_WAIT_FIRST: tuple[type[Claim], ...] = (QuotaClaim, RateClaim, ConcurrencyClaim)


def charge_denied(plan: Plan, states: tuple[LimitState, ...]) -> ChargeDenied | CostAboveLimit:
    """The error for a refused charge. A quota is reported before a rate, and a rate before calls at once: by the wait.

    Retry-After is the longest wait among the limits that said no. Where no wait is long enough, nobody is told to wait.
    """
    refused = [(limit, state) for limit, state in zip(plan.limits, states, strict=True) if not state.allowed]
    for limit, state in refused:
        if limit.claim.cost > (most := _most_after_reset(limit, state)):
            return _never_covered(limit, int(most))
    names = tuple(limit.name for limit, _ in refused)
    wait_s = max(1, *(seconds_up(state.reset_ms) for _, state in refused))
    first = min((limit for limit, _ in refused), key=lambda limit: _LONGEST_WAIT_FIRST.index(type(limit.claim)))
    if first.allowance is not None:
        return _cap_reached(first, first.allowance, wait_s, names)
    if isinstance(first.claim, QuotaClaim):
        return QuotaExceeded(
            f"The {first.name!r} quota of {first.quota:,} units{', credits included,' if first.credits else ''} cannot"
            f" cover this call's {first.claim.cost}.",
            retry_after_s=wait_s,
            violated=names,
            of_key=first.of_key,
        )
    if isinstance(first.claim, ConcurrencyClaim):
        whose = "key" if first.of_key else "account"
        return TooManyConcurrent(
            f"This {whose} has {first.quota:,} calls in progress, the most that its {first.name!r} limit allows at"
            " once. Wait for one of them to end.",
            retry_after_s=wait_s,
            violated=names,
            of_key=first.of_key,
        )
    pace = first.claim
    return RateLimited(
        f"Faster than the {first.name!r} pace: {pace.units:,} units per {pace.window_ms / 1000:g} s in the long run, "
        f"{pace.burst:,} at once. Wait {wait_s} s.",
        retry_after_s=wait_s,
        violated=names,
        of_key=first.of_key,
    )


def _most_after_reset(limit: PlannedLimit, state: LimitState) -> float:
    """What a quota, with what is left behind it, could cover in its next window. Infinite: that is not known."""
    if (
        state.outlasting is None
        or limit.lives_on_credits
        or limit.is_passing
        or not isinstance(limit.claim, QuotaClaim)
    ):
        return inf
    return limit.claim.limit + state.outlasting + limit.overage_units


def _never_covered(limit: PlannedLimit, most: int) -> CostAboveLimit:
    beyond = "credits" if limit.allowance is None else "credits and overage"
    return CostAboveLimit(
        f"This call costs {limit.claim.cost:,}. With what is left of its {beyond}, the {limit.name!r} quota can cover"
        f" {most:,}, also in its next window. Ask for less in one call, or get more credits."
    )


def _cap_reached(limit: PlannedLimit, allowance: Allowance, wait_s: int, names: tuple[str, ...]) -> OverageCapReached:
    """Says whose cap it is, and what moves it."""
    helps = "A spend cap is raised on the account page, or with PUT on 'spend-cap' of the billing API."
    if allowance.bound != "spend-cap":
        helps = "Another plan may have more; so does the next window."
    return OverageCapReached(
        f"What the {limit.name!r} quota includes is used up, and beyond it {allowance.words} allows {allowance.units:,}"
        f" units, which cannot cover this call's {limit.claim.cost}. {helps}",
        retry_after_s=wait_s,
        violated=names,
        of_key=False,
    )
