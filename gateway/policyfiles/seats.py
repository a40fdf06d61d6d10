"""`seats:` of a plan: `1 to 100`, or `5`. They are the quantity of its price."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.offer import MOST_SEATS, SeatRange
from gateway.policyfiles.quantities import parse_count
from gateway.policyfiles.shapes import as_text, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_RANGE = re.compile(r"([0-9]+(?:_[0-9]+)*)(?: to ([0-9]+(?:_[0-9]+)*))?")


def read_seats(node: Node, what: str, faults: FaultLog) -> SeatRange | None:
    """How many seats are sold; None with a fault in words."""
    text = as_text(node, what, faults)
    if text is None:
        return None
    match = _RANGE.fullmatch(" ".join(text.value.split()))
    if match is None:
        faults.add(text.place, f"{what} is a number of seats, '5', or a range, '1 to 100', not {shown(text.value)}")
        return None
    ends = [parse_count(end.replace("_", ""), most=MOST_SEATS) for end in match.groups() if end is not None]
    least, most = ends[0], ends[-1]
    if least is None or most is None:
        faults.add(text.place, f"{what} is at least 1 and at most {MOST_SEATS:_}, not {shown(text.value)}")
    elif least > most:
        faults.add(text.place, f"{what} begins above its end", suggestion=f"{most} to {least}")
    else:
        return SeatRange(least=least, most=most)
    return None
