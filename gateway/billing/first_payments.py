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


async def is_first_payment_open(client: stripe.StripeClient, subscription: stripe.Subscription) -> bool:
    """Whether it runs unpaid. One that is invoiced by mail runs on trust: not meant.

    Args:
        client: Asked for open invoices if the latest one does not tell; fails as the SDK does.
        subscription: With its latest invoice expanded.
    """
    latest = subscription.latest_invoice
    if subscription.status in MONEYLESS_STATUSES or subscription.collection_method == "send_invoice":
        return False
    if not isinstance(latest, stripe.Invoice):
        return False
    if latest.billing_reason == _FIRST:
        return latest.status == "open"
    if subscription.status not in _OWING and latest.created - subscription.start_date > _LONGEST_S:
        return False
    page = await client.v1.invoices.list_async({"subscription": subscription.id, "status": "open", "limit": _PAGE})
    return any([one.billing_reason == _FIRST async for one in page.auto_paging_iter()])
