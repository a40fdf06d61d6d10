"""How the worker that works Stripe's events off paces itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.billing import DEADLINE_S

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How the worker paces itself."""

    batch: int = 20
    """Events claimed at once; what else is due for the same customers comes with them."""
    at_once: int = 5
    """Customers synced at the same time by one worker."""
    lease_s: int = int(6 * DEADLINE_S)
    """How long a claim lasts. A batch takes at most `batch / at_once` deadlines of Stripe, and this is longer."""
    poll_s: float = 1.0
    """Seconds between two looks at the inbox if nobody says that something came."""
    tries: int = 8
    """Failures after which an event is dead. Outages of Stripe or the ledger, and crashes, do not count."""
    outage_s: int = 3 * _DAY_S
    """Age at which an event that only ever met outages is dead: as long as Stripe itself would go on delivering."""
    first_pause_s: float = 2.0
    longest_pause_s: float = 300.0
    """Pauses between tries double from the first to the longest, give or take half."""
    drain_s: float = 3.0
    """Seconds that work in progress has to end at shutdown; then its events are given back. What a process has to do
    last, to settle what was counted above all, waits for it."""
    swept_s: int = 3 * _DAY_S
    """How far back a sweep looks for undelivered events."""
