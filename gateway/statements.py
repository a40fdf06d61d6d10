"""USE CASE: the proof of a customer's invoices: what the ledger counted beside what Stripe asks for.

Reads and changes nothing, neither here nor at Stripe. The ledger is behind the counters by one settlement, which is
no more than reports are behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.core.errors import BillingRefused, BillingUnavailable
from gateway.core.limits import Quota, limit_field
from gateway.core.proving import make_statement
from gateway.core.statement import MeteredWindow, Report, Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.billing import Billing
    from gateway.core.invoice import Invoice
    from gateway.core.statement_period import Span
    from gateway.ledger import Ledger, MeteredWindowRow, MeterReportRow, UsageTotal

log = structlog.get_logger(__name__)

_EARLIER_S = 40 * 86_400
"""So long before a period a window may begin that its invoices still ask for."""


async def draw_up(customer_id: str, span: Span, *, ledger: Ledger, billing: Billing, now: int) -> Statement:
    """What a period comes to, for one customer. If Stripe is away, what the ledger knows, compared with nothing.

    Args:
        customer_id: Ours. Without a Stripe customer there are no invoices.
        span: The period.
        ledger: What was used and reported.
        billing: What is asked for.
        now: Unix seconds.

    Raises:
        LedgerUnavailable: There is nothing to say.
        BillingRefused: Stripe does not let this key read invoices.
    """
    row = await ledger.find_customer(customer_id)
    stripe_customer_id = None if row is None else row.stripe_customer_id
    windows = await _windows(ledger, customer_id, span)
    invoices: list[Invoice] | None = []
    counted: dict[tuple[str, int], int] = {}
    if stripe_customer_id is not None:
        invoices = await _invoices(billing, stripe_customer_id, span)
    if invoices is not None and stripe_customer_id is not None:
        counted = await _counted(billing, stripe_customer_id, windows)
    return make_statement(windows, invoices, counted, since=span.since, until=span.until, now=now)


async def _windows(ledger: Ledger, customer_id: str, span: Span) -> list[MeteredWindow]:
    since = max(0, span.since - _EARLIER_S)
    rows = await ledger.list_metered_windows(customer_id, since, span.until)
    totals = await ledger.list_usage(customer_id, since=since) if rows else []
    return [
        _window(row, await ledger.list_meter_reports(customer_id, row.meter, row.window_starts_at), totals)
        for row in rows
    ]


def _window(row: MeteredWindowRow, reports: Sequence[MeterReportRow], totals: Sequence[UsageTotal]) -> MeteredWindow:
    ends_at = row.window_starts_at if row.window_ends_at is None else row.window_ends_at
    counter = _field(row.meter)
    within = [
        one.used for one in totals if one.field == counter and row.window_starts_at <= one.window_starts_at < ends_at
    ]
    return MeteredWindow(
        meter=row.meter,
        stripe_meter=row.stripe_meter or "",
        starts_at=row.window_starts_at,
        ends_at=ends_at,
        included=row.included,
        used=sum(within) + row.total if within else None,
        overage=row.total,
        reports=tuple(
            Report(
                identifier=one.identifier,
                total=one.total,
                units=one.units,
                status=one.status,
                sent_at=one.sent_at,
                error=one.error,
            )
            for one in reports
        ),
    )


def _field(meter: str) -> str:
    """The counter of what the plan includes. A change of plan may have it start again within a window."""
    return limit_field(Quota(name="period", meter=meter, units=0, window_s=None))


async def _invoices(billing: Billing, stripe_customer_id: str, span: Span) -> list[Invoice] | None:
    try:
        return await billing.invoices.fetch(stripe_customer_id, span.since, span.until)
    except BillingUnavailable:
        return None


async def _counted(
    billing: Billing, stripe_customer_id: str, windows: Sequence[MeteredWindow]
) -> dict[tuple[str, int], int]:
    """A statement without it is still a proof: it says less about where units went."""
    wanted = {(one.stripe_meter, one.starts_at): one.ends_at for one in windows if one.overage or one.reports}
    try:
        return await billing.invoices.fetch_counted(
            stripe_customer_id, [(name, starts_at, ends_at) for (name, starts_at), ends_at in wanted.items()]
        )
    except (BillingUnavailable, BillingRefused) as error:
        log.warning("stripe's meters could not be read for a statement", error=error.code)
        return {}
