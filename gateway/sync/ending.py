"""How many customers one read of all may end because Stripe does not have them.

Sellers delete customers one by one. Where many are gone at once, something else is more likely: test data that was
wiped, a ledger of another installation, an account that was merged. Access of paying customers is worth a question
then. A fault like these lasts, and a few customers a day would end everybody in time: so once somebody was held, no run
ends anybody (the *hold*) until one that read everybody held nobody of whom somebody said how many may be ended:

    nobody was held                     MOST_ENDED, or MOST_SHARE of those read, are ended without a word
    somebody was, and nobody said       nobody is ended
    `tiergate sync --all --allow-ending N`     N; if that was enough, the hold is over. 0: there is nobody to end
    `tiergate sync --all --end-missing`        whoever is missing, however many; then the hold is over

The allowance is of a run, also if several read it one after the other: each that is ended is written down before, and
the hold when the first is held, so that one that is broken off, however often, ends no more.
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
    "Stripe does not have so many of the customers that it may be a mistake. The rest of them was not ended, and no "
    "reconciliation ends anybody until somebody says how many may be: `tiergate sync --all --dry-run` shows them, "
    "`tiergate sync --all --allow-ending N` ends at most N, and `tiergate sync --all --end-missing` all of them. "
    "To end one customer, sync it by its id."
)
"""Why a read of all customers did not end everybody whom Stripe does not have."""


@dataclass(slots=True, kw_only=True)
class Allowance:
    """What a run may end."""

    checked: int = 0
    """Customers that others have read of this run."""
    ended: int = 0
    """Customers that were ended of it, by whomever."""
    most: float | None = None
    """How many may be ended of it, as somebody said. None: nobody did, so it is a few."""
    is_holding: bool = False
    """Whether some were held, of this run or of one before it, and nobody said anything since."""
    count: Callable[[], Awaitable[bool]] | None = None
    """Writes down that one more is about to be ended. False: another goes on with the run. None: nobody could."""
    begin_hold: Callable[[], Awaitable[bool]] | None = None
    """Writes down that somebody was held. False and None: as above."""

    def is_left(self, checked: int) -> bool:
        """Whether one more customer may lose what it has, when so many more were read."""
        if self.most is not None:
            return self.ended < self.most
        return not self.is_holding and self.ended < max(MOST_ENDED, MOST_SHARE * (self.checked + checked))

    async def take(self) -> bool:
        """Count one that is about to be ended. False: another goes on with the run, and nobody is to be ended here.

        Raises:
            LedgerUnavailable: It is not known to be counted.
        """
        if self.count is not None and not await self.count():
            return False
        self.ended += 1
        return True

    async def hold(self) -> bool:
        """Let one keep what it has: from now on nobody is ended without a word. False: another goes on with the run.

        Raises:
            LedgerUnavailable: Nobody else is known to hear of it.
        """
        if not self.is_holding and self.begin_hold is not None and not await self.begin_hold():
            return False
        self.is_holding = True
        return True
