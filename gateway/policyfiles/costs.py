"""What a call, a message or a minute costs, as policy writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.limit_text import EXACT_BELOW, REQUESTS
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.shapes import as_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_NUMBER = re.compile(r"[0-9]+(?:_[0-9]+)*")


def read_cost(node: Node, what: str, meters: Collection[str], faults: FaultLog) -> dict[str, int]:
    """Units by meter: `10` is requests; a mapping names meters. What is not named is not in it."""
    if isinstance(node, Text):
        units = _read_units(node, faults)
        return {} if units is None else {REQUESTS: units}
    if not isinstance(node, Mapping):
        faults.add(node.place, f"{what} should be a number of requests, or a mapping like '{{tokens: 500}}'")
        return {}
    cost: dict[str, int] = {}
    for key, value in node.entries:
        if key.value not in meters:
            faults.add_unknown(key.place, f"there is no meter {key.value[:40]!r}", key.value, meters)
            continue
        text = as_text(value, f"the cost in {key.value!r}", faults)
        units = None if text is None else _read_units(text, faults)
        if units is not None:
            cost[key.value] = units
    return cost


def _read_units(text: Text, faults: FaultLog) -> int | None:
    digits = text.value.replace("_", "").lstrip("0") or "0"
    if _NUMBER.fullmatch(text.value) is None:
        faults.add(text.place, f"{text.value[:40]!r} is not a whole number of units")
        return None
    if len(digits) > len(str(EXACT_BELOW)) or int(digits) >= EXACT_BELOW:
        faults.add(text.place, "this cost is too large to count exactly")
        return None
    return int(digits)
