"""One event on its way to one endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.sandbox.event_records import Event
from gateway.sandbox.records import Json

UNSENT = frozenset({"pending", "held"})
"""On its way, or about to be. What waits for the test clock is not: only an advance goes on with it."""


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One event on its way to one endpoint; a duplicate is a delivery of its own, with another `copy`.

    `status` is pending, held, waiting (for the test clock), delivered, failed (given up), dropped or
    abandoned (the endpoint is gone). `attempts` are (real time, HTTP status or what went wrong).
    """

    id: int
    event: Event
    endpoint_id: str
    copy: int = 0
    status: str = "pending"
    attempts: list[tuple[float, int | str]] = field(default_factory=list)
    due_at: float | None = None
    """Simulated time of the next attempt, while it waits for the test clock."""

    def shape(self) -> Json:
        """For the control API."""
        return {
            "id": self.id,
            "event": self.event.id,
            "type": self.event.type,
            "endpoint": self.endpoint_id,
            "status": self.status,
            "attempts": [{"at": at, "outcome": outcome} for at, outcome in self.attempts],
            "due_at": self.due_at,
        }
