"""All customers read again, every day, by one worker of all: what no event told is found and repaired.

Laws:
- one at a time: a claim in the ledger, renewed with every page, so the pace holds for all workers and commands;
- a worker that dies leaves its claim, which runs out; another goes on behind the last page that was done, and what it
  reports and tells is of the whole run, with what the dead one found: a page is done with what there is to say of it,
  and what was changed is counted in the audit log;
- what is read from the middle, because somebody says so, is no reconciliation: it leaves no trace but its changes;
- a page is done when those are ended whom Stripe does not have; none is with the key of another account, and no more
  than a small share in one run, by all who go on with it together (`sync.ending`);
- what was found and repaired is told once (`core.alerts`), before the run counts as ended: somebody should know why
  events did not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog

from gateway.clock import Clock
from gateway.core.alerts import BillingAlert, customers_missing, drift_repaired
from gateway.core.reconciling import next_reconciliation
from gateway.ledger import Ledger, ReconciliationRow
from gateway.sync.customers import Cause, Sync
from gateway.sync.ending import TOO_MANY_MISSING, Allowance
from gateway.sync.everyone import ON_COMMAND, RECONCILIATION, sync_all
from gateway.sync.reporting import MAX_PER_SECOND, SyncReport, joined, notes_of, so_far

log = structlog.get_logger(__name__)

LEASE_S = 900
"""How long a claim lasts unless it is renewed: longer than a page takes, with every pause of an outage in it."""
_REASONS: Final = (RECONCILIATION.because, ON_COMMAND.because)
"""What the audit log says of what a run changed, whoever goes on with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When all customers are read again."""

    interval_s: int = 86_400
    """0: never by itself."""
    hour: int | None = None
    """Of the day, in UTC; None: whenever it is due."""
    per_second: float = MAX_PER_SECOND
    """Requests of Stripe a second, over all workers."""


class ReconciliationBusy(Exception):
    """Another worker or command has it in hand."""


class Reconciler:
    """Reads all customers again, and says how far it is.

    Args:
        ledger: Where the claim is.
        sync: Reads and records.
        clock: Unix seconds.
        schedule: When.
        channels: Ways on which the seller is told, as the ledger calls them.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        sync: Sync,
        clock: Clock,
        schedule: Schedule | None = None,
        channels: Sequence[str] = (),
    ) -> None:
        self._ledger = ledger
        self._sync = sync
        self._clock = clock
        self._schedule = schedule or Schedule()
        self.channels = channels
        """Ways on which the seller is told."""
        self._worker = uuid4().hex
        self.drifted = 0
        """Customers that this process found not to be as Stripe had them."""

    @property
    def interval_s(self) -> int:
        """Seconds between two reconciliations; 0: there is none by itself."""
        return self._schedule.interval_s

    async def run_if_due(self) -> SyncReport | None:
        """Reconcile if it is time to, or if another broke off; None if not.

        Raises:
            LedgerUnavailable: Nobody knows whether it is.
        """
        if not self._schedule.interval_s:
            return None
        row = await self._ledger.await_reconciliation(now=self._now())
        due_at = next_reconciliation(row.started_at, self._schedule.interval_s, self._schedule.hour)
        if row.cursor is None and self._now() < due_at:
            return None
        try:
            return await self.run(started_at=row.started_at)
        except ReconciliationBusy:
            return None

    async def run(
        self,
        progress: Callable[[SyncReport], None] | None = None,
        *,
        anew: bool = False,
        after: str | None = None,
        may_end: float | None = None,
        started_at: int | None = None,
        per_second: float | None = None,
        cause: Cause = RECONCILIATION,
    ) -> SyncReport:
        """Reconcile now: go on with what was broken off, or begin.

        Args:
            progress: Called after each customer, with the report of what is read here.
            anew: Begin, whatever was broken off.
            after: Only read those behind this customer. It is no reconciliation, and one that was broken off stays so.
            may_end: How many customers may be ended of the run, as somebody says (`sync.ending`); None: nobody does.
                Then one begins, unless it is a part: of what was broken off, some were held who would stay so.
            started_at: Only if the last one began then.
            per_second: Requests of Stripe; None: as the schedule says.
            cause: For the audit log; by its reason it is known what a run changed.

        Returns:
            The report of the whole run, also of what others read of it before they broke off.

        Raises:
            ReconciliationBusy: Another has it in hand.
            LedgerUnavailable: It was not begun, or how it stands is not known.
        """
        is_part, is_complete, ends_hold = after is not None, False, False
        row = await self._ledger.claim_reconciliation(
            self._worker,
            now=self._now(),
            lease_s=LEASE_S,
            anew=anew or may_end is not None,
            is_part=is_part,
            started_at=started_at,
        )
        if row is None:
            raise ReconciliationBusy
        if row.cursor and not is_part:
            log.info("reconciliation goes on", after=row.cursor, checked=row.checked)
        try:
            before = SyncReport() if is_part else so_far(row, await self._ledger.list_reconciliation_notes())
            allowance = self._allow(row, may_end, is_part=is_part)
            part = await sync_all(
                self._sync,
                progress,
                after=before.cursor if after is None else after,
                per_second=per_second or self._schedule.per_second,
                cause=cause,
                keep=self._renew if is_part else self._keeping(row, before),
                allowance=allowance,
            )
            report = part if is_part else joined(before, part, changed=await self._count_changed(row))
            if report.is_complete and report.held:
                report.stopped_because = TOO_MANY_MISSING
            if report.is_complete and not is_part:
                await self._tell(row, report)
                # Everybody was read, so there is nothing to go on with: the next one is due when it is due.
                is_complete, ends_hold = True, may_end is not None and not report.held
        finally:
            await asyncio.shield(
                self._ledger.end_reconciliation(
                    self._worker, now=self._now(), is_complete=is_complete, ends_hold=ends_hold
                )
            )
        self.drifted += part.changed
        log.info(
            "reconciliation ended",
            checked=report.checked,
            drifted=report.changed,
            failed=report.failed,
            missing=len(report.missing),
            held=len(report.held),
            needing_attention=report.needing_attention,
            stopped_because=report.stopped_because,
        )
        return report

    def _allow(self, row: ReconciliationRow, may_end: float | None, *, is_part: bool) -> Allowance:
        """A part spends what is left to the last run, unless somebody says how many are its own."""
        return Allowance(
            checked=row.checked,
            ended=0 if is_part and may_end is not None else row.ended,
            most=may_end,
            is_holding=row.held_since is not None,
            count=lambda: self._ledger.count_ended(self._worker),
            begin_hold=self._begin_hold,
        )

    async def _begin_hold(self) -> bool:
        is_ours = await self._ledger.hold_endings(self._worker, now=self._now())
        if is_ours:
            log.warning("no reconciliation ends anybody until somebody says how many may be")
        return is_ours

    async def _renew(self, _: SyncReport) -> bool:
        return await self._ledger.renew_reconciliation(self._worker, now=self._now(), lease_s=LEASE_S)

    def _keeping(self, row: ReconciliationRow, before: SyncReport) -> Callable[[SyncReport], Awaitable[bool]]:
        """Says after each page how far it is, and what there is to say of the page."""
        said_of = before.cursor

        async def keep(part: SyncReport) -> bool:
            nonlocal said_of
            behind, said_of = said_of, part.cursor
            return await self._ledger.keep_reconciliation(
                self._worker,
                now=self._now(),
                lease_s=LEASE_S,
                cursor=part.cursor,
                checked=before.checked + part.checked,
                drifted=await self._count_changed(row),
                failed=before.failed + part.failed,
                unbound=before.unbound + part.unbound,
                notes=notes_of(part, behind=behind),
            )

        return keep

    async def _count_changed(self, row: ReconciliationRow) -> int:
        return await self._ledger.count_changed_since(row.audited_from, _REASONS)

    async def _tell(self, row: ReconciliationRow, report: SyncReport) -> None:
        """Once, of all its parts: a row was gone on with where it was broken off."""
        if report.changed and self.channels:
            alert: BillingAlert = drift_repaired(
                started_at=row.started_at, checked=report.checked, drifted=report.changed, at=self._now()
            )
            await self._ledger.record_alert(alert, self.channels)
        if report.held and self.channels:
            alert = customers_missing(
                started_at=row.started_at,
                held=len(report.held),
                ended=report.ended,
                checked=report.checked,
                at=self._now(),
            )
            await self._ledger.record_alert(alert, self.channels)

    def _now(self) -> int:
        return int(self._clock.now())
