"""`idempotency:`, of the policy and of a route: whether repeats under an Idempotency-Key are charged again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.once import ONCE_METHODS, OnceTerms
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.quantities import read_count, read_duration_s
from gateway.policyfiles.shapes import as_fields, shown

if TYPE_CHECKING:
    from gateway.core.pattern import Pattern
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog, Place

_WORDS = ("on", "off")
_KEYS = ("window", "repeats")
_MOST_REPEATS = 1_000
_DEFAULT = OnceTerms()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceDraft:
    """What `idempotency` says."""

    terms: OnceTerms | None
    """None: off."""
    place: Place


def read_once(node: Node, faults: FaultLog) -> OnceDraft:
    """`on`, `off`, or a mapping. A mapping means on."""
    if not isinstance(node, Mapping):
        if isinstance(node, Text) and node.value in _WORDS:
            return OnceDraft(terms=_DEFAULT if node.value == "on" else None, place=node.place)
        word = node.value if isinstance(node, Text) else "a list"
        message = f"'idempotency' is 'on', 'off' or a mapping like '{{window: 24h, repeats: 3}}', not {shown(word)}"
        faults.add_unknown(node.place, message, word, _WORDS)
        return OnceDraft(terms=_DEFAULT, place=node.place)
    fields = as_fields(node, "'idempotency'", faults, known=_KEYS)
    window_s = (
        read_duration_s(fields["window"], "'window'", faults, least="1m", most="7d") if "window" in fields else None
    )
    repeats = read_count(fields["repeats"], "'repeats'", faults, most=_MOST_REPEATS) if "repeats" in fields else None
    return OnceDraft(
        terms=OnceTerms(
            window_s=_DEFAULT.window_s if window_s is None else int(window_s),
            repeats=_DEFAULT.repeats if repeats is None else repeats,
        ),
        place=node.place,
    )


def read_route_once(node: Node, pattern: Pattern, faults: FaultLog, *, is_fixed: bool) -> OnceDraft:
    """As `read_once`, of a route: which has to have calls that can bear a key, and that all cost the same.

    Args:
        node: The route's word.
        pattern: Of the route.
        faults: Where faults go.
        is_fixed: Whether its cost is known without the call and its response.
    """
    draft = read_once(node, faults)
    if draft.terms is not None and not bears_keys(pattern):
        message = f"{pattern.text!r} has neither POST nor PATCH, the methods whose Idempotency-Key is looked at"
        faults.add(node.place, message)
    if draft.terms is not None and not is_fixed:
        message = "calls here cost by what they ask for or by their response: one charge cannot pay for repeats"
        faults.add(node.place, message)
    return draft


def bears_keys(pattern: Pattern) -> bool:
    """Whether a call of the pattern can have a key that means something."""
    return pattern.methods is None or bool(pattern.methods & ONCE_METHODS)
