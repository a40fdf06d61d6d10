"""How an invoice is paid: its one PaymentIntent, and the InvoicePayment that joins both.

Neither has a record of its own. An invoice has them once it is final and asks for something.
"""

from __future__ import annotations

from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.records import Json
from gateway.sandbox.world import NoSuchRecord, World

_INVOICE, _INTENT = "in_", "pi_"


def intent_id(invoice_id: str) -> str:
    """The id of an invoice's PaymentIntent."""
    return _INTENT + invoice_id.removeprefix(_INVOICE)


def invoice_of_intent(world: World, payment_intent_id: str) -> Invoice:
    """The invoice that a PaymentIntent pays.

    Raises:
        NoSuchRecord: There is no such PaymentIntent.
    """
    invoice = world.tables.invoices.get(_INVOICE + payment_intent_id.removeprefix(_INTENT))
    if invoice is None or not has_payment(invoice) or intent_id(invoice.id) != payment_intent_id:
        raise NoSuchRecord("payment_intent", payment_intent_id)
    return invoice


def has_payment(invoice: Invoice) -> bool:
    """Whether there is something to pay, or was."""
    return invoice.finalized_at is not None and invoice.amount_due > 0


def invoice_payment_shape(invoice: Invoice) -> Json:
    """`invoice_payment`."""
    is_paid = invoice.status == "paid"
    return {
        "id": f"inpay_{invoice.id.removeprefix(_INVOICE)}",
        "object": "invoice_payment",
        "amount_paid": invoice.amount_paid if is_paid else None,
        "amount_requested": invoice.amount_due,
        "created": invoice.finalized_at,
        "currency": invoice.currency,
        "invoice": invoice.id,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent_id(invoice.id), "type": "payment_intent"},
        "status": invoice_payment_status(invoice),
        "status_transitions": {"canceled_at": invoice.voided_at, "paid_at": invoice.paid_at},
    }


def invoice_payment_status(invoice: Invoice) -> str:
    """`open`, `paid` or `canceled`."""
    return {"paid": "paid", "void": "canceled"}.get(invoice.status, "open")


def payment_intent_shape(world: World, invoice: Invoice) -> Json:
    """`payment_intent` of an invoice."""
    status = _intent_status(invoice)
    charges = [one.id for one in world.tables.charges.values() if one.invoice_id == invoice.id]
    waits = status == "requires_action"
    return {
        "id": intent_id(invoice.id),
        "object": "payment_intent",
        "amount": invoice.amount_due,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": invoice.amount_paid,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": invoice.voided_at,
        "cancellation_reason": "void_invoice" if invoice.status == "void" else None,
        "capture_method": "automatic",
        "client_secret": f"{intent_id(invoice.id)}_secret_sandbox",
        "confirmation_method": "automatic",
        "created": invoice.finalized_at,
        "currency": invoice.currency,
        "customer": invoice.customer_id,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": charges[-1] if charges else None,
        "livemode": False,
        "metadata": {},
        "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {}} if waits else None,
        "on_behalf_of": None,
        "payment_method": invoice.action_by if waits else invoice.arrives_by,
        "payment_method_configuration_details": None,
        "payment_method_options": None,
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
    }


def _intent_status(invoice: Invoice) -> str:
    if invoice.status == "void" or (invoice.status == "paid" and invoice.amount_paid == 0):
        return "canceled"
    if invoice.status == "paid":
        return "succeeded"
    if invoice.action_by is not None:
        return "requires_action"
    return "requires_payment_method" if invoice.arrives_at is None else "processing"
