"""`cost:` of a route: units, or where to read them in the request.

request header <Name> at most <units> [default <units>]
request bytes per <size> at most <units>
request json <way.to.number | way.to.list.length> at most <units> [default <units>]
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gateway.core.forward_rules import why_no_price
from gateway.core.limit_text import REQUESTS
from gateway.core.measure import Measure
from gateway.core.settle import MOST_UNITS
from gateway.policyfiles.costs import read_cost
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.quantities import parse_count, parse_size
from gateway.policyfiles.settling import LARGEST_UNIT_BYTES
from gateway.policyfiles.shapes import shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_SENTENCE = re.compile(
    r"request (?:header (?P<header>[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100})|bytes per (?P<size>[0-9_]+ ?[A-Za-z]*)"
    r"|json (?P<json>[A-Za-z0-9_-]{1,60}(?:\.[A-Za-z0-9_-]{1,60}){0,7}))"
    r"(?: at most (?P<most>[^ ]+))?(?: default (?P<default>[^ ]+))?"
)
_EXAMPLES = "'request header X-Units at most 500', 'request bytes per 1KB at most 500'"
_LENGTH = ".length"


def read_route_cost(
    node: Node | None, meters: Collection[str], faults: FaultLog
) -> tuple[dict[str, int], tuple[Measure, ...]]:
    """Units by meter that every call costs, and what is read in each call. A route costs one request unless it says."""
    measures: list[Measure] = []
    plain = node
    if isinstance(node, Text) and _is_sentence(node):
        measures += _read_measure(node, REQUESTS, faults)
        plain = None
    elif isinstance(node, Mapping):
        kept = []
        for key, value in node.entries:
            if key.value in meters and isinstance(value, Text) and _is_sentence(value):
                measures += _read_measure(value, key.value, faults)
            else:
                kept.append((key, value))
        plain = Mapping(place=node.place, entries=tuple(kept))
    cost = {} if plain is None else read_cost(plain, "'cost'", meters, faults)
    measured = {measure.meter for measure in measures}
    return {meter: units for meter, units in ({REQUESTS: 1} | cost).items() if meter not in measured}, tuple(measures)


def _is_sentence(text: Text) -> bool:
    return text.value.split()[:1] == ["request"]


def _read_measure(text: Text, meter: str, faults: FaultLog) -> list[Measure]:
    """The one in a sentence; none with a fault in words."""
    match = _SENTENCE.fullmatch(" ".join(text.value.split()))
    if match is None or (match["size"] and match["default"]):
        faults.add(text.place, f"{shown(text.value)} is not a way to price a call: write {_EXAMPLES}")
        return []
    most = None if match["most"] is None else parse_count(match["most"].replace("_", ""), most=MOST_UNITS)
    if most is None:
        faults.add(text.place, "say the most that a call may cost here, like 'at most 500'")
        return []
    default = None
    if match["default"] is not None:
        default = _read_default(match["default"], most)
        if default is None:
            faults.add(text.place, f"'default' is followed by a whole number from 0 to {most:_}")
            return []
    if match["size"] is not None:
        return _of_bytes(match["size"], text, faults, meter=meter, at_most=most)
    if match["header"] is not None:
        return _of_header(match["header"], text, faults, meter=meter, at_most=most, default=default)
    way = match["json"]
    counts = way.endswith(_LENGTH)
    name = way.removesuffix(_LENGTH)
    return [Measure(meter=meter, source="json", name=name, counts_items=counts, at_most=most, default=default)]


def _read_default(text: str, most: int) -> int | None:
    return 0 if text == "0" else parse_count(text.replace("_", ""), most=most)


def _of_bytes(size: str, text: Text, faults: FaultLog, **rest: Any) -> list[Measure]:
    per_bytes = parse_size(size)
    if per_bytes is None or not 1 <= per_bytes <= LARGEST_UNIT_BYTES:
        faults.add(text.place, "a unit of bytes is a size like 1KB or 1MiB, from 1 byte to 1_000GB")
        return []
    return [Measure(source="bytes", per_bytes=per_bytes, **rest)]


def _of_header(name: str, text: Text, faults: FaultLog, **rest: Any) -> list[Measure]:
    why_not = why_no_price(name.lower().encode())
    if why_not is not None:
        faults.add(text.place, f"{shown(name)} cannot name a price: {why_not}")
        return []
    return [Measure(source="header", name=name.lower(), **rest)]
