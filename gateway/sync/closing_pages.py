"""Checkout pages of who is sold nothing any more: closed, because a page that is open can be paid and pays for nothing.

Those that were begun here: what the seller sells by pages of its own is its business (`billing.client`).

As well as it goes. A page expires by itself within a day of its beginning, and each read of a suspended customer closes
what is open then: so what Stripe could not be asked to close at first is closed by an event, or the reconciliation.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.core.errors import BillingRefused, BillingUnavailable

if TYPE_CHECKING:
    from gateway.billing import Billing
    from gateway.ledger import CustomerRow

log = structlog.get_logger(__name__)

PATIENCE_S = 5.0
"""How long whoever suspends a customer waits for Stripe."""


async def close_pages(billing: Billing, row: CustomerRow) -> int | None:
    """Close the open checkout pages of a customer that were begun here.

    Args:
        billing: Asked.
        row: Whose pages.

    Returns:
        How many were closed. None: Stripe did not say, or not in time, and there may be some that can be paid.
    """
    if row.stripe_customer_id is None or not billing.is_configured:
        return 0
    try:
        async with asyncio.timeout(PATIENCE_S):
            closed = await billing.close_checkouts(row.stripe_customer_id)
    except (BillingUnavailable, BillingRefused, TimeoutError) as error:
        reason = str(error) or "Stripe did not answer in time"
        log.warning("checkout pages of a suspended customer not closed", customer_id=row.customer_id, reason=reason)
        return None
    if closed:
        log.info("checkout pages of a suspended customer closed", customer_id=row.customer_id, pages=closed)
    return closed
