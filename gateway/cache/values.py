"""What goes into the cache's operations and comes out of them, besides `core.charge`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a charge took from quotas, good for one settlement or refund. What it took from rates is not undone."""

    customer_id: str
    receipt_id: str
    """Unique per charge: it makes whatever ends the receipt happen once."""
    parts: tuple[tuple[str, int, int], ...]
    """Of each quota: field, start of its window, cost. Parts that cost nothing may be left out."""
    seq: int = 0
    """As the charge's answer has it: tells whether what is counted now has it. 0: not known; then it gives nothing
    back once counts were restored from the ledger."""
    charged_at: int = 0
    """Unix seconds at which it was charged, or was let in; of several calls the first. A window that starts later
    than a part says, and had begun by then, goes on counting (`charge.lua`). 0: not known; then none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReading:
    """A customer's quota counters at one moment, all of the same moment."""

    customer_id: str
    version: int
    seq: int
    """Orders readings of one customer, also across a loss of the cache."""
    now_ms: int
    quotas: dict[str, tuple[int, int]]
    """Field -> start of the window it counts in (Unix seconds), units used."""
    ended: dict[str, tuple[int, int]]
    """The same of the window before, as it ended; of fields that were charged in two windows."""
    of_keys: dict[str, tuple[str, ...]]
    """Key id -> every field of limits of its own, under the names that the cache has for them."""
