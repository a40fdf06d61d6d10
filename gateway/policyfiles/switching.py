"""`switching:` of the policy: when a change of plan takes effect, and how its money is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from gateway.core.switching import AS_EVER, Proration, SwitchTerms, When
from gateway.policyfiles.document import Mapping
from gateway.policyfiles.shapes import as_fields, as_text, as_word, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_KEYS = ("upgrade", "downgrade", "proration")
_WHEN: dict[str, tuple[When, ...]] = {
    "now": ("now",),
    "at period end": ("period-end",),
    "now or at period end": ("now", "period-end"),
    "at period end or now": ("period-end", "now"),
}
"""Of two, the first is the usual one, and a request may say the other."""
_QUOTA_WORDS = dict.fromkeys(("quota", "keep", "reset"), "what becomes of the quota is said by 'plan_change'")


def read_switching(node: Node | None, faults: FaultLog) -> SwitchTerms:
    """A mapping, or None where nothing is written; with a fault in words, what holds without it."""
    if node is None:
        return AS_EVER
    if not isinstance(node, Mapping):
        faults.add(node.place, "'switching' is a mapping like '{downgrade: at period end}'")
        return AS_EVER
    fields = as_fields(node, "'switching'", faults, known=_KEYS, never=_QUOTA_WORDS)
    if not node.entries:
        faults.add(node.place, "'switching' says nothing: write 'downgrade: at period end', or 'proration: now'")
    return SwitchTerms(
        upgrade=_read_when("upgrade", fields, faults) or AS_EVER.upgrade,
        downgrade=_read_when("downgrade", fields, faults) or AS_EVER.downgrade,
        proration=_read_proration(fields["proration"], faults) if "proration" in fields else AS_EVER.proration,
    )


def _read_when(key: str, fields: dict[str, Node], faults: FaultLog) -> tuple[When, ...] | None:
    text = as_text(fields[key], f"{key!r} of switching", faults) if key in fields else None
    if text is None:
        return None
    said = " ".join(text.value.split())
    if said not in _WHEN:
        message = f"{key!r} of switching is one of {', '.join(_WHEN)}, not {shown(text.value)}"
        faults.add_unknown(text.place, message, said, _WHEN)
    return _WHEN.get(said)


def _read_proration(node: Node, faults: FaultLog) -> Proration:
    return as_word(node, "'proration' of switching", get_args(Proration), faults) or AS_EVER.proration
