"""`credits:`: what is beside a quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.credits import NEVER_EXPIRE, CreditTerms
from gateway.core.limit_text import LimitInvalid, parse_duration_s
from gateway.policyfiles.document import Mapping
from gateway.policyfiles.shapes import as_fields, as_text, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_LONGEST_S = 3660 * 86_400
_WORDS = {"never": NEVER_EXPIRE, "at period end": CreditTerms(at_period_end=True)}


def read_credits(node: Node, faults: FaultLog) -> CreditTerms:
    """A mapping with `expire`; what cannot be read is a fault, and reads as `never`."""
    if not isinstance(node, Mapping):
        faults.add(node.place, "'credits' is a mapping like '{expire: 365d}'")
        return NEVER_EXPIRE
    fields = as_fields(node, "'credits'", faults, known=("expire",))
    text = as_text(fields["expire"], "'expire' of credits", faults) if "expire" in fields else None
    if text is None:
        if not fields and not node.entries:
            faults.add(node.place, "'credits' says nothing: write 'expire: 365d', 'never' or 'at period end'")
        return NEVER_EXPIRE
    words = " ".join(text.value.split())
    if words in _WORDS:
        return _WORDS[words]
    try:
        expire_s = parse_duration_s(words)
    except LimitInvalid:
        message = f"'expire' of credits is a duration like 365d, 'never' or 'at period end', not {shown(text.value)}"
        faults.add_unknown(text.place, message, words, _WORDS)
        return NEVER_EXPIRE
    if not 1 <= expire_s <= _LONGEST_S:
        faults.add(text.place, "credits expire after 1s to 3660d: write 'never' if that is meant")
    return CreditTerms(expire_s=expire_s)
