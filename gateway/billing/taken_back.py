"""Whether the money of the period that was paid last was taken back: refunded in full, or lost to a charge-back.

That period's invoice is the newest that is paid and begins one: the first, a renewal, or a change that starts a period
anew. A later one that is paid ends all of it, and nothing before that does. Parts do not count: a refund of less, or of
what a change cost in the middle of a period. Neither does a credit note that goes to the balance. If a credit paid for
that period, the money that Stripe gave back as this credit is looked at; a gift is nobody's (`core.money_behind`).

Stripe's charges name no invoice. An invoice's payments lead to them, which is one request; one or two more, if some of
that was refunded or disputed, and if the latest invoice is none that begins a period. What was paid out of band has no
charge, and nobody hears of its way back. What a credit paid costs one request more, for all that the customer paid.
Source: https://docs.stripe.com/api/invoice-payment/list, https://docs.stripe.com/refunds#failed-refunds,
https://docs.stripe.com/billing/subscriptions/prorations#credit-proration-debit-links
"""

from __future__ import annotations

import stripe

from gateway.billing.reading import id_of
from gateway.core.billing_facts import PaymentsAsked
from gateway.core.lifecycle import DISPUTE_LOST, REFUNDED
from gateway.core.money_behind import PaidInvoice, money_behind
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
    paid = [] if invoice is None else await _find_paid(client, invoice)
    if not paid:
        return ()
    charges = [charge for one in paid for charge in await _list_charges(client, one.id)]
    rows = []
    if DISPUTE_LOST in asked.rows and any([await _is_lost(client, one) for one in charges]):
        rows.append(DISPUTE_LOST)
    if REFUNDED in asked.rows and await _sum_refunded(client, charges) >= sum(one.amount_paid for one in paid):
        rows.append(REFUNDED)
    paid_at = max(one.status_transitions.paid_at or one.created for one in paid)
    return tuple((row, paid_at) for row in rows)


async def _find_paid(client: stripe.StripeClient, invoice: stripe.Invoice) -> list[stripe.Invoice]:
    """By whose payments an invoice was paid: its own, or those that its credit gave back. Empty: nobody paid."""
    if invoice.amount_paid > 0:
        return [invoice]
    whose = id_of(invoice.customer)
    if whose is None or (invoice.starting_balance >= 0 and not await _list_credits(invoice)):
        return []  # nothing was asked: a trial, a coupon
    page = await client.v1.invoices.list_async({"customer": whose, "status": "paid", "limit": _PAGE})
    found = [one async for one in page.auto_paging_iter()]
    found.reverse()  # the newest come first
    behind = money_behind([await _read_paid(one) for one in found]).get(invoice.id, ())
    return [one for one in found if one.id in behind]


async def _read_paid(invoice: stripe.Invoice) -> PaidInvoice:
    """What an invoice gives back matters only if nothing was paid beside it: else all of the balance was used up."""
    lines = await _list_credits(invoice) if invoice.amount_paid <= 0 else []
    back = [(whose, _worth(line)) for line in lines if (whose := _given_back_of(line)) is not None]
    return PaidInvoice(
        invoice_id=invoice.id,
        finalized_at=invoice.status_transitions.finalized_at or invoice.created,
        total=invoice.total,
        starting_balance=invoice.starting_balance,
        amount_paid=invoice.amount_paid,
        gives_back=tuple(back),
    )


async def _list_credits(invoice: stripe.Invoice) -> list[stripe.InvoiceLineItem]:
    return [line async for line in invoice.lines.auto_paging_iter() if line.amount < 0]


def _given_back_of(line: stripe.InvoiceLineItem) -> str | None:
    """The invoice that what is given back was on; None: Stripe does not say, as of what the seller gives."""
    parent = line.parent
    details = None if parent is None else parent.subscription_item_details or parent.invoice_item_details
    proration = None if details is None else details.proration_details
    credited = None if proration is None else proration.credited_items
    return None if credited is None else credited.invoice


def _worth(line: stripe.InvoiceLineItem) -> int:
    """What stands on the balance of it, with the tax on top of it."""
    taxes = [tax.amount for tax in line.taxes or () if tax.tax_behavior == "exclusive"]
    return -(line.amount + sum(taxes))


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
