"""All customers read from Stripe and recorded, one after the other.

Laws:
- customers go in the order of their ids, so that whoever goes on behind the last one that is done misses nobody;
- an outage is waited for; a customer that cannot be read is counted and left as it is, unless the key reads nobody;
- what was planned for a customer and was lost, or would bring back what was replaced, is planned again;
- a page is done when those are ended whom Stripe does not have (`sync.ending`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from gateway.core.errors import (
    BillingKeyRefused,
    BillingRefused,
    BillingUnavailable,
    LedgerUnavailable,
    StripeAccountWrong,
    TiergateError,
)
from gateway.core.lifecycle import CUSTOMER_DELETED
from gateway.ledger import CustomerRow
from gateway.sync.changing import PlanChanges
from gateway.sync.customers import Cause, Sync, SyncOutcome
from gateway.sync.disputes import list_open_disputes
from gateway.sync.ending import TOO_MANY_MISSING, Allowance
from gateway.sync.reporting import MAX_PER_SECOND, PAGE, Pace, SyncReport

log = structlog.get_logger(__name__)

_REFUSED_AT_MOST = 10
"""If the key may not read the first so many customers, it may read none. One may fail by what few others have."""
_OUTAGE_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
RECONCILIATION = Cause(because="reconciliation", actor="reconciliation")
"""The daily one, unless somebody asked for it."""
ON_COMMAND = Cause(because="tiergate sync --all", actor="operator")
OF_A_PART = Cause(because="tiergate sync --all --after", actor="operator")
"""It is no reconciliation, and what it changes is not counted as one's."""


async def sync_all(
    sync: Sync,
    progress: Callable[[SyncReport], None] | None = None,
    *,
    after: str = "",
    per_second: float = MAX_PER_SECOND,
    cause: Cause = RECONCILIATION,
    keep: Callable[[SyncReport], Awaitable[bool]] | None = None,
    allowance: Allowance | None = None,
) -> SyncReport:
    """Read every customer again.

    Customers whom Stripe does not have are ended before it is written down that their page is
    done, unless they are so many that it may be a mistake.

    Args:
        sync: Reads and records each.
        progress: Called after each customer.
        after: Go on behind this customer: `cursor` of the report that stopped.
        per_second: At most so many requests a second.
        cause: For the audit log.
        keep: Called after each page, to write down how far it is. False: another goes on with it.
        allowance: How many may be ended, of those whom Stripe does not have. None: as of a run that begins.

    Returns:
        The report. It is complete, or `stopped_because` says why not.
    """
    reading = _Reading(
        sync=sync,
        report=SyncReport(cursor=after),
        pace=Pace(per_second),
        cause=cause,
        allowance=allowance or Allowance(),
    )
    report = reading.report
    try:
        await sync.account.check()
        if not after:
            await reading.note_disputes()
        while page := await sync.ledger.list_customers(after=report.cursor, limit=PAGE):
            gone = len(report.missing)
            for row in page:
                await reading.read(row)
                report.cursor = row.customer_id
                if progress is not None:
                    progress(report)
            is_ours = await reading.end(report.missing[gone:])
            if not is_ours or (keep is not None and not await keep(report)):
                report.stopped_because = "another program has taken over"
                return report
    except StripeAccountWrong as error:
        report.stopped_because = error.what
        return report
    except (BillingUnavailable, BillingRefused, LedgerUnavailable) as error:
        report.stopped_because = str(error)
        return report
    report.is_complete = True
    report.stopped_because = TOO_MANY_MISSING if report.held else None
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """The steps of one read of all."""

    sync: Sync
    report: SyncReport
    pace: Pace
    cause: Cause
    allowance: Allowance

    async def note_disputes(self) -> None:
        """Find disputes whose event never came. A key that may not read them reconciles everything else."""
        ledger, now = self.sync.ledger, int(self.sync.clock.now())
        try:
            async for dispute in list_open_disputes(self.sync.billing, now, self.pace):
                row = await ledger.find_customer_by_stripe(dispute.stripe_customer_id or "")
                if row is not None:
                    await ledger.note_dispute(dispute.dispute_id, row.customer_id, now)
        except BillingRefused as error:
            log.warning("disputes were not reconciled", reason=str(error))

    async def read(self, row: CustomerRow) -> None:
        """Read and record one. Who is missing at Stripe is noted only."""
        if row.stripe_customer_id is None:
            self.report.unbound += 1
            return
        for pause_s in (*_OUTAGE_PAUSES_S, None):
            await self.pace.wait()
            try:
                async with self.sync.billing.pace.turn():
                    outcome = await self._sync(row.customer_id, end_if_missing=False)
                    if outcome.has_plan_to_mend:
                        await self._mend_plan(row.customer_id)
            except BillingUnavailable:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                continue
            except BillingRefused as error:
                self.report.failed += 1
                if isinstance(error, BillingKeyRefused) and self._is_no_key(error):
                    raise
                log.warning("customer not synced", customer_id=row.customer_id, reason=str(error))
                return
            self.pace.took(outcome.requests)
            self._count(row.customer_id, outcome)
            return

    async def _mend_plan(self, customer_id: str) -> None:
        changes = PlanChanges(sync=self.sync, clock=self.sync.clock)
        try:
            with self.sync.billing.pace.counted() as sent:
                is_planned = await changes.restore(customer_id, actor=self.cause.actor)
        except (BillingUnavailable, BillingRefused, LedgerUnavailable):
            raise
        except TiergateError as error:  # somebody is changing the subscription just now, and plans it
            log.warning("plan not mended", customer_id=customer_id, reason=str(error))
            return
        self.pace.took(sent.requests + 1)
        if is_planned:
            self.report.planned.append(customer_id)

    async def end(self, missing: Sequence[str]) -> bool:
        """End those whom Stripe does not have. Who has something to lose is held where no more may be ended.

        Returns:
            False if another goes on with the run; then nobody is ended here any more.
        """
        for customer_id in missing:
            recorded = await self.sync.ledger.load_subscription(customer_id)
            if recorded is not None and recorded.status != CUSTOMER_DELETED:
                if not self.allowance.is_left(self.report.checked):
                    if not await self.allowance.hold():
                        return False
                    self.report.held.append(customer_id)
                    continue
                if not await self.allowance.take():
                    return False
            await self._end(customer_id)
        return True

    async def _end(self, customer_id: str) -> None:
        await self.pace.wait()
        try:
            outcome = await self._sync(customer_id, end_if_missing=True)
        except BillingRefused as error:
            self.report.failed += 1
            log.warning("customer not ended", customer_id=customer_id, reason=str(error))
        else:
            self.pace.took(outcome.requests)
            self.report.changed += outcome.changed
            self.report.ended += outcome.changed

    async def _sync(self, customer_id: str, *, end_if_missing: bool) -> SyncOutcome:
        return await self.sync.sync_customer(
            customer_id, self.cause.because, actor=self.cause.actor, end_if_missing=end_if_missing
        )

    def _count(self, customer_id: str, outcome: SyncOutcome) -> None:
        self.report.checked += 1
        self.report.changed += outcome.changed
        self.report.findings += [(customer_id, finding) for finding in outcome.findings]
        if outcome.result == "missing":
            self.report.missing.append(customer_id)

    def _is_no_key(self, error: BillingKeyRefused) -> bool:
        """Whether the key reads nobody: then all would fail, and nothing would have been reconciled."""
        return error.is_whole or (not self.report.checked and self.report.failed >= _REFUSED_AT_MOST)
