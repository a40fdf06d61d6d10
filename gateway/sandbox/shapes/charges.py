"""Charges, refunds and disputes."""

from __future__ import annotations

from gateway.sandbox.records import Charge, Dispute, Json, Refund
from gateway.sandbox.rules import DAY_S
from gateway.sandbox.shapes.lists import address_shape
from gateway.sandbox.shapes.payments import intent_id

_ANSWER_WITHIN_S = 7 * DAY_S
_OPEN = frozenset({"needs_response", "warning_needs_response", "appeal_needs_response"})


def charge_shape(charge: Charge) -> Json:
    """`charge` of a card payment that succeeded."""
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount,
        "amount_captured": charge.amount,
        "amount_refunded": charge.amount_refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {
            "address": address_shape(),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "calculated_statement_descriptor": "TIERGATE SANDBOX",
        "captured": True,
        "created": charge.created,
        "currency": charge.currency,
        "customer": charge.customer_id,
        "description": None,
        "disputed": charge.disputed,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": None,
        "paid": True,
        "payment_intent": intent_id(charge.invoice_id),
        "payment_method": charge.payment_method_id,
        "payment_method_details": None,
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": charge.amount_refunded == charge.amount,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def refund_shape(refund: Refund) -> Json:
    """`refund`. It names no customer."""
    shape: Json = {
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "balance_transaction": None,
        "charge": refund.charge_id,
        "created": refund.created,
        "currency": refund.currency,
        "metadata": {},
        "payment_intent": intent_id(refund.invoice_id),
        "reason": refund.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded" if refund.failure is None else "failed",
        "transfer_reversal": None,
    }
    return shape if refund.failure is None else shape | {"failure_reason": refund.failure}


def dispute_shape(dispute: Dispute) -> Json:
    """`dispute`. Evidence is a text here."""
    return {
        "id": dispute.id,
        "object": "dispute",
        "amount": dispute.amount,
        "balance_transactions": [],
        "charge": dispute.charge_id,
        "created": dispute.created,
        "currency": dispute.currency,
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}, "uncategorized_text": dispute.evidence},
        "evidence_details": {
            "due_by": dispute.created + _ANSWER_WITHIN_S if dispute.status in _OPEN else None,
            "enhanced_eligibility": {},
            "has_evidence": dispute.evidence is not None,
            "past_due": False,
            "submission_count": dispute.submissions,
            "submission_method": "manual" if dispute.submissions else "not_submitted",
        },
        "intended_submission_method": None,
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "network_reason_code": None,
        "payment_intent": None,
        "payment_method_details": None,
        "reason": dispute.reason,
        "status": dispute.status,
    }
