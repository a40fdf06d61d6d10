"""What a caller is told about its standing: one sentence or two, plain ASCII without quotes or line ends."""

from __future__ import annotations

from datetime import UTC, datetime

_BECAUSE = {
    "past_due": "The last payment failed and was not made up in time.",
    "unpaid": "Payments for this subscription have failed.",
    "paused": "This subscription is paused: its trial ended without a payment method.",
    "incomplete": "The first payment for this subscription is not completed.",
    "disputed": "A payment of this account is disputed with its bank.",
    "first_payment_pending": "The first payment for this subscription has not arrived.",
    "pause_collection": "Payments for this subscription are paused.",
    "pause_collection_void": "Payments for this subscription are paused.",
    "pending_update": "A change of plan waits for its payment; until then the old plan stays.",
}
"""Statuses that are not here ended on purpose and are not repeated on every response."""
NOTHING_BOUGHT = "This subscription has a quantity of 0: nothing is bought with it."
_ENDS = "Access at this level ends at"
_TOLD_WHILE_KEPT = frozenset({"disputed", "first_payment_pending", "pending_update"})
_HELPED_BY_PAYING = frozenset({"past_due", "unpaid", "incomplete", "paused"})


def lapsed_words(row: str) -> str | None:
    """Why the tier is gone; None if that needs no saying."""
    return _BECAUSE.get(row)


def kept_words(row: str, until: int | None) -> str | None:
    """What is wrong while the tier is kept, and when that ends; None if nothing is."""
    if until is None and row not in _TOLD_WHILE_KEPT and row not in _HELPED_BY_PAYING:
        return None
    problem = "The last payment failed." if row == "past_due" else _BECAUSE.get(row, "")
    if until is None:
        return problem
    unless = " unless it is paid" if row in _HELPED_BY_PAYING else ""
    return f"{problem} {_ENDS} {instant_text(until)}{unless}.".lstrip()


def without_end(words: str | None) -> str | None:
    """What `kept_words` said, without when it ends; None if that was all."""
    return (words or "").partition(_ENDS)[0].rstrip() or None


def instant_text(at: int) -> str:
    """`2026-03-05T14:03:00Z`, as the words above write it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
