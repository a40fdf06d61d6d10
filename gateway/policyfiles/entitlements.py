"""`entitlements:` of the policy: which of Stripe's features count as features here.

A list of lookup keys. Without it Stripe is not asked for entitlements at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.policyfiles.shapes import as_list, as_text, check_name

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog


def read_entitlements(node: Node, faults: FaultLog) -> frozenset[str]:
    """The features that Stripe may grant beside a tier's own, by the names of their lookup keys."""
    names: set[str] = set()
    for item in as_list(node, "'entitlements'", faults):
        text = as_text(item, "an entitlement", faults)
        if text is None or not check_name(text, "feature", faults):
            continue
        if text.value in names:
            faults.add(text.place, f"{text.value!r} is in 'entitlements' twice")
        names.add(text.value)
    return frozenset(names)
