"""Whether the money of the period that was paid last was taken back: refunded in full, or lost to a charge-back.

That period's invoice is the newest that is paid and begins one: the first, a renewal, or a change that starts a period
anew. A later one that is paid ends all of it, and nothing before that does. Parts do not count: a refund of less, or of
what a change cost in the middle of a period. Neither does a credit note that goes to the balance.

Stripe's charges name no invoice. An invoice's payments lead to them, which is one request; one or two more, if some of
that was refunded or disputed, and if the latest invoice is none that begins a period. What was paid out of band has no
charge, and nobody hears of its way back.
Source: https://docs.stripe.com/api/invoice-payment/list, https://docs.stripe.com/refunds#failed-refunds
"""

from __future__ import annotations

import stripe

from gateway.core.billing_facts import PaymentsAsked
from gateway.core.lifecycle import DISPUTE_LOST, REFUNDED
from gateway.core.plan_map import ENDED_STATUSES, IDLE_STATUSES

_CHARGES = "data.payment.payment_intent.latest_charge"
_PAGE = 100
_NEVER_RAN = IDLE_STATUSES | {"incomplete_expired"}
_BEGIN_ONE = frozenset({"subscription_create", "subscription_cycle"})
_MAY_BEGIN_ONE = "subscription_update"
_CAME_BACK = frozenset({"failed", "canceled"})
"""Of a refund that the payer did not get. The charge may call it refunded all the same."""
_SAME_TIME_S = 60
"""An invoice for a period that begins now is made at once."""


async def find_taken_back(
    client: stripe.StripeClient, subscription: stripe.Subscription, asked: PaymentsAsked
) -> tuple[tuple[str, int], ...]:
    """What holds of what is asked, and when that payment had been made, in Unix seconds.

    Args:
        client: Asked for payments; fails as the SDK does.
        subscription: With its latest invoice expanded.
        asked: By policy.
    """
    is_over = subscription.status in ENDED_STATUSES
    if not asked.rows or subscription.status in _NEVER_RAN or (is_over and not asked.of_ended):
        return ()
    invoice = await _find_period_invoice(client, subscription)
    if invoice is None or invoice.amount_paid <= 0:
        return ()
    charges = await _list_charges(client, invoice.id)
    rows = []
    if DISPUTE_LOST in asked.rows and any([await _is_lost(client, one) for one in charges]):
        rows.append(DISPUTE_LOST)
    if REFUNDED in asked.rows and await _sum_refunded(client, charges) >= invoice.amount_paid:
        rows.append(REFUNDED)
    paid_at = invoice.status_transitions.paid_at
    return tuple((row, invoice.created if paid_at is None else paid_at) for row in rows)


async def _find_period_invoice(client: stripe.StripeClient, subscription: stripe.Subscription) -> stripe.Invoice | None:
    latest = subscription.latest_invoice
    if isinstance(latest, stripe.Invoice) and await _is_of_a_period(latest):
        return latest
    page = await client.v1.invoices.list_async({"subscription": subscription.id, "status": "paid", "limit": _PAGE})
    async for one in page.auto_paging_iter():  # the newest come first
        if await _is_of_a_period(one):
            return one
    return None


async def _is_of_a_period(invoice: stripe.Invoice) -> bool:
    """Whether it is paid, and for a period from its beginning."""
    if invoice.status != "paid":
        return False
    if invoice.billing_reason != _MAY_BEGIN_ONE:
        return invoice.billing_reason in _BEGIN_ONE
    return any([_begins_with(invoice, line) async for line in invoice.lines.auto_paging_iter()])


def _begins_with(invoice: stripe.Invoice, line: stripe.InvoiceLineItem) -> bool:
    details = None if line.parent is None else line.parent.subscription_item_details
    is_whole = details is not None and not details.proration
    return is_whole and abs(line.period.start - invoice.created) <= _SAME_TIME_S


async def _list_charges(client: stripe.StripeClient, invoice_id: str) -> list[stripe.Charge]:
    page = await client.v1.invoice_payments.list_async(
        {"invoice": invoice_id, "status": "paid", "limit": _PAGE, "expand": [_CHARGES]}
    )
    intents = [one.payment.payment_intent async for one in page.auto_paging_iter() if "payment_intent" in one.payment]
    found = [one.latest_charge for one in intents if isinstance(one, stripe.PaymentIntent)]
    return [one for one in found if isinstance(one, stripe.Charge)]


async def _is_lost(client: stripe.StripeClient, charge: stripe.Charge) -> bool:
    if not charge.disputed:
        return False
    page = await client.v1.disputes.list_async({"charge": charge.id, "limit": _PAGE})
    return any(one.status == "lost" for one in page.data)


async def _sum_refunded(client: stripe.StripeClient, charges: list[stripe.Charge]) -> int:
    """What was given back of charges that were given back in full. What was paid out of band beside them is kept."""
    return sum([one.amount for one in charges if await _is_refunded(client, one)])


async def _is_refunded(client: stripe.StripeClient, charge: stripe.Charge) -> bool:
    """Wholly, by refunds that the payer has or will have. One that has failed may count in the charge's sum still."""
    if charge.amount_refunded < charge.amount:
        return False
    page = await client.v1.refunds.list_async({"charge": charge.id, "limit": _PAGE})
    given = sum([one.amount async for one in page.auto_paging_iter() if one.status not in _CAME_BACK])
    return given >= charge.amount
