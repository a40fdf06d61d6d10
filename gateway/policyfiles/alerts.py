"""`alerts:` of the policy: at which shares of a quota the seller is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.alerts import DEFAULT_PERCENTS
from gateway.policyfiles.document import Listing, Text
from gateway.policyfiles.shapes import as_texts, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_PERCENT = re.compile(r"([0-9]{1,3}) ?%")
_HIGHEST = 100
_MOST = 10


def read_alerts(node: Node, faults: FaultLog) -> tuple[int, ...]:
    """Percents, lowest first; none for `off`. With a fault in words, what holds without it."""
    if isinstance(node, Text) and node.value == "off":
        return ()
    texts = as_texts(node, "'alerts'", faults)
    read: list[int] = []
    for text in texts:
        percent = _percent(text, faults)
        if percent in read:
            faults.add(text.place, f"{shown(text.value)} is in 'alerts' twice")
        elif percent is not None:
            read.append(percent)
    if len(texts) > _MOST:
        faults.add(node.place, f"'alerts' has {len(texts)} thresholds: at most {_MOST}")
    if isinstance(node, Listing) and not node.items:
        faults.add(node.place, "'alerts' is empty: write 'alerts: off', or thresholds like [50%, 80%, 100%]")
    return tuple(sorted(read)) or DEFAULT_PERCENTS


def _percent(text: Text, faults: FaultLog) -> int | None:
    match = _PERCENT.fullmatch(text.value)
    if match is None or not 1 <= int(match[1]) <= _HIGHEST:
        expected = "a whole share of a quota from 1% to 100%, like 80%; or say 'off'"
        faults.add(text.place, f"{shown(text.value)} in 'alerts' should be {expected}")
        return None
    return int(match[1])
