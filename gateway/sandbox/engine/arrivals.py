"""Payments that take days: what was promised at the checkout arrives, or does not."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.invoices import fail_payment, take_payment
from gateway.sandbox.engine.saving import put_checkout
from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.world import World


def arrive(world: World, invoice: Invoice) -> None:
    """The payment that is on its way is here, or its bank refused it; the checkout that began it tells."""
    method = world.tables.payment_methods.get(invoice.arrives_by or "")
    settled = replace(invoice, arrives_at=None)
    if method is not None and method.pays_off_session:
        take_payment(world, settled, method.id)
        _tell_checkout(world, invoice, "paid", "checkout.session.async_payment_succeeded")
    else:
        fail_payment(world, settled)
        _tell_checkout(world, invoice, "unpaid", "checkout.session.async_payment_failed")


def _tell_checkout(world: World, invoice: Invoice, payment_status: str, event_type: str) -> None:
    for session in list(world.tables.checkouts.values()):
        if session.invoice_id == invoice.id and session.payment_status == "unpaid":
            put_checkout(world, replace(session, payment_status=payment_status), event_type)
