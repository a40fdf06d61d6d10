"""What became of an event."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to write on an event."""

    outcome: str
    is_dead: bool = False
    """Set aside for people to see, and to be replayed when they have acted."""
    was_read: bool = False
    """Whether its customer was read of Stripe for it, also if the read found something that people must see."""
