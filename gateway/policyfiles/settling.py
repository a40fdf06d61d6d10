"""`settle:` of a meter or a route: where a call's real cost comes from when it has ended.

    response header <Name> [at most <units>] [kept]
    response bytes per <size> [at most <units>]

and of a route, about a meter that has such a sentence: `at most <units>`, which bounds it, or `off`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.forward_rules import why_no_cost
from gateway.core.settle import MOST_UNITS, Settle
from gateway.policyfiles.document import Mapping
from gateway.policyfiles.quantities import parse_count, parse_size
from gateway.policyfiles.shapes import as_text, shown

if TYPE_CHECKING:
    from collections.abc import Mapping as Lookup

    from gateway.core.policy import Meter
    from gateway.policyfiles.document import Node, Text
    from gateway.policyfiles.faults import FaultLog, Place

LARGEST_UNIT_BYTES = 10**12
_SENTENCE = re.compile(
    r"(?:response header (?P<header>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100})|response bytes per (?P<size>[0-9_]+ ?[A-Za-z]*)"
    r"|(?=at most))(?: ?at most (?P<most>[^ ]+))?(?P<kept> kept)?"
)


def read_settle(node: Node, meter: str, faults: FaultLog) -> Settle | None:
    """`settle` of a meter; None with a fault in words."""
    text = as_text(node, f"'settle' of {meter!r}", faults)
    return None if text is None else _read_sentence(text, meter, None, faults)


def read_route_settle(
    node: Node | None, cost: Lookup[str, int], cost_place: Place, meters: Lookup[str, Meter], faults: FaultLog
) -> tuple[Settle, ...]:
    """How a route's calls are settled: in every meter of its cost, by its own word or the meter's.

    Args:
        node: The route's word. None: it says nothing.
        cost: What it reserves.
        cost_place: Where that is said.
        meters: All there are.
        faults: Where faults go.
    """
    rules = {name: meters[name].settle for name, units in cost.items() if units}
    if node is not None and not isinstance(node, Mapping):
        message = "'settle' of a route is a mapping of meters, like '{tokens: response header X-Tokens at most 4_000}'"
        faults.add(node.place, message)
    for key, value in node.entries if isinstance(node, Mapping) else ():
        text = as_text(value, f"'settle' of {shown(key.value)}", faults)
        if key.value not in meters:
            faults.add_unknown(key.place, f"there is no meter {shown(key.value)}", key.value, meters)
        elif key.value not in rules:
            faults.add(key.place, f"nothing is reserved in {key.value!r}, so nothing can be settled: name it in 'cost'")
        elif text is not None and text.value.strip() == "off":
            rules[key.value] = None
        elif text is not None:
            rules[key.value] = _read_sentence(text, key.value, meters[key.value].settle, faults)
    said = tuple(rule for rule in rules.values() if rule is not None)
    for rule in said:
        if cost[rule.meter] > rule.at_most:
            message = f"{cost[rule.meter]:_} {rule.meter} are reserved, and settled at {rule.at_most:_} at most"
            faults.add(cost_place, f"{message}: reserve no more than a call can cost")
    return said


def _read_sentence(text: Text, meter: str, general: Settle | None, faults: FaultLog) -> Settle | None:
    """One sentence; without a source of its own it bounds `general`."""
    match = _SENTENCE.fullmatch(" ".join(text.value.split()))
    if match is None or (match["kept"] and not match["header"]):
        message = f"{shown(text.value)} is not a way to settle: write 'response header X-Tokens at most 4_000'"
        faults.add(text.place, f"{message} or 'response bytes per 1KB'")
        return None
    at_most = MOST_UNITS if match["most"] is None else parse_count(match["most"].replace("_", ""), most=MOST_UNITS)
    if at_most is None:
        faults.add(text.place, f"'at most' is followed by a whole number from 1 to {MOST_UNITS:_}")
        return None
    if match["header"] is not None:
        rule = Settle(meter=meter, source="response header", keeps_header=match["kept"] is not None, at_most=at_most)
        return _with_header(rule, match["header"], text, faults)
    if match["size"] is not None:
        return _with_size(Settle(meter=meter, source="response bytes", at_most=at_most), match["size"], text, faults)
    if general is None:
        faults.add(text.place, f"'at most' bounds what meter {meter!r} says about settling, and it says nothing")
    return None if general is None else replace(general, at_most=at_most)


def _with_header(rule: Settle, name: str, text: Text, faults: FaultLog) -> Settle | None:
    why_not = why_no_cost(name.lower().encode())
    if why_not is not None:
        faults.add(text.place, f"{shown(name)} cannot name a cost: {why_not}")
        return None
    return replace(rule, header=name.lower().encode())


def _with_size(rule: Settle, size: str, text: Text, faults: FaultLog) -> Settle | None:
    per_bytes = parse_size(size)
    if per_bytes is None or not 1 <= per_bytes <= LARGEST_UNIT_BYTES:
        faults.add(text.place, "a unit of bytes is a size like 1KB or 1MiB, from 1 byte to 1_000GB")
        return None
    return replace(rule, per_bytes=per_bytes)
