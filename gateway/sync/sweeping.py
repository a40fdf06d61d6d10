"""Events that did not arrive, found in a list of Stripe's and stored page by page at the pace of background work.

Laws:
- a sweep looks through all that its list has, however much it is;
- of each list one worker at a time sweeps, by a claim in the ledger that every page renews;
- how far it is stands in the ledger: one that is broken off, by an outage or with its process, is gone on with behind
  the last page that was stored, so that no number of failures keeps the oldest ones from being found;
- a place that Stripe refuses, or that an earlier release has left, is none: the sweep begins anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, TypeVar
from uuid import uuid4

import structlog

from gateway.core.errors import BillingRefused
from gateway.ledger import Swept
from gateway.sync.receiving import accepts, keep_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.billing import Billing, EventEnvelope
    from gateway.clock import Clock
    from gateway.ledger import Ledger

log = structlog.get_logger(__name__)

LEASE_S: Final = 60
"""How long a claim lasts unless it is renewed: longer than a page takes, and shorter than sweeps are apart, so that
the next one goes on for a process that was killed. Two that sweep at once do the same work twice, and nothing else."""

Place = TypeVar("Place")


class Listing(Protocol[Place]):
    """A list of Stripe's events. Calls fail as Stripe's do: `BillingUnavailable`, `BillingRefused`."""

    name: ClassVar[str]
    """What the ledger calls its sweep."""

    async def begin(self, swept: Swept) -> Place | Swept:
        """Where a sweep begins after one that came so far; how far it is, if there is nothing to look through."""
        ...

    def resume(self, kept: dict[str, Any]) -> Place | None:
        """The place that was kept as this; None: it means nothing here any more."""
        ...

    def keep(self, place: Place) -> dict[str, Any]:
        """The place as the ledger keeps it."""
        ...

    async def fetch(self, place: Place) -> tuple[Sequence[EventEnvelope], Place | None]:
        """The events of a page, and where the next one is; None: this was the last."""
        ...

    def end(self, place: Place) -> Swept:
        """How far a sweep is whose last page was there."""
        ...


class Sweeping(Generic[Place]):
    """One process's sweeps of a list.

    Args:
        listing: The list.
        ledger: Where events are stored, and how far a sweep is.
        billing: Its pace is kept.
        clock: Unix seconds.
    """

    def __init__(self, *, listing: Listing[Place], ledger: Ledger, billing: Billing, clock: Clock) -> None:
        self._listing = listing
        self._ledger = ledger
        self._billing = billing
        self._clock = clock
        self._worker = uuid4().hex
        self.found = 0
        """Events that were stored by sweeps."""

    async def sweep(self) -> int:
        """Store what the list has and the ledger lacks: all of it, or what the last sweep did not come to.

        Returns:
            How many were new; 0 also while another worker sweeps.

        Raises:
            BillingUnavailable, LedgerUnavailable: The next sweep goes on from here.
            BillingRefused: The next one begins anew.
        """
        name, before = self._listing.name, self.found
        swept = await self._ledger.claim_sweep(name, self._worker, now=self._now(), lease_s=LEASE_S)
        if swept is None:
            return 0
        try:
            place = self._resume(swept)
            if place is None:
                begun = await self._listing.begin(swept)
                if isinstance(begun, Swept):
                    swept = begun
                else:
                    place = begun
            while place is not None:
                async with self._billing.pace.turn():
                    events, following = await self._listing.fetch(place)
                await self._store_missing(events)
                if following is None:
                    swept = self._listing.end(place)
                else:
                    kept = self._listing.keep(following)
                    swept = replace(swept, place=kept)
                    if not await self._ledger.keep_sweep(name, self._worker, kept, now=self._now(), lease_s=LEASE_S):
                        break
                place = following
        except BillingRefused:  # it may be the place that Stripe refuses
            swept = replace(swept, place=None)
            raise
        finally:
            if new := self.found - before:
                log.warning("events found that did not arrive", sweep=name, events=new)
            await asyncio.shield(self._ledger.end_sweep(name, self._worker, swept))
        return self.found - before

    def _resume(self, swept: Swept) -> Place | None:
        if swept.place is None:
            return None
        try:
            return self._listing.resume(swept.place)
        except (KeyError, TypeError):
            return None

    async def _store_missing(self, events: Sequence[EventEnvelope]) -> None:
        ours = [one for one in events if accepts(one, is_live=self._billing.is_live) is None]
        known = await self._ledger.find_known_events([one.event_id for one in ours]) if ours else frozenset()
        for envelope in ours:
            if envelope.event_id not in known:
                now = self._clock.now()
                fate = await keep_event(envelope, is_live=self._billing.is_live, ledger=self._ledger, now=now)
                self.found += fate == "stored"

    def _now(self) -> int:
        return int(self._clock.now())
