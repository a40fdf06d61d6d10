"""What a charge answered, as a value. Pure, as `scripts`.

The script answers with what every limit was owed before it. What is left, and until when, is
computed here: the server's time is shared by all workers, and Python's integers are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    ChargeAnswer,
    Charged,
    ChargeRefused,
    Claim,
    ConcurrencyClaim,
    LimitState,
    QuotaClaim,
    WindowMoved,
)
from gateway.core.credits import has_chain, units_taken

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED, CHARGED, _STALE, _MISSING, _MOVED = range(5)
_OWED_AT = 2
_TRY_AGAIN_MS = 1000
"""After so long a call in progress may have ended: nobody knows better."""


def charge_answer(claims: Sequence[Claim], reply: list[Any]) -> ChargeAnswer:
    """What `charge.lua` returned, as a value.

    Args:
        claims: Of the request that was charged.
        reply: Its first item is `CHARGED` if it was.
    """
    verdict, now_ms = reply[0], reply[1]
    if verdict in (CHARGED, REFUSED):
        return _decided(claims, reply)
    if verdict == _STALE:
        return AccountStale(now_ms=now_ms, version=reply[2], account=reply[3])
    if verdict == _MISSING:
        return AccountMissing(now_ms=now_ms)
    return WindowMoved(now_ms=now_ms)


def _decided(claims: Sequence[Claim], reply: list[Any]) -> Charged | ChargeRefused:
    now_ms, is_charged = reply[1], reply[0] == CHARGED
    if has_chain(claims):
        states = _states_of_chains(claims, reply, is_charged=is_charged)
        if is_charged:
            return Charged(now_ms=now_ms, states=states, taken=units_taken(claims, reply[_OWED_AT:]), seq=reply[-1])
        return ChargeRefused(now_ms=now_ms, states=states)
    state_of = _state_charged if is_charged else _state_refused
    states = tuple([state_of(claim, reply[at], now_ms) for at, claim in enumerate(claims, _OWED_AT)])
    if is_charged:
        return Charged(now_ms=now_ms, states=states, seq=reply[-1])
    return ChargeRefused(now_ms=now_ms, states=states)


def _states_of_chains(claims: Sequence[Claim], reply: list[Any], *, is_charged: bool) -> tuple[LimitState, ...]:
    """As for claims that stand alone, but a chain has one state: what is left of all of it, until its first resets."""
    state_of = _state_charged if is_charged else _state_refused
    states: list[LimitState] = []
    first: QuotaClaim | None = None
    left = outlasting = 0
    for at, claim in enumerate(claims, _OWED_AT):
        if not isinstance(claim, QuotaClaim) or (first is None and not claim.passes_on):
            states.append(state_of(claim, reply[at], reply[1]))
            continue
        first = first or claim
        own = max(0, claim.limit - reply[at])
        before, left = left, left + own
        outlasting += own if claim.ends_at > first.ends_at else 0
        if not claim.passes_on:
            remaining, reset_ms = left - first.cost * is_charged, first.ends_at * 1000 - reply[1]
            last = min(remaining, left - before) if remaining > 0 else 0
            states.append(
                LimitState(
                    remaining=remaining,
                    reset_ms=reset_ms,
                    allowed=first.cost <= left,
                    last=last,
                    outlasting=None if is_charged else outlasting,
                )
            )
            first, left, outlasting = None, 0, 0
    return tuple(states)


def _state_charged(claim: Claim, owed: int, now_ms: int) -> LimitState:
    if isinstance(claim, QuotaClaim):
        left, reset_ms = claim.limit - owed - claim.cost, claim.ends_at * 1000 - now_ms
        return LimitState(remaining=left, reset_ms=reset_ms, allowed=True)
    if isinstance(claim, ConcurrencyClaim):
        return LimitState(remaining=claim.limit - owed - 1, reset_ms=0, allowed=True)
    debt = owed + claim.cost * claim.window_ms
    left = (claim.burst * claim.window_ms - debt) // claim.window_ms
    return LimitState(remaining=left, reset_ms=-(-debt // claim.units), allowed=True)


def _state_refused(claim: Claim, owed: int, now_ms: int) -> LimitState:
    """The state as it was, and still is."""
    if isinstance(claim, QuotaClaim):
        room, need, left = claim.limit - owed, claim.cost, claim.limit - owed
        reset_ms = claim.ends_at * 1000 - now_ms
    elif isinstance(claim, ConcurrencyClaim):
        room, need, left = claim.limit - owed, 1, claim.limit - owed
        reset_ms = 0 if need <= room else _TRY_AGAIN_MS
    else:
        room, need = claim.burst * claim.window_ms - owed, claim.cost * claim.window_ms
        left, drained_ms = room // claim.window_ms, -(-owed // claim.units)
        if need <= room:
            reset_ms = drained_ms
        elif claim.cost > claim.burst:  # no wait is long enough
            reset_ms = max(claim.window_ms, drained_ms)
        else:
            reset_ms = -(-(need - room) // claim.units)
    return LimitState(remaining=max(0, left), reset_ms=reset_ms, allowed=need <= room)
