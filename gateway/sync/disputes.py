"""The open disputes of the account, read page by page, no faster than customers are.

Every page has a deadline of its own, so an account with years of disputes takes longer, and is never too slow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.billing import Billing
    from gateway.core.billing_facts import DisputeFacts
    from gateway.sync.reporting import Pace

DISPUTABLE_S = 540 * 86_400
"""No network takes a dispute later than that after a payment."""


async def list_open_disputes(billing: Billing, now: int, pace: Pace) -> AsyncIterator[DisputeFacts]:
    """Every dispute that is open and was opened while it could be.

    Args:
        billing: Asked.
        now: Unix seconds.
        pace: Of the read of all customers that this is a part of.

    Raises:
        BillingUnavailable, BillingRefused: Those that were not listed yet are not known.
    """
    after: str | None = None
    while True:
        await pace.wait()
        async with billing.pace.turn():
            disputes, after = await billing.facts.fetch_open_disputes(now - DISPUTABLE_S, after)
        for dispute in disputes:
            yield dispute
        if after is None:
            return
