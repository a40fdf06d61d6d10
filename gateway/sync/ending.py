"""How many customers one read of all may end because Stripe does not have them.

Sellers delete customers one by one. Where many are gone at once, something else is more likely: test data that was
wiped, a ledger of another installation, an account that was merged. Access of paying customers is worth a question
then, and the answer is one word: `tiergate sync --all --end-missing`.
"""

from __future__ import annotations

from typing import Final

MOST_ENDED: Final = 10
"""So many are ended in any case: a week's deletions of a small seller."""
MOST_SHARE: Final = 0.02
"""Of the customers read so far. Ids are random, so the first page is as good a sample as any; who loses more than
that between two days had better say so."""
TOO_MANY_MISSING: Final = (
    "Stripe does not have so many of the customers that it may be a mistake; the rest of them was not ended. "
    "If it is none: tiergate sync --all --end-missing. To end one customer, sync it by its id."
)
"""Why a read of all customers did not end everybody whom Stripe does not have."""


def may_end(ended: int, checked: int) -> bool:
    """Whether one more customer may lose what it has, after so many, of so many that were read."""
    return ended < max(MOST_ENDED, MOST_SHARE * checked)
