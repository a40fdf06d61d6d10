"""Is what customers may do in step with Stripe, and is it the ledger's account? Gauges, and alerts if not."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from gateway.core.alerts import events_dead, stale

if TYPE_CHECKING:
    from gateway.web.runtime import Runtime

_STALE_INTERVALS = 3
"""One reconciliation may be under way, and one may have failed."""
_ACCOUNT_CHECK_S = 60.0
_ACCOUNT_AGAIN_S = 10.0


async def watch_billing(runtime: Runtime) -> None:
    """Refresh the gauges, and tell the seller of each hour in which events died, and each day on which reads are old.

    Raises:
        LedgerUnavailable: They stay as they were.
    """
    metrics, ledger, watch, now = runtime.metrics, runtime.ledger, runtime.watch, int(runtime.clock.now())
    metrics.undelivered.inc(runtime.events.swept - watch.events_swept)
    metrics.drift.inc(runtime.reconciler.drifted - watch.drift_found)
    watch.events_swept, watch.drift_found = runtime.events.swept, runtime.reconciler.drifted
    for code, found in runtime.sync.attention.found.items():
        metrics.findings.labels(code=code).inc(found - watch.findings[code])
        watch.findings[code] = found
    for verdict, judged in runtime.events.strangers.items():
        metrics.strangers.labels(verdict=verdict).inc(judged - watch.strangers[verdict])
        watch.strangers[verdict] = judged
    oldest_at, row = await ledger.oldest_sync(), await ledger.find_reconciliation()
    metrics.oldest_sync_seconds.set(0 if oldest_at is None else max(0, now - oldest_at))
    metrics.reconciled_at.set(0 if row is None else row.finished_at or 0)
    metrics.held_since.set(0 if row is None else row.held_since or 0)
    await _tell_of_dead_events(runtime, now)
    if oldest_at is not None:
        await _tell_if_stale(runtime, oldest_at, now)


async def watch_account(runtime: Runtime) -> None:
    """Refresh the gauge about the account, which whoever sells or reconciles checks too, and look again if it is time.

    Where nobody could say, that is soon: a gateway that starts while Stripe is slow would keep quiet about a wrong
    key for as long as it rests after a look.
    """
    watch, account = runtime.watch, runtime.sync.account
    if monotonic() >= watch.account_due_at:
        could_say = await account.look()
        watch.account_due_at = monotonic() + (_ACCOUNT_CHECK_S if could_say else _ACCOUNT_AGAIN_S)
    runtime.metrics.account_wrong.set(account.trouble is not None)


async def _tell_of_dead_events(runtime: Runtime, now: int) -> None:
    channels = runtime.reconciler.channels
    row = await runtime.ledger.find_last_dead() if channels else None
    if row is None:
        return
    counts = await runtime.ledger.inbox_counts()
    alert = events_dead(
        dead=counts.by_status["dead"],
        newest_type=row.type,
        newest_id=row.event_id,
        died_at=row.finished_at or row.received_at,
        at=now,
    )
    await runtime.ledger.record_alert(alert, channels)


async def _tell_if_stale(runtime: Runtime, oldest_at: int, now: int) -> None:
    interval_s, channels = runtime.reconciler.interval_s, runtime.reconciler.channels
    if channels and interval_s and now - oldest_at > _STALE_INTERVALS * interval_s:
        await runtime.ledger.record_alert(stale(oldest_at=oldest_at, expected_s=interval_s, at=now), channels)
