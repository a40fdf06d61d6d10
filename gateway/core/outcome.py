"""Is an admitted call billed? One law, for every exchange and for whatever ended it.

    how it ended                                       billed
    failed before a response                           no
    the caller ended it before a response              yes: it may have been worked on
    a response of 500 or above had begun               no
    a response below 500 came to its end               yes
    it had begun, and the caller ended it              yes
    it had begun, and broke off for any other reason   if any payload had been handed on

The last line is one rule for a time-out, a cut connection and a crash: a stream that is used
and then falls silent is not free, and an answer of which nothing arrived is not paid for.
"""

from __future__ import annotations

BILLABLE_BELOW = 500
"""Statuses from here on say that the API, or something before it, broke."""


def is_billed(status: int | None, *, complete: bool, payload: bool, by_caller: bool) -> bool:
    """Whether the charge of an admitted call stays.

    Args:
        status: Of the response that had begun; None if none had.
        complete: The response came to its end.
        payload: Some of the response's payload had been handed on to the caller.
        by_caller: The caller ended the call: it left, stalled, or sent a body that cannot be.
    """
    if status is None:
        return by_caller
    return status < BILLABLE_BELOW and (complete or payload or by_caller)
