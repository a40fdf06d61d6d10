"""What is reported when no item bills its meter any more is on no invoice: it is noted, so that somebody sees it.

A change leaves its item until all is reported (`gateway.sync.letting_go`). What comes later all the same is of a call
that went on for longer, or of an item that somebody else removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.core.access import in_force
from gateway.core.metered_items import is_billed

if TYPE_CHECKING:
    from gateway.core.policy import Policy
    from gateway.ledger import Ledger, MeterReportRow
    from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)


async def note_if_lost(ledger: Ledger, policy: Policy, metrics: Metrics, report: MeterReportRow, now: int) -> None:
    """Log, count and write down the units of a report that Stripe was told of, if nothing bills them."""
    account = await ledger.load_account(report.customer_id)
    subscription = None if account is None else in_force(account, policy, now).subscription
    if subscription is None or is_billed(policy, subscription, report.stripe_meter, report.happened_at):
        return
    await ledger.add_unbilled(report, now=now)
    metrics.meter_units_unbilled.labels(report.meter).inc(report.units)
    log.error(
        "overage is not billed: its item is gone",
        customer_id=report.customer_id,
        meter=report.meter,
        units=report.units,
        identifier=report.identifier,
    )
