"""What a caller is told about its standing: one sentence or two, plain ASCII without quotes or line ends."""

from __future__ import annotations

from datetime import UTC, datetime

_BECAUSE = {
    "past_due": "The last payment failed and was not made up in time.",
    "unpaid": "Payments for this subscription have failed.",
    "paused": "This subscription is paused: its trial ended without a payment method.",
    "incomplete": "The first payment for this subscription is not completed.",
    "blocked": "This account is suspended by the provider of this API.",
    "disputed": "A payment of this account is disputed with its bank.",
    "dispute_lost": "The payment for this period was taken back by its bank.",
    "first_payment_pending": "The first payment for this subscription has not arrived.",
    "pause_collection": "Payments for this subscription are paused.",
    "pause_collection_void": "Payments for this subscription are paused.",
    "pending_update": "A change of plan waits for its payment; until then the old plan stays.",
    "refunded": "The payment for this period was refunded.",
}
"""Statuses that are not here ended on purpose and are not repeated on every response."""
_UNCONFIRMED = {
    "past_due": "The last payment was not confirmed with its bank in time.",
    "unpaid": "The last payment for this subscription was not confirmed with its bank.",
    "incomplete": "The first payment for this subscription waits to be confirmed with its bank.",
    "pending_update": "A change of plan waits for its payment to be confirmed with its bank; until then the old plan "
    "stays.",
}
"""The same where a payment waits for the customer to confirm it (3-D Secure)."""
CONFIRMATION_PAGE = "/_tiergate/account/portal/payment_confirmation"
"""Leads whoever is signed in to Stripe's page for it."""
WHERE_TO_CONFIRM = f" Confirm it at {CONFIRMATION_PAGE} of this site."
NOTHING_BOUGHT = "This subscription has a quantity of 0: nothing is bought with it."
_ENDS = "Access at this level ends at"
_TOLD_WHILE_KEPT = frozenset({"blocked", "disputed", "first_payment_pending", "pending_update"})
_HELPED_BY_PAYING = frozenset({"past_due", "unpaid", "incomplete", "paused"})


def lapsed_words(row: str, *, is_unconfirmed: bool = False) -> str | None:
    """Why the tier is gone; None if that needs no saying.

    Args:
        row: Of the lifecycle.
        is_unconfirmed: A payment of the subscription waits for the customer to confirm it.
    """
    if is_unconfirmed and row in _UNCONFIRMED:
        return _UNCONFIRMED[row] + WHERE_TO_CONFIRM
    return _BECAUSE.get(row)


def kept_words(row: str, until: int | None, *, is_unconfirmed: bool = False) -> str | None:
    """What is wrong while the tier is kept, and when that ends; None if nothing is. As `lapsed_words`."""
    if until is None and row not in _TOLD_WHILE_KEPT and row not in _HELPED_BY_PAYING:
        return None
    problem = lapsed_words(row, is_unconfirmed=is_unconfirmed) or ""
    if row == "past_due":
        waits = f"The last payment waits to be confirmed with its bank.{WHERE_TO_CONFIRM}"
        problem = waits if is_unconfirmed else "The last payment failed."
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
