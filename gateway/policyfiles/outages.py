"""`when_cache_fails` of a tier: `deny`, `allow` or `local 1_000`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.nearest import nearest_name
from gateway.core.outage_policy import DENY, MOST_UNITS, OutageRule
from gateway.policyfiles.shapes import as_text, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_NUMBER = re.compile(r"[0-9]+(?:_[0-9]+)*")
_MODES = ("deny", "allow", "local")


def read_outage_rule(node: Node, what: str, faults: FaultLog) -> OutageRule | None:
    """The rule; None with a fault in words. `what` says whose it is: `tier 'pro'`."""
    text = as_text(node, f"'when_cache_fails' of {what}", faults)
    if text is None:
        return None
    mode, _, number = " ".join(text.value.split()).partition(" ")
    if mode == "deny" and not number:
        return DENY
    if mode == "allow" and not number:
        return OutageRule(mode="allow")
    if mode == "local":
        units = int(number) if _NUMBER.fullmatch(number) and len(number) <= len(f"{MOST_UNITS:_}") else 0
        if 1 <= units <= MOST_UNITS:
            return OutageRule(mode="local", units=units)
        message = f"'local' takes a whole number of units from 1 to {MOST_UNITS:_}, like 'local 1_000'"
        faults.add(text.place, f"{message}, not {shown(number)}" if number else message)
        return None
    message = f"'when_cache_fails' of {what} is 'deny', 'allow' or 'local' with a number, not {shown(text.value)}"
    faults.add(text.place, message, suggestion=nearest_name(mode, _MODES) if mode not in _MODES else mode)
    return None
