"""Says in the log that deliveries come whose signature does not hold, and what is probably wrong.

A wrong secret is a quiet fault: the sweep makes up for every event that is lost by it, minutes later. Anybody can
send what is not signed at all, which says nothing, and what looks signed, so each trouble is said once a minute at
most, with how many deliveries had it since it was last said: those that no other one follows too.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from gateway.clock import steady_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.billing import SignatureTrouble

_SAID_EVERY_S: Final = 60.0
_FIXES: Final = {
    "other-secret": "put the signing secret of the endpoint that leads here into STRIPE_WEBHOOK_SECRET (several, with"
    " commas) and restart; `tiergate doctor` shows what Stripe could not deliver",
    "other-time": "synchronise this machine's clock (NTP), or look for what holds deliveries up",
}

log = structlog.get_logger(__name__)


class RefusedDeliveries:
    """Of one worker, since it last spoke of them. `steady_s` counts seconds from anywhere."""

    def __init__(self, steady_s: Callable[[], float] = steady_s) -> None:
        self._steady_s = steady_s
        self._said_at = float("-inf")
        self._counts: Counter[SignatureTrouble] = Counter()

    def note(self, trouble: SignatureTrouble) -> None:
        """One more."""
        if trouble not in _FIXES:
            return
        self._counts[trouble] += 1
        self.say_if_due()

    def say_if_due(self) -> None:
        """Say what came since it was last said, if that is a minute ago. To be called now and then."""
        now = self._steady_s()
        if not self._counts or now - self._said_at < _SAID_EVERY_S:
            return
        self._said_at = now
        for one, deliveries in self._counts.items():
            log.warning(
                "stripe's deliveries are refused: their signature does not hold",
                deliveries=deliveries,
                trouble=one,
                fix=_FIXES[one],
            )
        self._counts.clear()
