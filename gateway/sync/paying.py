"""How a change that is made now is paid: what asks for money at once, and whether the change can wait for it.

A change waits at Stripe until its invoice is paid, 23 hours at most, and not at all where invoices are sent by mail or
collected by bank debit. So by debit nothing is sold that is had at once and asks for money at once: it would be had
for days before the bank says no.

A fall credits the rest of the period. Where the money of that period is gone again, or may be with a dispute, there is
nothing to credit: the next periods would be paid with it, and count as paid.
"""

from __future__ import annotations

from gateway.billing import PaymentMeans
from gateway.core.billing_facts import PriceTerms
from gateway.core.candidate import Candidate
from gateway.core.errors import PaymentRequired
from gateway.core.lifecycle import DISPUTE_LOST, DISPUTED
from gateway.core.policy import Policy
from gateway.core.switching import Proration


def is_billed_at_once(item: PriceTerms, price: PriceTerms, proration: Proration) -> bool:
    """Whether Stripe makes an invoice as it makes the change.

    Args:
        item: What is had now.
        price: What it is to be sold at.
        proration: How it is settled.
    """
    is_other_rhythm = (item.interval, item.interval_count) != (price.interval, price.interval_count)
    return proration == "now" or is_other_rhythm or (item.amount == 0 and price.amount != 0)


def proration_of(current: Candidate, policy: Policy) -> Proration:
    """How a change that is made now is settled: as policy has it, and not at all with money that is gone or in dispute.

    An open dispute counts where policy lowers access for it, or for its loss.
    """
    minds_disputes = any(policy.lifecycle[row].keep_s is not None for row in (DISPUTED, DISPUTE_LOST))
    is_disputed = minds_disputes and any(row == DISPUTED for row, _ in current.record.flags)
    return "none" if current.facts.taken_back or is_disputed else policy.switching.proration


def waits_for_payment(current: Candidate, means: PaymentMeans | None, *, asks_at_once: bool) -> bool:
    """Whether the change is to wait for its payment.

    Args:
        current: The subscription as it is.
        means: What it is paid with; None: the change is not made now.
        asks_at_once: Whether more is had by it, and paid at once.

    Raises:
        PaymentRequired: It would have to wait, and cannot.
    """
    if current.facts.is_invoiced:
        return False
    if means is None or not means.takes_days:
        return True
    if asks_at_once:
        raise PaymentRequired(
            "This change is paid at once, and a bank debit takes days. Choose a card in the billing portal, then "
            "change the plan; or have it changed at the end of the period, if that is offered."
        )
    return False
