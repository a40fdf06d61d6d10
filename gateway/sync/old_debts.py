"""Who owes something for a subscription that is over, and is sold no other before it is paid, unless policy allows it.

A renewal that fails gives the whole quota of a new period during the grace. Whoever let the subscription end then,
and bought another, had that for nothing, as often as it liked. Read of Stripe at the checkout, of a customer who has
an ended subscription of ours, in one request, because a payment or a word of the seller a second ago counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.core.debt import debt_words, find_debts
from gateway.core.errors import PaymentRequired

if TYPE_CHECKING:
    from gateway.sync.customers import Sync, SyncOutcome

log = structlog.get_logger(__name__)


async def refuse_debtor(sync: Sync, customer_id: str, stripe_customer_id: str, read: SyncOutcome) -> None:
    """Called before a subscription is sold.

    Args:
        sync: Asks Stripe.
        customer_id: Ours.
        stripe_customer_id: Whose invoices.
        read: What was just read of this customer.

    Raises:
        PaymentRequired: With where the oldest invoice is paid.
        BillingUnavailable, BillingRefused: Stripe did not say.
    """
    if not read.ended or sync.policy.debts == "allow":
        return
    debts = find_debts(await sync.billing.invoices.fetch_open(stripe_customer_id), dict(read.ended))
    if not debts or not await sync.billing.account.has_customer(stripe_customer_id):
        return  # the seller who deletes a customer gives up what it owes: nobody could pay it
    log.info("checkout refused for a debt", customer_id=customer_id, invoice_id=debts[0].invoice_id, debts=len(debts))
    raise PaymentRequired(debt_words(debts), payment_url=debts[0].payment_url)
