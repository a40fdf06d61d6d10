"""How reporting paces itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingOptions:
    """Durations in seconds."""

    hold_s: int = 60
    """How long a total must have stood while its window is open; and at most one report in so long."""
    pauses_s: tuple[int, ...] = (5, 15, 60, 180, 300)
    """Seconds after each try that failed; the last one is repeated. An invoice waits for an hour."""
    refusals: int = 8
    """A report that Stripe refuses so often is dead: some 20 minutes."""
    lease_s: int = 120
    """How long a turn lasts: longer than a try, which has its own deadline."""
    batch: int = 20
    """Turns that one worker takes at once."""
    at_once: int = 4
    """Calls to Stripe at once."""
