"""How far a read of all customers is, and how fast it may go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from gateway.core.findings import NEEDS_ATTENTION, Finding

MAX_PER_SECOND = 10.0
"""Requests a second while all customers are read: a tenth of what Stripe allows, so that checkouts keep their share."""
PAGE = 100
"""Customers read of the ledger at once; after each such page it is written down how far it is."""


@dataclass(slots=True, kw_only=True)
class SyncReport:
    """How far `sync_all` is. The same value grows until the end."""

    checked: int = 0
    changed: int = 0
    unbound: int = 0
    failed: int = 0
    missing: list[str] = field(default_factory=list)
    """Customers that Stripe does not have."""
    ended: int = 0
    """How many of these lost what they had."""
    held: int = 0
    """How many of these keep what they have, because too many would be ended (`sync.ending`)."""
    planned: list[str] = field(default_factory=list)
    """Customers whose change was planned again: it was lost, or would have brought back what was replaced."""
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    cursor: str = ""
    """Last customer that is done; pass it as `after` to go on from here."""
    stopped_because: str | None = None
    """Why it ended early; None: it is complete, or still running."""

    @property
    def needing_attention(self) -> int:
        """Customers about whom somebody must act."""
        return len({customer_id for customer_id, finding in self.findings if finding.code in NEEDS_ATTENTION})


class Pace:
    """At most so many requests a second, evenly spaced; time that was lost is not made up for."""

    def __init__(self, per_second: float) -> None:
        self._gap_s = 1 / per_second
        self._next_at = 0.0

    def took(self, requests: int) -> None:
        """The last step took so many requests; one was reckoned with."""
        self._next_at += max(0, requests - 1) * self._gap_s

    async def wait(self) -> None:
        """Until the next step may be made."""
        now = monotonic()
        wait_s = max(0.0, self._next_at - now)
        self._next_at = now + wait_s + self._gap_s
        if wait_s:
            await asyncio.sleep(wait_s)
