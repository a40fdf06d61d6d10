"""Many customers who are to be read at Stripe for one reason: an event of its own for each.

Each is kept and worked on like Stripe's own, so that a crash loses none and a repeat adds none. They are due one
after the other: all at once, a payment that comes a second later would wait behind all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.billing import PLANS_CHANGED

if TYPE_CHECKING:
    from gateway.ledger import Ledger

SHARE: Final = 0.5
"""Of the turns at Stripe: who is read because of prices or policy must not keep those waiting who pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Reads that one thing asks for."""

    ledger: Ledger
    reason: str
    """Begins the ids of the events: whoever asks again for the same reason asks for the same."""
    livemode: bool
    api_version: str | None = None
    received_at: int
    """Unix seconds: of what asks for them."""
    begins_at: int
    """Unix seconds at which the first is due."""
    turns_per_second: float
    """At Stripe."""

    async def ask(self, stripe_customer_id: str, number: int) -> None:
        """Have a customer read.

        Args:
            stripe_customer_id: Whom.
            number: How many were asked for before, for this reason.

        Raises:
            LedgerUnavailable: Nobody knows whether it will be.
        """
        event_id = f"{self.reason}.{stripe_customer_id}"
        due_at = self.begins_at + int(number / max(1.0, self.turns_per_second * SHARE))
        is_new = await self.ledger.store_event(
            event_id=event_id,
            type=PLANS_CHANGED,
            stripe_customer_id=stripe_customer_id,
            livemode=self.livemode,
            api_version=self.api_version,
            payload="{}",
            now=self.received_at,
            due_at=due_at,
        )
        if not is_new:  # the reason is there again, or a worker that died had begun
            await self.ledger.replay_event(event_id, due_at)
