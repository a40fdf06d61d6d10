"""What became of an event."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to write on an event."""

    outcome: str
    is_dead: bool = False
    """Set aside for people to see, and to be replayed when they have acted."""
