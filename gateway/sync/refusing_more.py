"""Who is sold nothing more for now, though a subscription runs. Less can always be had.

Policy may keep the tier of a customer whose collection the seller has paused, but it is no invitation: what is bought
in the pause is on invoices that are void, uncollectible or drafts, for as long as it lasts
(https://docs.stripe.com/billing/subscriptions/pause-payment). And whoever is blocked could not use what it pays for.
"""

from __future__ import annotations

from gateway.core.errors import AccountSuspended
from gateway.core.projection import Candidate
from gateway.ledger import Ledger
from gateway.sync.change_values import CollectionPaused


async def refuse_more(ledger: Ledger, customer_id: str, current: Candidate) -> None:
    """Called for whatever takes more than there is.

    Raises:
        AccountSuspended: The customer is blocked.
        CollectionPaused: Nobody collects what it would cost.
        LedgerUnavailable: It is not known who it is.
    """
    row = await ledger.find_customer(customer_id)
    if row is not None and row.blocked:
        raise AccountSuspended("This account is suspended. Contact the provider of this API.")
    if current.facts.paused_collection is not None:
        raise CollectionPaused(
            "Payments for this subscription are paused, and nothing more is sold meanwhile. Ask the provider of this "
            "API."
        )
