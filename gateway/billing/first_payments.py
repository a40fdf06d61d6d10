"""Whether a subscription that runs, or was cancelled, was not paid for once: its first invoice is not paid.

The first invoice is the first that asks for something: of a trial that ended, of a first month that was free, it is
not the one that Stripe made at the beginning. It says so, and no other: one that a change made a minute later says
nothing about it. An invoice that Stripe made at the beginning is not paid while it is open, and no more when it was
written off or made void: Stripe does that by itself where a bank debit fails, the seller by hand, and calls the
subscription active all the same. It ends with a renewal that is paid; for one that was given up, with whatever is paid
later. After a trial only an open one counts: Stripe's status says the rest.

It is the latest one of nearly every subscription for which this matters, and then it costs no request; nor does it
where the latest is a renewal that is paid. Else all are looked through.
"""

from __future__ import annotations

import stripe

from gateway.core.plan_map import ENDED_STATUSES, IDLE_STATUSES

AT_BEGINNING = "subscription_create"
"""Why Stripe made the invoice that a subscription begins with."""
_RENEWAL = "subscription_cycle"
_ASKING = frozenset({"open", "paid", "uncollectible"})
"""What asks for money, or did, of all but the invoice at the beginning. A draft is not sent yet."""
_NEVER_RAN = IDLE_STATUSES | {"incomplete_expired"}
_PAGE = 100


async def find_unpaid_first_invoice(
    client: stripe.StripeClient, subscription: stripe.Subscription, *, of_ended: bool
) -> stripe.Invoice | None:
    """The first invoice, if the subscription runs, or ran, without having paid it. One invoiced by mail runs on trust.

    Args:
        client: Asked for invoices if the latest one does not tell; fails as the SDK does.
        subscription: With its latest invoice expanded.
        of_ended: Whether it is asked about also if it was cancelled.
    """
    latest = subscription.latest_invoice
    if subscription.status in _NEVER_RAN or subscription.collection_method == "send_invoice":
        return None
    if subscription.status in ENDED_STATUSES and not of_ended:
        return None
    if not isinstance(latest, stripe.Invoice):
        return None
    if latest.billing_reason == AT_BEGINNING:
        return latest if _is_unpaid(latest) else None
    if latest.billing_reason == _RENEWAL and _pays_on(latest):
        return None
    # While a change waits, the latest invoice is what it waits for: what it is to pay for is not had yet.
    waited_for = latest.id if subscription.pending_update is not None else None
    page = await client.v1.invoices.list_async({"subscription": subscription.id, "limit": _PAGE})
    found = [one async for one in page.auto_paging_iter() if one.id != waited_for]  # the newest come first
    return _first_unpaid(found[::-1])


def _first_unpaid(invoices: list[stripe.Invoice]) -> stripe.Invoice | None:
    """Of all invoices of a subscription, the oldest first."""
    asking = [one for one in invoices if one.total > 0 and (one.status in _ASKING or _is_unpaid(one))]
    if not asking or not _is_unpaid(asking[0]):
        return None
    first, later = asking[0], invoices[invoices.index(asking[0]) + 1 :]
    is_owed = first.status == "open"
    if any(_pays_on(one) and (one.billing_reason == _RENEWAL or not is_owed) for one in later):
        return None
    return first


def _is_unpaid(invoice: stripe.Invoice) -> bool:
    """Whether an invoice that may be the first is to be paid still, or was given up."""
    if invoice.total <= 0 or invoice.status in {"draft", "paid"}:
        return False
    return invoice.status == "open" or invoice.billing_reason == AT_BEGINNING


def _pays_on(invoice: stripe.Invoice) -> bool:
    """Whether money came for it, or it asked for none. What a credit paid for was perhaps never paid for before."""
    return invoice.status == "paid" and (invoice.amount_paid > 0 or invoice.total == 0)
