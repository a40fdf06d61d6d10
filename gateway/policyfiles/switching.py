"""`switching:` of the policy: how the money of a change of plan is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from gateway.core.switching import AS_EVER, Proration, SwitchTerms
from gateway.policyfiles.document import Mapping
from gateway.policyfiles.shapes import as_fields, as_text, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_KEYS = ("proration",)
_QUOTA_WORDS = dict.fromkeys(("quota", "keep", "reset"), "what becomes of the quota is said by 'plan_change'")


def read_switching(node: Node | None, faults: FaultLog) -> SwitchTerms:
    """A mapping, or None where nothing is written; with a fault in words, what holds without it."""
    if node is None:
        return AS_EVER
    if not isinstance(node, Mapping):
        faults.add(node.place, "'switching' is a mapping like '{proration: next invoice}'")
        return AS_EVER
    fields = as_fields(node, "'switching'", faults, known=_KEYS, never=_QUOTA_WORDS)
    if not node.entries:
        faults.add(node.place, "'switching' says nothing: write 'proration: next invoice', 'now' or 'none'")
    if "proration" not in fields:
        return AS_EVER
    return SwitchTerms(proration=_read_proration(fields["proration"], faults))


def _read_proration(node: Node, faults: FaultLog) -> Proration:
    text = as_text(node, "'proration' of switching", faults)
    words: tuple[Proration, ...] = get_args(Proration)
    if text is None:
        return "next invoice"
    said = " ".join(text.value.split())
    for word in words:
        if said == word:
            return word
    message = f"'proration' of switching is one of {', '.join(words)}, not {shown(text.value)}"
    faults.add_unknown(text.place, message, said, words)
    return "next invoice"
