"""What becomes of a payment after it was made: given back, or disputed with the bank."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import emit
from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.records import Charge, Dispute, Refund
from gateway.sandbox.shapes.charges import charge_shape, dispute_shape, refund_shape
from gateway.sandbox.world import World, find

CLOSED = ("won", "lost", "warning_closed")
_BANK_TOOK_NOTHING = frozenset({"won", "warning_closed", "warning_needs_response"})
"""Statuses of disputes beside which a payment can be given back."""
VERDICTS = {"winning_evidence": "won", "losing_evidence": "lost"}
"""By the whole text of the evidence."""
STATUSES = (*CLOSED, "needs_response", "under_review", "warning_needs_response", "appeal_under_review")


def add_charge(world: World, invoice: Invoice, method_id: str) -> Charge:
    """The payment of an invoice. Stripe's charge.succeeded is not sent, nothing reads it."""
    charge = Charge(
        id=world.new_id("ch"),
        customer_id=invoice.customer_id,
        created=world.now,
        invoice_id=invoice.id,
        payment_method_id=method_id,
        amount=invoice.amount_due,
        currency=invoice.currency,
    )
    world.tables.charges[charge.id] = charge
    return charge


def charge_of(world: World, charge_id: str) -> Charge:
    """Raises NoSuchRecord."""
    return find(world.tables.charges, "charge", charge_id)


def last_charge_of(world: World, customer_id: str) -> Charge:
    """The newest payment of a customer.

    Raises:
        Refused: it has paid nothing.
    """
    paid = [one for one in world.tables.charges.values() if one.customer_id == customer_id]
    if not paid:
        raise Refused("This customer has paid nothing.", param="customer")
    return paid[-1]


def refund(world: World, charge_id: str, *, amount: int | None = None, reason: str | None = None) -> Refund:
    """Give a payment back, or a part of it: refund.created and charge.refunded.

    Source: https://docs.stripe.com/error-codes (`charge_already_refunded`, `charge_disputed`).

    Raises:
        Refused: more than is left of it, or its bank has taken it back or may.
    """
    charge = charge_of(world, charge_id)
    disputes = [one for one in world.tables.disputes.values() if one.charge_id == charge_id]
    if any(one.status not in _BANK_TOOK_NOTHING for one in disputes):
        raise Refused(f"Charge {charge_id} has been charged back; cannot issue a refund.", code="charge_disputed")
    left = charge.amount - charge.amount_refunded
    given = left if amount is None else amount
    if left == 0:
        raise Refused(f"Charge {charge_id} has already been refunded.", code="charge_already_refunded")
    if given > left:
        raise Refused("Refund amount is greater than unrefunded amount on charge.", param="amount")
    record = Refund(
        id=world.new_id("re"),
        charge_id=charge.id,
        invoice_id=charge.invoice_id,
        created=world.now,
        amount=given,
        currency=charge.currency,
        reason=reason,
    )
    world.tables.refunds[record.id] = record
    changed = replace(charge, amount_refunded=charge.amount_refunded + given)
    world.tables.charges[charge.id] = changed
    emit(world, "refund.created", refund_shape(record))
    emit(world, "charge.refunded", charge_shape(changed))
    return record


def fail_refund(world: World, refund_id: str, *, reason: str) -> Refund:
    """The payer's bank did not take a refund, days later: the money is the seller's again, and can be given back anew.

    Source: https://docs.stripe.com/refunds#failed-refunds.

    Raises:
        Refused: it has failed before.
    """
    known: Refund = find(world.tables.refunds, "refund", refund_id)
    if known.failure is not None:
        raise Refused("This refund has failed already.")
    failed = replace(known, failure=reason)
    world.tables.refunds[refund_id] = failed
    charge = charge_of(world, failed.charge_id)
    world.tables.charges[charge.id] = replace(charge, amount_refunded=charge.amount_refunded - failed.amount)
    emit(world, "refund.updated", refund_shape(failed))
    emit(world, "refund.failed", refund_shape(failed))
    return failed


def open_dispute(world: World, charge_id: str, *, reason: str, status: str = "needs_response") -> Dispute:
    """The payer's bank asks for its money back: charge.dispute.created.

    Raises:
        Refused: this payment was disputed before, or all of it was given back.
    """
    charge = charge_of(world, charge_id)
    if charge.amount_refunded == charge.amount:
        raise Refused("What was given back cannot be disputed.", param="charge")
    if charge.disputed:
        raise Refused("This charge was disputed already.", param="charge")
    dispute = Dispute(
        id=world.new_id("du"),
        charge_id=charge.id,
        created=world.now,
        amount=charge.amount,
        currency=charge.currency,
        reason=reason,
        status=status,
    )
    world.tables.disputes[dispute.id] = dispute
    world.tables.charges[charge.id] = replace(charge, disputed=True)
    emit(world, "charge.dispute.created", dispute_shape(dispute))
    return dispute


def move_dispute(world: World, dispute_id: str, status: str) -> Dispute:
    """Another status: charge.dispute.closed if that is an end, else .updated."""
    dispute = dispute_of(world, dispute_id)
    moved = replace(dispute, status=status)
    world.tables.disputes[dispute_id] = moved
    ends = status in CLOSED and dispute.status not in CLOSED
    emit(world, "charge.dispute.closed" if ends else "charge.dispute.updated", dispute_shape(moved))
    return moved


def answer_dispute(world: World, dispute_id: str, *, text: str | None, submits: bool) -> Dispute:
    """What the seller says of a dispute; the bank decides by the words that Stripe has for tests.

    Source: https://docs.stripe.com/testing#evidence.

    Raises:
        Refused: it is closed.
    """
    dispute = dispute_of(world, dispute_id)
    if dispute.status in CLOSED:
        raise Refused("This dispute is already closed.")
    said = replace(dispute, evidence=dispute.evidence if text is None else text)
    world.tables.disputes[dispute_id] = said
    if not submits:
        return said
    world.tables.disputes[dispute_id] = replace(said, submissions=said.submissions + 1)
    move_dispute(world, dispute_id, "under_review")
    verdict = VERDICTS.get(said.evidence or "")
    return dispute_of(world, dispute_id) if verdict is None else move_dispute(world, dispute_id, verdict)


def dispute_of(world: World, dispute_id: str) -> Dispute:
    """Raises NoSuchRecord."""
    return find(world.tables.disputes, "dispute", dispute_id)
