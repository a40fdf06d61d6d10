"""Is an admitted call billed? One law, for every exchange and for whatever ended it.

    how it ended                                       billed
    failed before a response                           no
    the caller left it before a response               if policy bills that (it may have been worked on)
    the caller's body could not be taken to its end    yes
    a response that is not billable had begun          no
    a billable response came to its end                yes
    it had begun, and the caller ended it              yes
    it had begun, and broke off for any other reason   if any payload had been handed on

The last line is one rule for a time-out, a cut connection and a crash: a stream that is used
and then falls silent is not free, and an answer of which nothing arrived is not paid for.
Which responses are billable, policy says by their status; below 500, unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_OK, _SWITCHING = 200, 101


@dataclass(frozen=True, slots=True, kw_only=True)
class Billable:
    """Which calls stay charged."""

    ranges: tuple[tuple[int, int], ...] = ((200, 500),)
    """Statuses of responses: first, and the one after the last."""
    abandoned: bool = True
    """Whether a call stays charged that its caller left before a response."""
    statuses: frozenset[int] = field(init=False, repr=False, compare=False, hash=False)
    """All of `ranges`. An open WebSocket (101) is as billable as a 200."""

    def __post_init__(self) -> None:
        statuses = {status for first, end in self.ranges for status in range(first, end)}
        object.__setattr__(self, "statuses", frozenset(statuses | {_SWITCHING} if _OK in statuses else statuses))


BELOW_500 = Billable()
"""What holds where policy says nothing: from 500 on, the API or something before it broke."""


def is_billed(
    status: int | None, *, complete: bool, payload: bool, by_caller: bool, billable: Billable = BELOW_500
) -> bool:
    """Whether the charge of an admitted call stays.

    Args:
        status: Of the response that had begun; None if none had.
        complete: The response came to its end.
        payload: Some of the response's payload had been handed on to the caller.
        by_caller: The caller ended the call: it left, or stalled.
        billable: What policy says of the route.
    """
    if status is None:
        return by_caller and billable.abandoned
    return status in billable.statuses and (complete or payload or by_caller)
