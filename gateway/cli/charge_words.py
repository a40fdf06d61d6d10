"""What a call is charged and when it is billed, in words: for `policy explain` and `policy show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.forward_words import size_words
from gateway.core.settle import MOST_UNITS

if TYPE_CHECKING:
    from gateway.core.measure import Measure
    from gateway.core.outcome import Billable
    from gateway.core.route import Route
    from gateway.core.settle import Settle

_CLASS = 100
_FIRST = 200


def cost_words(route: Route) -> str:
    """What a call costs: `1 requests, 500 tokens`."""
    plain = [f"{units:_} {meter}" for meter, units in route.cost]
    return ", ".join([*plain, *(_measure_words(measure) for measure in route.measures)])


def _measure_words(measure: Measure) -> str:
    per = f", a unit per {size_words(measure.per_bytes)}" if measure.source == "bytes" else ""
    without = "" if measure.default is None else f", {measure.default:_} without it"
    return f"{measure.meter} by {measure.words}{per} (at most {measure.at_most:_}{without})"


def settle_words(rule: Settle) -> str:
    """Where a call's real cost in one meter comes from."""
    if rule.source == "response header":
        kept = ", which the caller sees" if rule.keeps_header else ""
        source = f"the response's {rule.header.decode('ascii')!r} field{kept}"
    else:
        source = f"bytes of the {rule.source.partition(' ')[0]}, a unit per {size_words(rule.per_bytes)}"
    most = "" if rule.at_most == MOST_UNITS else f", at most {rule.at_most:_}"
    return f"{rule.meter} by {source}{most}; the cost above is reserved"


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
