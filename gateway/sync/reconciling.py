"""All customers read again, every day, by one worker of all: what no event told is found and repaired.

Laws:
- one at a time: a claim in the ledger, renewed with every page, so the pace holds for all workers and commands;
- a worker that dies leaves its claim, which runs out; another goes on behind the last page that was done;
- a page is done when those are ended whom Stripe does not have; none is with the key of another account, and no more
  than a small share in one run, by all who go on with it together (`sync.ending`);
- what was found and repaired is told once (`core.alerts`): somebody should know why events did not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog

from gateway.clock import Clock
from gateway.core.alerts import BillingAlert, customers_missing, drift_repaired
from gateway.core.reconciling import next_reconciliation
from gateway.ledger import Ledger, ReconciliationRow
from gateway.sync.customers import Cause, Sync
from gateway.sync.ending import TOO_MANY_MISSING, Allowance
from gateway.sync.everyone import RECONCILIATION, sync_all
from gateway.sync.reporting import MAX_PER_SECOND, SyncReport

log = structlog.get_logger(__name__)

LEASE_S = 900
"""How long a claim lasts unless it is renewed: longer than a page takes, with every pause of an outage in it."""


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
        ends_all: bool = False,
        started_at: int | None = None,
        per_second: float | None = None,
        cause: Cause = RECONCILIATION,
    ) -> SyncReport:
        """Reconcile now: go on with what was broken off, or begin.

        Args:
            progress: Called after each customer.
            anew: Begin, whatever was broken off.
            after: Go on behind this customer, whatever is written down.
            ends_all: End whomever Stripe does not have, however many.
            started_at: Only if the last one began then.
            per_second: Requests of Stripe; None: as the schedule says.
            cause: For the audit log.

        Raises:
            ReconciliationBusy: Another has it in hand.
            LedgerUnavailable: It was not begun.
        """
        row = await self._ledger.claim_reconciliation(
            self._worker, now=self._now(), lease_s=LEASE_S, anew=anew, started_at=started_at
        )
        if row is None:
            raise ReconciliationBusy
        if row.cursor:
            log.info("reconciliation goes on", after=row.cursor, checked=row.checked)
        is_complete = False
        allowance = Allowance(
            checked=row.checked, ended=row.ended, count=lambda: self._ledger.count_ended(self._worker)
        )
        try:
            report = await sync_all(
                self._sync,
                progress,
                after=(row.cursor or "") if after is None else after,
                ends_all=ends_all,
                per_second=per_second or self._schedule.per_second,
                cause=cause,
                keep=lambda so_far: self._keep(row, so_far),
                allowance=allowance,
            )
            # Everybody was read, so there is nothing to go on with: the next one is due when it is due.
            is_complete = report.stopped_because in {None, TOO_MANY_MISSING}
        finally:
            await asyncio.shield(
                self._ledger.end_reconciliation(self._worker, now=self._now(), is_complete=is_complete)
            )
        self.drifted += report.changed
        log.info(
            "reconciliation ended",
            checked=report.checked,
            drifted=report.changed,
            failed=report.failed,
            missing=len(report.missing),
            held=report.held,
            needing_attention=report.needing_attention,
            stopped_because=report.stopped_because,
        )
        if is_complete and self.channels:
            await self._tell(row, report, allowance)
        return report

    async def _keep(self, row: ReconciliationRow, report: SyncReport) -> bool:
        """Say how far it is."""
        return await self._ledger.keep_reconciliation(
            self._worker,
            now=self._now(),
            lease_s=LEASE_S,
            cursor=report.cursor,
            checked=row.checked + report.checked,
            drifted=row.drifted + report.changed,
            failed=row.failed + report.failed,
        )

    async def _tell(self, row: ReconciliationRow, report: SyncReport, allowance: Allowance) -> None:
        """Once, of all its parts: a row was gone on with where it was broken off."""
        drifted, checked = row.drifted + report.changed, row.checked + report.checked
        if drifted:
            alert: BillingAlert = drift_repaired(
                started_at=row.started_at, checked=checked, drifted=drifted, at=self._now()
            )
            await self._ledger.record_alert(alert, self.channels)
        if report.held:
            alert = customers_missing(
                started_at=row.started_at, held=report.held, ended=allowance.ended, checked=checked, at=self._now()
            )
            await self._ledger.record_alert(alert, self.channels)

    def _now(self) -> int:
        return int(self._clock.now())
