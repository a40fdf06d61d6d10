"""USE CASE: the proof of a customer's invoices: what the ledger counted beside what Stripe asks for.

Reads and changes nothing, neither here nor at Stripe. The ledger is behind the counters by one settlement, which is
no more than reports are behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from gateway.core.errors import BillingRefused, BillingUnavailable, StripeCustomerMissing
from gateway.core.limits import Quota, limit_field
from gateway.core.proving import final_since, make_statement
from gateway.core.statement import MeteredWindow, Report, Statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.billing import Billing
    from gateway.core.invoice import Invoice, InvoiceLine
    from gateway.core.proving import RunningPeriod
    from gateway.core.statement_period import Span
    from gateway.ledger import EndedWindowRow, Ledger, MeteredWindowRow, UsageTotal

log = structlog.get_logger(__name__)

_YEAR_S = 372 * 86_400
"""So long before or after a period a window may begin that the same line asks for, and so long after it its usage may
be invoiced: the longest that prices run here, and some days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What Stripe says."""

    invoices: list[Invoice] | None
    """None: it does not answer."""
    running: list[RunningPeriod]
    counted: dict[tuple[str, int], int]
    """By event name and start of a window. A statement without it says less about where units went."""


async def draw_up(
    customer_id: str,
    span: Span,
    *,
    ledger: Ledger,
    billing: Billing,
    check_account: Callable[[], Awaitable[None]],
    now: int,
) -> Statement:
    """What a period comes to, for one customer. If Stripe is away, what the ledger knows, compared with nothing.

    Args:
        customer_id: Ours. Without a Stripe customer there are no invoices.
        span: The period.
        ledger: What was used and reported.
        billing: What is asked for.
        check_account: Returns if the key is of the ledger's account; else it raises what `sync.account` does. Asked if
            Stripe does not know the customer.
        now: Unix seconds.

    Raises:
        LedgerUnavailable: There is nothing to say.
        BillingRefused: Stripe does not let this key read invoices.
        StripeAccountWrong: The key is of another account: nothing that Stripe says is about the ledger's.
        StripeCustomerMissing: It is of the ledger's account, which never had this customer.
    """
    row = await ledger.find_customer(customer_id)
    windows = await _windows(ledger, customer_id, span)
    asked = Asked(invoices=[], running=[], counted={})
    if row is not None and row.stripe_customer_id is not None:
        told = await _ask(billing, row.stripe_customer_id, span, windows)
        if told is None:
            await check_account()
            raise StripeCustomerMissing(row.stripe_customer_id)
        asked = told
    windows = await _with_reports(ledger, customer_id, windows, asked.invoices or ())
    return make_statement(windows, asked.invoices, asked.counted, span=span, now=now, running=asked.running)


async def _windows(ledger: Ledger, customer_id: str, span: Span) -> list[MeteredWindow]:
    since = max(0, span.since - _YEAR_S)
    rows = await ledger.list_metered_windows(customer_id, since, span.until + _YEAR_S)
    totals = await ledger.list_usage(customer_id, since=since) if rows else []
    lost = {(one.meter, one.window_starts_at): one for one in await ledger.list_unbilled(customer_id)} if rows else {}
    return [_with_lost(_window(row, totals), lost.get((row.meter, row.window_starts_at))) for row in rows]


def _with_lost(window: MeteredWindow, lost: EndedWindowRow | None) -> MeteredWindow:
    units = 0 if lost is None else lost.unbilled or 0
    is_seen_to = lost is not None and lost.acknowledged_at is not None
    return replace(window, unbilled=units, acknowledged=units if is_seen_to else 0)


async def _with_reports(
    ledger: Ledger, customer_id: str, windows: Sequence[MeteredWindow], invoices: Sequence[Invoice]
) -> list[MeteredWindow]:
    """The windows with what Stripe does not have, and with how much of the rest it was told after which invoice."""
    if not windows:
        return []
    since = min(one.starts_at for one in windows)
    until = max(one.starts_at for one in windows) + 1
    instants = {final_since(one) for one in invoices if any(line.kind == "usage" for line in one.lines)}
    unsent = await ledger.list_unsent_reports(customer_id, since, until)
    sent = await ledger.sum_sent_reports(customer_id, since, until, instants)
    return [
        replace(
            window,
            reports=tuple(
                Report(identifier=one.identifier, total=one.total, units=one.units, status=one.status, error=one.error)
                for one in unsent
                if (one.meter, one.window_starts_at) == (window.meter, window.starts_at)
            ),
            told=tuple(
                (one.told_from, one.units)
                for one in sent
                if (one.meter, one.window_starts_at) == (window.meter, window.starts_at)
            ),
        )
        for window in windows
    ]


def _window(row: MeteredWindowRow, totals: Sequence[UsageTotal]) -> MeteredWindow:
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
        reported=row.reported,
    )


def _field(meter: str) -> str:
    """The counter of what the plan includes. A change of plan may have it start again within a window."""
    return limit_field(Quota(name="period", meter=meter, units=0, window_s=None))


async def _ask(billing: Billing, stripe_customer_id: str, span: Span, windows: Sequence[MeteredWindow]) -> Asked | None:
    """None: Stripe does not know the customer. Of one that was deleted it keeps the invoices."""
    reader = billing.invoices
    try:
        meters = await reader.fetch_meters()
        invoices = await reader.fetch(stripe_customer_id, span.since, span.until, meters)
        if not invoices and not await billing.account.had_customer(stripe_customer_id):
            return None
        if _waits_for_more(windows, invoices, span):
            known = {one.invoice_id for one in invoices}
            later = await reader.fetch(stripe_customer_id, span.until, span.until + _YEAR_S, meters)
            invoices += [one for one in later if one.invoice_id not in known]
        running = await reader.fetch_running(stripe_customer_id, meters) if windows else []
    except BillingUnavailable:
        return Asked(invoices=None, running=[], counted={})
    try:
        counted = await reader.fetch_counted(stripe_customer_id, _to_count(windows, invoices, span), meters)
    except (BillingUnavailable, BillingRefused) as error:
        log.warning("stripe's meters could not be read for a statement", error=error.code)
        counted = {}
    return Asked(invoices=invoices, running=running, counted=counted)


def _to_count(windows: Sequence[MeteredWindow], invoices: Sequence[Invoice], span: Span) -> list[tuple[str, int, int]]:
    """Name, start and end of the windows of the period, and of those that the same lines ask for."""
    lines = [line for invoice in invoices for line in invoice.lines if line.kind == "usage"]
    found = {
        (one.stripe_meter, one.starts_at): one.ends_at
        for one in windows
        if span.since <= one.starts_at < span.until or any(_asks_for(line, one) for line in lines)
    }
    return [(name, starts_at, ends_at) for (name, starts_at), ends_at in found.items()]


def _asks_for(line: InvoiceLine, window: MeteredWindow) -> bool:
    return line.stripe_meter == window.stripe_meter and line.starts_at <= window.starts_at < line.ends_at


def _waits_for_more(windows: Sequence[MeteredWindow], invoices: Sequence[Invoice], span: Span) -> bool:
    """Whether something of the period is on none of the invoices near it: a yearly price asks for it later."""
    lines = [line for invoice in invoices for line in invoice.lines if line.kind == "usage"]
    return any(
        window.overage
        and span.since <= window.starts_at < span.until
        and not any(_asks_for(line, window) for line in lines)
        for window in windows
    )
