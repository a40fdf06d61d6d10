"""How a running subscription is switched to another plan: which way it goes, when, and how its money is settled. Pure.

What a change does to quotas is said elsewhere (`core.plan_change`); here is what it does to the bill. A change
at the end of the period settles nothing: what was paid for is used up, and the renewal is at the new price.

| proration | the rest of the period that is paid for |
|---|---|
| `next invoice` | is credited, and charged at the new price: both on the next invoice |
| `now` | the same, invoiced and collected at once; if that fails, the old plan stays |
| `none` | costs and credits nothing; the new price holds from the next invoice on |

Another billing interval is invoiced at once under each of them: the new period begins with the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Proration: TypeAlias = Literal["next invoice", "now", "none"]
"""How the rest of a period is settled."""
When: TypeAlias = Literal["now", "period-end"]
"""When a change takes effect."""
Direction: TypeAlias = Literal["upgrade", "downgrade", "same"]
"""Which way a change goes; `same`: it is the price that there is."""

_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
"""For a comparison of intervals only, never for a date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchTerms:
    """`switching:` of the policy."""

    upgrade: tuple[When, ...] = ("now",)
    """When an upgrade may take effect; the first is what a request that says nothing gets."""
    downgrade: tuple[When, ...] = ("now", "period-end")
    proration: Proration = "now"

    def allowed(self, direction: Direction) -> tuple[When, ...]:
        """When a change that goes this way may take effect, the usual first."""
        return self.downgrade if direction == "downgrade" else self.upgrade


AS_EVER = SwitchTerms()
"""Without a word in the policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """Where a price stands among others. The amount orders prices of one tier; it never finds a plan."""

    price_id: str
    rank: int
    """Of the tier it grants; -1: it grants none."""
    interval: str | None
    """Stripe's word; None: it is not known."""
    interval_count: int
    amount: int | None
    """For one interval, in the currency's smallest unit; None: it has no single one."""
    currency: str | None
    """Of the amount; None: it is not known."""


def direction_of(before: Rung, after: Rung) -> Direction:
    """Up is to a higher tier; within a tier to a longer interval; within that to a higher price.

    What cannot be told is an upgrade: that is how the customer asked for it, and it is paid for.
    """
    if before.price_id == after.price_id:
        return "same"
    if before.rank != after.rank:
        return "upgrade" if after.rank > before.rank else "downgrade"
    if _days(before) != _days(after):
        return "upgrade" if _days(after) > _days(before) else "downgrade"
    if before.amount is None or after.amount is None or before.currency != after.currency:
        return "upgrade"
    return "downgrade" if after.amount < before.amount else "upgrade"


def _days(rung: Rung) -> int:
    return _DAYS.get(rung.interval or "", 0) * rung.interval_count
