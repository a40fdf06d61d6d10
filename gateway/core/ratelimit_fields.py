"""The `RateLimit` and `RateLimit-Policy` response fields, several limits in one response.

Syntax: structured fields (RFC 9651) as in draft-ietf-httpapi-ratelimit-headers-10:
`RateLimit-Policy: "minute";q=1000;w=60` and `RateLimit: "minute";r=12;t=3`. Times are whole
seconds, rounded up, so that who waits `t` is never too early. Calls at once are counted in the
draft's own unit for them, and have neither window nor reset, which it lets be left out:
`"concurrent";q=20;qu="concurrent-requests"` and `"concurrent";r=7`. A quota that may be exceeded is
two policies: what is included, and, with `-overage` behind its name, what may be billed beyond it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.charge import ConcurrencyClaim, QuotaClaim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.charge import LimitState
    from gateway.core.planned import PlannedLimit


def seconds_up(milliseconds: int) -> int:
    """Whole seconds, rounded up."""
    return -(-milliseconds // 1000)


def policy_field(limits: Sequence[PlannedLimit]) -> bytes:
    """Value of `RateLimit-Policy`: what is promised."""
    return ", ".join(_promise(limit) for limit in limits).encode()


def state_field(limits: Sequence[PlannedLimit], states: Sequence[LimitState], *, given_back: bool) -> bytes:
    """Value of `RateLimit`: what is left and when more comes.

    Args:
        limits: The limits, in the order of `states`.
        states: The answer of the charge.
        given_back: The request will not be billed: show what is left of quotas after its refund.
    """
    parts = []
    for limit, state in zip(limits, states, strict=True):
        left = state.remaining
        if given_back and isinstance(limit.claim, QuotaClaim):
            left = min(left + limit.claim.cost, limit.quota)
        reset = "" if isinstance(limit.claim, ConcurrencyClaim) else f";t={seconds_up(state.reset_ms)}"
        if limit.has_overage:
            change = left - state.remaining
            included, beyond = shifted(limit, state.remaining - state.last, state.last, change)
            parts.append(f'"{limit.name}";r={included}{reset}, "{overage_name(limit)}";r={beyond}{reset}')
            continue
        parts.append(f'"{limit.name}";r={left}{reset}')
    return ", ".join(parts).encode()


def overage_name(limit: PlannedLimit) -> str:
    """What the fields call the overage of a limit."""
    return f"{limit.name}-overage"


def shifted(limit: PlannedLimit, included: int, beyond: int, change: int) -> tuple[int, int]:
    """What is left of a limit with overage, and of its overage, when a call gives units back or takes more.

    Args:
        limit: With overage.
        included: Left of what is included, credits with it.
        beyond: Left of the overage.
        change: Units that come back; below 0: that are taken besides. What was taken last moves first.
    """
    moved = max(0, min(limit.overage_units, beyond + change)) if included == 0 else beyond
    return max(0, min(limit.quota, included + beyond + change) - moved), moved


def _promise(limit: PlannedLimit) -> str:
    if isinstance(limit.claim, ConcurrencyClaim):
        return f'"{limit.name}";q={limit.quota};qu="concurrent-requests"'
    if limit.has_overage:
        included, window = limit.quota - limit.overage_units, f";w={limit.window_s}"
        return f'"{limit.name}";q={included}{window}, "{overage_name(limit)}";q={limit.overage_units}{window}'
    return f'"{limit.name}";q={limit.quota};w={limit.window_s}'
