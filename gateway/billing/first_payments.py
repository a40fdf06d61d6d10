"""Whether a subscription that runs was not paid for once: its first invoice is open, and Stripe calls it active.

The first invoice is the first that asks for something: of a trial that ended, of a first month that was free, it is
not the one that Stripe made at the beginning. It says so, and no other: one that a change made a minute later says
nothing about it. It is the latest one of nearly every subscription for which this matters, and then it costs no
request. Where another came after it, all are looked through if the first may be among those that are open: soon after
the beginning, while something is owed, or where the latest one is open or came with a change.
"""

from __future__ import annotations

import stripe

from gateway.core.plan_map import MONEYLESS_STATUSES

AT_BEGINNING = "subscription_create"
"""Why Stripe made the invoice that a subscription begins with."""
_RENEWAL = "subscription_cycle"
_LONGEST_S = 28 * 86_400
"""No payment method takes longer to say yes or no, and no monthly renewal comes sooner. After a no the status tells."""
_OWING = frozenset({"past_due", "unpaid"})
_ASKING = frozenset({"open", "paid", "uncollectible"})
"""What asks for money, or did. A draft is not sent yet, and one that is void never was to be paid."""
_PAGE = 100


async def find_open_first_invoice(
    client: stripe.StripeClient, subscription: stripe.Subscription
) -> stripe.Invoice | None:
    """The first invoice, if the subscription runs without having paid it. One that is invoiced by mail runs on trust.

    Args:
        client: Asked for invoices if the latest one does not tell; fails as the SDK does.
        subscription: With its latest invoice expanded.
    """
    latest = subscription.latest_invoice
    if subscription.status in MONEYLESS_STATUSES or subscription.collection_method == "send_invoice":
        return None
    if not isinstance(latest, stripe.Invoice):
        return None
    if latest.billing_reason == AT_BEGINNING:
        return latest if latest.status == "open" and latest.total > 0 else None
    if not _may_be_open(subscription, latest):
        return None
    # While a change waits, the latest invoice is what it waits for: what it is to pay for is not had yet.
    waited_for = latest.id if subscription.pending_update is not None else None
    page = await client.v1.invoices.list_async({"subscription": subscription.id, "limit": _PAGE})
    first: stripe.Invoice | None = None
    async for one in page.auto_paging_iter():  # the newest come first
        if one.status in _ASKING and one.total > 0 and one.id != waited_for:
            first = one
    return first if first is not None and first.status == "open" else None


def _may_be_open(subscription: stripe.Subscription, latest: stripe.Invoice) -> bool:
    """Whether the first invoice may be, though a later one is the latest."""
    if subscription.status in _OWING or latest.status == "open" or latest.billing_reason != _RENEWAL:
        return True
    return latest.created - subscription.start_date <= _LONGEST_S
