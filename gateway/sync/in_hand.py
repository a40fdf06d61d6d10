"""The events that one worker has claimed, and how each claim ends.

    done         the ledger has recorded what it asked for
    put back     to be tried later: pauses grow, and an outage counts as no failure
    dead         it failed a few times, or met nothing but outages for as long as Stripe itself would go on delivering
    given back   the worker ends: whoever is next has it at once

A claim that does not end so runs out, and another worker does the same work again.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from gateway.core.errors import (
    BillingKeyRefused,
    BillingUnavailable,
    CapacityReduced,
    LedgerUnavailable,
    TiergateError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gateway.clock import Clock
    from gateway.ledger import InboxRow, Ledger
    from gateway.sync.worker_options import WorkerOptions

log = structlog.get_logger(__name__)

_OUTAGES: Final = (BillingUnavailable, BillingKeyRefused, LedgerUnavailable, CapacityReduced)
_MOST_DOUBLINGS: Final = 20


class EventsInHand:
    """What one worker has claimed."""

    def __init__(self, *, ledger: Ledger, clock: Clock, options: WorkerOptions) -> None:
        self._ledger = ledger
        self._clock = clock
        self._options = options
        self._worker = uuid4().hex
        self._held: dict[str, InboxRow] = {}
        self.processed = 0
        """Events that are done."""
        self.retried = 0
        """Events given back to be tried later."""
        self.failed = 0
        """Tries that ended in an error."""
        self.buried = 0
        """Events set aside as dead."""
        self.lost = 0
        """Claims that had run out before the work was done."""

    async def claim(self) -> list[InboxRow]:
        """A batch of what is due.

        Raises:
            LedgerUnavailable: None could be claimed.
        """
        rows = await self._ledger.claim_events(
            worker=self._worker,
            now=int(self._clock.now()),
            lease_s=self._options.lease_s,
            limit=self._options.batch,
        )
        self._held = {row.event_id: row for row in rows}
        return rows

    async def finish(self, rows: list[InboxRow], outcome: str) -> None:
        """They are done."""
        event_ids, now = [row.event_id for row in rows], int(self._clock.now())
        try:
            released = await self._ledger.finish_events(event_ids, self._worker, now=now, outcome=outcome)
        except LedgerUnavailable:
            log.warning("events not released; their claims will run out", event_ids=event_ids)
            return
        for row in rows:
            self.processed += self._was_ours(row, still_ours=row.event_id in released)

    async def put_back(self, rows: list[InboxRow], error: Exception) -> None:
        """They failed by this: have them tried later, or set them aside as dead."""
        reason = f"{type(error).__name__}: {error}" if isinstance(error, TiergateError) else type(error).__name__
        for row in rows:
            self.failed += 1
            if self._is_hopeless(row, error):
                await self.bury(row, reason)
                continue
            log.warning("event put back", event_id=row.event_id, attempts=row.attempts, reason=reason)
            next_at = int(self._clock.now() + self._pause_s(row.attempts)) + 1
            failed = not isinstance(error, _OUTAGES)
            answer = self._ledger.retry_event(
                row.event_id, self._worker, next_attempt_at=next_at, error=reason, failed=failed
            )
            self.retried += await self._release(row, answer)

    async def bury(self, row: InboxRow, reason: str) -> None:
        """Set one aside as dead."""
        log.error("event is dead", event_id=row.event_id, type=row.type, attempts=row.attempts, reason=reason)
        now = int(self._clock.now())
        answer = self._ledger.bury_event(row.event_id, self._worker, now=now, error=reason)
        self.buried += await self._release(row, answer)

    async def _release(self, row: InboxRow, answer: Awaitable[bool]) -> bool:
        """Whether a claim ended as it should. If the ledger is away, it ends by running out."""
        try:
            still_ours = await answer
        except LedgerUnavailable:
            log.warning("event not released; its claim will run out", event_id=row.event_id)
            return False
        return self._was_ours(row, still_ours=still_ours)

    def _was_ours(self, row: InboxRow, *, still_ours: bool) -> bool:
        self._held.pop(row.event_id, None)
        if not still_ours:
            self.lost += 1
            log.warning("claim had run out; the event is worked on again", event_id=row.event_id)
        return still_ours

    def _is_hopeless(self, row: InboxRow, error: Exception) -> bool:
        if not isinstance(error, _OUTAGES):
            return row.failures + 1 >= self._options.tries
        is_old = self._clock.now() - row.received_at > self._options.outage_s
        return is_old and row.attempts >= self._options.tries

    def _pause_s(self, attempts: int) -> float:
        doubled_s = self._options.first_pause_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS)
        share = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
        return min(self._options.longest_pause_s, doubled_s) * share

    async def give_back(self) -> None:
        """What is left of it, untouched. If the ledger is away, its claims run out."""
        if not self._held:
            return
        event_ids, self._held = tuple(self._held), {}
        try:
            await self._ledger.give_events_back(event_ids, self._worker, now=int(self._clock.now()))
        except LedgerUnavailable:
            log.warning("events not given back; their claims will run out", event_ids=event_ids)
