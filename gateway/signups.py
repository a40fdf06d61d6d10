"""How many strangers may begin to buy: each makes a customer and asks Stripe half a dozen times.

Laws:
- a network has a pace, and all networks together have one: who has many networks must not use up what Stripe
  allows a second, which paying customers need;
- a network is asked first, so that one alone takes nothing of what all have;
- nobody whom we know waits for it: customers have turns of their own, and the seller's server none.
"""

from __future__ import annotations

from typing import Final

from gateway.core.charge import RateClaim
from gateway.core.errors import Paced
from gateway.pacing import Pacing, pacing_address
from gateway.telemetry import Metrics

_OF_ONE: Final = RateClaim(field="r:signup:60000", cost=1, units=5, window_ms=60_000, burst=10)
_EVERYBODY: Final = "everybody"


class TooManySignups(Paced):
    """Too many new customers, from one network address or altogether."""

    code = "too-many-signups"


class Signups:
    """Counts who signs up.

    Args:
        pacing: Counts, over all workers.
        metrics: Shows how many were refused.
        per_minute: Of all networks together, half of them at once.
    """

    def __init__(self, pacing: Pacing, metrics: Metrics, per_minute: int) -> None:
        self._pacing = pacing
        self._refused = metrics.signups_refused
        self._of_all = RateClaim(
            field="r:signups:60000", cost=1, units=per_minute, window_ms=60_000, burst=-(-per_minute // 2)
        )

    async def take_turn(self, address: str | None) -> None:
        """Count a stranger.

        Args:
            address: Network address of the buyer; None if nobody knows it.

        Raises:
            TooManySignups: From its network, or altogether.
        """
        wait_s = await self._pacing.wait_s(pacing_address(address), _OF_ONE)
        if wait_s:
            self._refused.labels("network").inc()
            raise TooManySignups("Too many sign-ups from this network; wait a little.", retry_after_s=wait_s)
        wait_s = await self._pacing.wait_s(_EVERYBODY, self._of_all)
        if wait_s:
            self._refused.labels("all").inc()
            raise TooManySignups(
                "Too many sign-ups at this moment, from all networks together; wait a little.", retry_after_s=wait_s
            )
