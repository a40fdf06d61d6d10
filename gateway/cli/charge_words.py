"""What a call is charged and when it is billed, in words: for `policy explain` and `policy show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.outcome import Billable
    from gateway.core.route import Route

_CLASS = 100
_FIRST = 200


def cost_words(route: Route) -> str:
    """What a call costs: `1 requests, 500 tokens`."""
    return ", ".join(f"{units:_} {meter}" for meter, units in route.cost)


def billed_words(billable: Billable) -> str:
    """Which calls stay charged."""
    responses = ", ".join(_range_words(first, end) for first, end in billable.ranges)
    left = "stays charged" if billable.abandoned else "is given back"
    return f"responses {responses}; a call that its caller leaves before the response {left}"


def _range_words(first: int, end: int) -> str:
    if end - first == 1:
        return str(first)
    if end - first == _CLASS:
        return f"{first // _CLASS}xx"
    return f"below {end}" if first == _FIRST else f"{first} to {end - 1}"
