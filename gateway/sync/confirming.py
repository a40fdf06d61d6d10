"""Where a customer confirms a payment for which its bank waits (3-D Secure).

Whoever has the address of an invoice's page sees the bill and may pay it, and Stripe lets it expire. So no record keeps
it: it is read when the customer, signed in, wants to go there.
"""

from __future__ import annotations

from gateway.sync.customers import Sync


async def find_confirmation(sync: Sync, customer_id: str) -> str | None:
    """The page of the payment that waits, as Stripe has it now; None: none waits any more.

    Args:
        sync: Reads Stripe.
        customer_id: Ours.

    Raises:
        BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: Nobody can say.
    """
    current = await sync.fetch_current(customer_id)
    return None if current is None else current.facts.confirmation_url
