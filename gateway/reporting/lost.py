"""What is reported when no item bills its meter any more is on no invoice: it is noted, so that somebody sees it.

A change leaves its item until all is reported (`gateway.sync.letting_go`). What comes later all the same is of a call
that went on for longer, or of an item that somebody else removed. It is noted in the transaction that says Stripe has
the report: a process that dies before has the next one send it again, which is a duplicate to Stripe, and note it.
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


async def finish(ledger: Ledger, policy: Policy, metrics: Metrics, report: MeterReportRow, now: int) -> None:
    """Write down that Stripe was told of a report, and, counted and logged, if nothing bills its units."""
    account = await ledger.load_account(report.customer_id)
    subscription = None if account is None else in_force(account, policy, now).subscription
    is_lost = subscription is not None and not is_billed(policy, subscription, report.stripe_meter, report.happened_at)
    is_noted = await ledger.finish_report(report, now=now, is_unbilled=is_lost)
    if not is_lost or not is_noted:
        return
    metrics.meter_units_unbilled.labels(report.meter).inc(report.units)
    log.error(
        "overage is not billed: its item is gone",
        customer_id=report.customer_id,
        meter=report.meter,
        units=report.units,
        identifier=report.identifier,
    )
