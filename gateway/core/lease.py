"""A lease: so many equal calls of one plan, charged in the cache at once, and let through here one by one.

A worker that has one lets calls through without asking. Laws:

- what a lease lets through was charged before, all limits at once, so no quota is exceeded; what becomes
  of a rate is the law of `cache/lua/lease.lua`;
- it is over `ttl - drift` after it was asked for, on the worker's own steady clock, and before any
  window that it was charged to has ended: the cache's time is taken to be at least what its answer said, counted
  from the moment of asking;
- what it did not let through goes back to quotas, in the same window, once. Rates get nothing back. What a
  worker that dies has not let through is lost: it stays charged;
- an empty lease denies nothing: then the cache is asked.

Durations end in `_s` or `_ms`; `now_s` is the steady clock's, whose zero means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.core.charge import Claim, QuotaClaim, RateClaim

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTER_PER_S = 20
"""Calls per second of one plan from which on leases are drawn. A lease costs two or three round trips."""
LEAVE_PER_S = 10
"""Half of it: under which they are not drawn any more."""
DRIFT = 0.01
"""How much faster the cache's clock may run than a worker's: ten times what a clock that is being slewed does."""
_GRANTED = 1
_OWED_AT = 3
_QUICKEST_S = 0.05
"""A pace is not measured over less."""
_ASKED_FOR = 0.8
"""Of the calls that come within a lease at the measured pace. Calls vary, and so does what is measured: a lease that is
used up is not given back, which saves a round trip, and holds less from others."""
_AHEAD_S = 0.05
"""A lease is followed so long before its end, if the cache answers quickly: the next one's time runs already."""
_PATIENCE = 4
"""Times as long as the draw before took."""
_SOONEST = 0.25
"""Of a lease's time or calls: it is not followed before so much is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a worker asks the cache for."""

    customer_id: str
    version: int
    """Of the account that the plan was made of."""
    claims: tuple[Claim, ...]
    """Of one call."""
    name: str
    """Of the lease, never used before."""
    wanted: int
    """Calls, >= 1. As many are granted, or fewer."""
    ttl_ms: int
    now_ms: int = 0
    """0 reads the cache server's own clock; anything else replaces it (tests)."""


class Lease:
    """What was granted of one draw, and what is left of it.

    Args:
        draw: What was asked for.
        reply: What the lease script answered: granted.
        sent_s: When the draw was about to be sent.
    """

    __slots__ = ("_claims", "_limits", "_now_ms", "_seq", "began_s", "calls", "left", "low", "name", "over_s")

    def __init__(self, draw: Draw, reply: Sequence[int], sent_s: float) -> None:
        self.name = draw.name
        self.began_s = sent_s
        self.calls = self.left = reply[2]
        self.low = 0
        """When so few are left, it is time for another."""
        self.over_s = sent_s + _lasts_ms(draw, reply[1]) / 1000
        self._now_ms, self._seq = reply[1], reply[-1]
        steps = [_step(claim) for claim in draw.claims]
        owed = [after - self.calls * step for after, step in zip(reply[_OWED_AT:-1], steps, strict=True)]
        self._limits = list(zip(owed, steps, strict=True))
        self._claims = draw.claims

    def begin(self, now_s: float, pace: float, early_s: float) -> None:
        """It is being used from now on, by so many calls per second; another is to be drawn so long before its end."""
        self.began_s = now_s
        self.low = min(int(self.calls * _SOONEST), -int(-pace * early_s // 1))

    def take(self) -> list[Any]:
        """Let one call through; something must be left, and it must not be over.

        Returns:
            As the charge script answers (`charge.lua`): charged, when, and what was owed of each limit before.
            It is the cache's answer to the draw with what this lease has let through since: a rate is
            owed more than that, and for longer, than it is by now.
        """
        used = self.calls - self.left
        self.left -= 1
        return [_GRANTED, self._now_ms, *[owed + used * step for owed, step in self._limits], self._seq]

    def note(self, calls: int) -> None:
        """So many more were charged by themselves since the draw, or about then."""
        self._limits = [(owed + calls * step, step) for owed, step in self._limits]

    def pace(self, now_s: float) -> float:
        """Calls per second since it began."""
        return (self.calls - self.left) / max(now_s - self.began_s, _QUICKEST_S)

    def unused(self) -> list[tuple[str, int, int]]:
        """What quotas get back: of each its field, units, and the start of its window."""
        return quota_parts(self._claims, self.left)


def quota_parts(claims: Sequence[Claim], calls: int) -> list[tuple[str, int, int]]:
    """What so many calls take from quotas: of each its field, units, and the start of its window."""
    return [(claim.field, claim.cost * calls, claim.starts_at) for claim in claims if isinstance(claim, QuotaClaim)]


def is_leasable(claims: Sequence[Claim], ttl_ms: int) -> bool:
    """Whether calls of these claims may be charged many at once.

    Every one must cost something of a rate or a quota: a call that costs nothing is still refused where a limit is
    overdrawn. No rate may gain its whole burst within a lease, and nothing may be paid from several places.
    """
    return all(
        (type(claim) is QuotaClaim and claim.cost > 0 and not claim.passes_on)
        or (
            type(claim) is RateClaim
            and claim.cost > 0
            and claim.burst - -(-claim.units * ttl_ms // claim.window_ms) >= claim.cost
        )
        for claim in claims
    )


def granted(reply: Sequence[Any]) -> bool:
    """Whether the lease script's answer is a grant."""
    return bool(reply[0] == _GRANTED)


def calls_wanted(pace: float, ttl_ms: int) -> int:
    """Somewhat fewer than come within one lease at this pace (calls per second), at least 1."""
    return max(1, -int(-pace * _ASKED_FOR * ttl_ms // 1000))


def ahead_s(took_s: float, lasts_s: float) -> float:
    """How long before the end of a lease the next one is drawn.

    Args:
        took_s: The draw before, until it was answered.
        lasts_s: The lease.
    """
    return min(max(_AHEAD_S, took_s * _PATIENCE), lasts_s * _SOONEST)


def measured_pace(calls: int, seconds: float) -> float:
    """Calls per second."""
    return calls / max(seconds, _QUICKEST_S)


def _lasts_ms(draw: Draw, now_ms: int) -> float:
    ends = [claim.ends_at * 1000 - now_ms for claim in draw.claims if isinstance(claim, QuotaClaim)]
    return min([draw.ttl_ms, *ends]) * (1 - DRIFT)


def _step(claim: Claim) -> int:
    return claim.cost * claim.window_ms if isinstance(claim, RateClaim) else claim.cost
