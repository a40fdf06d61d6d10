"""How many customers one read of all may end because Stripe does not have them.

Sellers delete customers one by one. Where many are gone at once, something else is more likely: test data that was
wiped, a ledger of another installation, an account that was merged. Access of paying customers is worth a question
then, and the answer is one word: `tiergate sync --all --end-missing`.

The allowance is of a run, also if several read it one after the other: each that is ended is written down before, so
that one that is broken off, however often, ends no more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


@dataclass(slots=True, kw_only=True)
class Allowance:
    """What a run may end."""

    checked: int = 0
    """Customers that others have read of this run."""
    ended: int = 0
    """Customers that were ended of it, by whomever."""
    count: Callable[[], Awaitable[bool]] | None = None
    """Writes down that one more is about to be ended. False: another goes on with the run. None: nobody could."""

    def is_left(self, checked: int) -> bool:
        """Whether one more customer may lose what it has, when so many more were read."""
        return self.ended < max(MOST_ENDED, MOST_SHARE * (self.checked + checked))

    async def take(self) -> bool:
        """Count one that is about to be ended. False: another goes on with the run, and nobody is to be ended here.

        Raises:
            LedgerUnavailable: It is not known to be counted.
        """
        if self.count is not None and not await self.count():
            return False
        self.ended += 1
        return True
