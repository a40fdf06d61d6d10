"""Whether a subscription that runs was not paid for once: its first invoice is open, and Stripe calls it active.

The first invoice says so, and no other: one that a change made a minute later says nothing about it. It is the latest
one of nearly every subscription for which this matters, and then it costs no request. Where another came after it, open
invoices are looked through if the first may be among them: soon after the beginning, and while something is owed.
"""

from __future__ import annotations

import stripe

from gateway.core.plan_map import MONEYLESS_STATUSES

_FIRST = "subscription_create"
_LONGEST_S = 28 * 86_400
"""No payment method takes longer to say yes or no, and no monthly renewal comes sooner. After a no the status tells."""
_OWING = frozenset({"past_due", "unpaid"})
_PAGE = 100


async def find_open_first_invoice(
    client: stripe.StripeClient, subscription: stripe.Subscription
) -> stripe.Invoice | None:
    """The first invoice, if the subscription runs without having paid it. One that is invoiced by mail runs on trust.

    Args:
        client: Asked for open invoices if the latest one does not tell; fails as the SDK does.
        subscription: With its latest invoice expanded.
    """
    latest = subscription.latest_invoice
    if subscription.status in MONEYLESS_STATUSES or subscription.collection_method == "send_invoice":
        return None
    if not isinstance(latest, stripe.Invoice):
        return None
    if latest.billing_reason == _FIRST:
        return latest if latest.status == "open" else None
    if subscription.status not in _OWING and latest.created - subscription.start_date > _LONGEST_S:
        return None
    page = await client.v1.invoices.list_async({"subscription": subscription.id, "status": "open", "limit": _PAGE})
    async for one in page.auto_paging_iter():
        if one.billing_reason == _FIRST:
            return one
    return None
