"""USE CASE: overage that nobody will be billed for, because its subscription ended at once.

A subscription that ends in the middle of its period gets no invoice for what was used, unless whoever ends it asks
for one (`invoice_now`, https://docs.stripe.com/api/subscriptions/cancel): Stripe discards it. So does a customer that
is deleted. This program ends no subscription that runs; what others end is looked at here, once: Stripe is asked for
the customer's invoices, and units that none of them asks for are noted with their window and logged. In
another account nobody has invoices, so nothing is asked under a key that is not of the ledger's (`sync.account`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.core.errors import BillingRefused, BillingUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from gateway.billing import Billing
    from gateway.clock import Clock
    from gateway.core.invoice import Invoice, InvoiceLine
    from gateway.ledger import EndedWindowRow, Ledger

log = structlog.get_logger(__name__)

LOOKED_AT_AFTER_S = 600
"""So long after its end: by then an invoice that was asked for is there, and calls in progress are settled."""
_PAGE = 100


class Unbilled:
    """Finds overage that is on no invoice.

    Args:
        ledger: What was used.
        billing: Who is asked.
        check_account: Returns if the key is of the ledger's account; else it raises what `sync.account` does.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        billing: Billing,
        check_account: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._billing = billing
        self._check_account = check_account
        self._clock = clock

    async def find(self) -> int:
        """Look at every window whose subscription ended at once and at which nobody has looked.

        Returns:
            How many were closed. Those of a customer about whom Stripe does not say are looked at the next time.

        Raises:
            LedgerUnavailable: The next time goes on.
        """
        closed, until = 0, int(self._clock.now()) - LOOKED_AT_AFTER_S
        page = await self._ledger.list_ended_windows(until, limit=_PAGE)
        if not page or not await self._may_ask():
            return 0
        while page:
            for row in page:
                try:
                    closed += await self._close(row)
                except BillingUnavailable:
                    return closed
                except BillingRefused as error:
                    log.warning("invoices could not be read", customer_id=row.customer_id, reason=str(error))
            after = (page[-1].customer_id, page[-1].meter, page[-1].window_starts_at)
            page = await self._ledger.list_ended_windows(until, after=after, limit=_PAGE)
        return closed

    async def _may_ask(self) -> bool:
        try:
            await self._check_account()
        except (BillingUnavailable, BillingRefused):  # the check logs an account that is not ours
            return False
        return True

    async def _close(self, row: EndedWindowRow) -> bool:
        invoices: list[Invoice] = []
        if row.stripe_customer_id is not None:
            async with self._billing.pace.turn():
                meters = await self._billing.invoices.fetch_meters()
                invoices = await self._billing.invoices.fetch(
                    row.stripe_customer_id, row.window_starts_at, int(self._clock.now()), meters
                )
        unbilled = units_unbilled(row, invoices)
        if not await self._ledger.close_window(row, unbilled=unbilled, now=int(self._clock.now())):
            return False
        if unbilled:
            log.error(
                "overage is not billed: its subscription ended at once",
                customer_id=row.customer_id,
                meter=row.meter,
                units=unbilled,
                ended_at=row.ended_at,
                ended_as=row.ended_as,
            )
        return True


def _is_of_the_next(line: InvoiceLine, row: EndedWindowRow) -> bool:
    """Whether it is of a subscription that began when this one had ended."""
    return row.ended_at is not None and line.starts_at >= row.ended_at


def units_unbilled(row: EndedWindowRow, invoices: Iterable[Invoice]) -> int:
    """How many units of a window no invoice asks for.

    An invoice that was made when the subscription ended or later asks for all that Stripe had; what was told too
    late for it is in a statement.

    Args:
        row: The window.
        invoices: Of the customer. Those that are void ask for nothing.
    """
    billed = 0
    for invoice in invoices:
        for line in invoice.lines:
            if invoice.status == "void" or line.kind != "usage" or line.stripe_meter != row.stripe_meter:
                continue
            if line.ends_at <= row.window_starts_at or _is_of_the_next(line, row):
                continue
            if row.ended_at is not None and invoice.created_at >= row.ended_at:
                return 0
            billed += line.quantity or 0
    return max(0, row.total - billed)
