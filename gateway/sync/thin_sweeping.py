"""Thin events that an event destination of ours was to get, and the ledger does not have.

Stripe does not say which thin events it could not deliver, so all are listed that a destination here was to be told
since the last sweep that came to its end, and those are stored that are not in the inbox. Younger ones than
`_PATIENCE_S` are left to Stripe, which is delivering them. Where no destination of thin events leads here, or the
key may not read them (asked once a day), nothing is listed: a gateway with an endpoint would read everybody twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from gateway.billing import FIRST_TOLD, THIN_TYPES, Meaning, Told, ToldTo, meaning_of
from gateway.core.errors import BillingRefused
from gateway.sync.receiving import keep_event

if TYPE_CHECKING:
    from gateway.billing import EventEnvelope
    from gateway.clock import Clock
    from gateway.ledger import Ledger
    from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 600
"""How old an event is before it is missed."""
_OVERLAP_S: Final = 60
"""An event may be listed a moment after others of its time."""
_DAY_S: Final = 86_400
"""Until a key that may not read destinations is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A sweep that was broken off, and where it goes on."""

    wanted: Told
    at: ToldTo = FIRST_TOLD


class ThinSweeping:
    """One process's sweeps of thin events.

    Args:
        ledger: Where events are stored.
        sync: Its billing is asked.
        clock: Unix seconds.
        back_s: How far back a sweep looks.
        url: Where events have to come; None: nowhere, and nothing is swept.
    """

    def __init__(self, *, ledger: Ledger, sync: Sync, clock: Clock, back_s: int, url: str | None) -> None:
        self._ledger = ledger
        self._billing = sync.billing
        self._clock = clock
        self._back_s = back_s
        self._url = url
        self._swept_to: int | None = None
        self._place: _Place | None = None
        self._asks_at = float("-inf")
        self.found = 0
        """Events that were stored by sweeps."""

    async def sweep(self) -> int:
        """Store what destinations here were to be told and the ledger lacks.

        Returns:
            How many were new.

        Raises:
            BillingUnavailable, LedgerUnavailable: The next sweep goes on from here.
            BillingRefused: The next one begins anew.
        """
        place = self._place or await self._begin()
        if place is None:
            return 0
        new = 0
        try:
            while True:
                self._place = place
                async with self._billing.pace.turn():
                    events, following = await self._billing.fetch_told(place.wanted, place.at)
                new += await self._keep_missing(events)
                if following is None:
                    self._place, self._swept_to = None, place.wanted.until
                    return new
                place = _Place(wanted=place.wanted, at=following)
        except BillingRefused:  # it may be the place that Stripe refuses
            self._place = None
            raise
        finally:
            self.found += new
            if new:
                log.warning("thin events found that did not arrive", events=new)

    async def _begin(self) -> _Place | None:
        if self._url is None or self._clock.now() < self._asks_at:
            return None
        try:
            async with self._billing.pace.turn():
                destinations = await self._billing.destinations.fetch_all()
        except BillingRefused as error:
            self._asks_at = self._clock.now() + _DAY_S
            log.info("event destinations cannot be read, so none is swept for", reason=str(error))
            return None
        here = (one for one in destinations if one.leads_to(self._url, is_live=self._billing.is_live))
        ours = [one for one in here if one.is_thin]
        names = {name for one in ours for name in one.names(THIN_TYPES)}
        types = tuple(sorted(name for name in names if meaning_of(name) is not Meaning.IGNORE))
        until = int(self._clock.now()) - _PATIENCE_S
        since = max(until + _PATIENCE_S - self._back_s, min((one.created for one in ours), default=until))
        if self._swept_to is not None:
            since = max(since, self._swept_to - _OVERLAP_S)
        if not types or since > until:
            return None
        return _Place(wanted=Told(types=types, since=since, until=until))

    async def _keep_missing(self, events: list[EventEnvelope]) -> int:
        known = await self._ledger.find_known_events([one.event_id for one in events])
        new = 0
        for envelope in events:
            if envelope.event_id not in known:
                now = self._clock.now()
                fate = await keep_event(envelope, is_live=self._billing.is_live, ledger=self._ledger, now=now)
                new += fate == "stored"
        return new
