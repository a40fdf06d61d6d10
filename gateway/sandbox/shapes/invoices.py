"""Invoices and their lines."""

from __future__ import annotations

from gateway.sandbox.invoice_records import Invoice, InvoiceLine
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.lists import list_shape
from gateway.sandbox.tariffs import decimal_text
from gateway.sandbox.taxes import RATE_ID, tax_of
from gateway.sandbox.world import World

_TAX_STATUSES = {
    None: "complete",
    "customer_tax_location_invalid": "requires_location_inputs",
    "taxes_calculation_failed": "failed",
}
FINALIZATION_WORDS = {
    "customer_tax_location_invalid": (
        "The customer's location isn't recognized. "
        "Set a valid customer address in order to automatically calculate tax."
    ),
    "taxes_calculation_failed": "Tax calculation for this invoice failed. Try again later.",
}
"""By Stripe's code, for people."""


def lines_shape(world: World, invoice: Invoice) -> list[Json]:
    """The `line_item`s of an invoice, each with its part of discounts and tax, which add up to the invoice's."""
    shares: list[list[Json]] = [[] for _ in invoice.lines]
    for discount, parts in zip(invoice.discounts, invoice.discount_parts, strict=True):
        for share, part in zip(shares, parts, strict=True):
            share.append({"amount": part, "discount": discount.id})
    shapes, reached = [], 0
    for line, share in zip(invoice.lines, shares, strict=True):
        net = line.amount - sum(one["amount"] for one in share)
        taxes = taxes_shape(net) if invoice.taxed else []
        for tax in taxes:
            tax["amount"] = tax_of(reached + net) - tax_of(reached)
        reached += net
        applied = [] if line.proration else share
        shapes.append(_line_shape(world, invoice.id, line) | {"discount_amounts": applied, "taxes": taxes})
    return shapes


def _line_shape(world: World, invoice_id: str, line: InvoiceLine) -> Json:
    price = world.price(line.price_id)
    each = price.rates.unit_amount if line.unit_amount is None else line.unit_amount
    return {
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": line.currency,
        "description": line.description,
        "discount_amounts": [],
        "discountable": not line.proration,
        "discounts": [],
        "invoice": invoice_id,
        "livemode": False,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": line.invoice_item_id,
                "proration": line.proration,
                "proration_details": {"credited_items": _credited_shape(line)},
                "subscription": line.subscription_id,
                "subscription_item": line.item_id,
            },
            "type": "subscription_item_details",
        },
        "period": {"start": line.period_starts_at, "end": line.period_ends_at},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price.id, "product": price.product_id},
            "type": "price_details",
            "unit_amount_decimal": decimal_text(each),
        },
        "quantity": line.quantity,
        "quantity_decimal": str(line.quantity),
        "subscription": line.subscription_id,
        "subtotal": line.amount,
        "taxes": [],
    }


def _credited_shape(line: InvoiceLine) -> Json | None:
    if line.credits is None:
        return None
    invoice_id, line_id = line.credits
    return {"invoice": invoice_id, "invoice_line_items": [line_id]}


def invoice_shape(world: World, invoice: Invoice) -> Json:
    """`invoice`. The subscription is at `parent.subscription_details.subscription`."""
    customer = world.tables.customers[invoice.customer_id]
    hosted = None if invoice.finalized_at is None else f"{world.public_url}/i/{invoice.id}"
    lines = lines_shape(world, invoice)
    return _amounts(invoice) | {
        "id": invoice.id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Tiergate sandbox",
        "account_tax_ids": None,
        "application": None,
        "attempt_count": invoice.attempt_count,
        "attempted": invoice.attempt_count > 0,
        "auto_advance": invoice.auto_advance and invoice.status in {"draft", "open"},
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": invoice.taxed,
            "liability": {"type": "self"} if invoice.taxed else None,
            "provider": "stripe" if invoice.taxed else None,
            "status": _TAX_STATUSES[invoice.finalization_error] if invoice.taxed else None,
        },
        "automatically_finalizes_at": invoice.finalizes_at,
        "billing_reason": invoice.billing_reason,
        "collection_method": "charge_automatically" if invoice.days_until_due is None else "send_invoice",
        "created": invoice.created,
        "currency": invoice.currency,
        "custom_fields": None,
        "customer": invoice.customer_id,
        "customer_account": None,
        "customer_address": None,
        "customer_email": customer.email,
        "customer_name": customer.name,
        "customer_phone": customer.phone,
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": invoice.words.description,
        "discounts": [one.id for one in invoice.discounts],
        "due_date": invoice.due_at,
        "effective_at": invoice.finalized_at,
        "footer": invoice.words.footer,
        "from_invoice": None,
        "hosted_invoice_url": hosted,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": _error_shape(invoice.finalization_error),
        "latest_revision": None,
        "lines": list_shape(lines, f"/v1/invoices/{invoice.id}/lines") | {"total_count": len(lines)},
        "livemode": False,
        "metadata": dict(invoice.metadata),
        "next_payment_attempt": invoice.next_attempt_at,
        "number": invoice.number,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(invoice.subscription_metadata),
                "subscription": invoice.subscription_id,
                "subscription_proration_date": None,
            },
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": invoice.period_ends_at,
        "period_start": invoice.period_starts_at,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "statement_descriptor": None,
        "status": invoice.status,
        "status_transitions": {
            "finalized_at": invoice.finalized_at,
            "marked_uncollectible_at": invoice.uncollectible_at,
            "paid_at": invoice.paid_at,
            "voided_at": invoice.voided_at,
        },
        "test_clock": customer.test_clock_id,
        "webhooks_delivered_at": None if invoice.preview else invoice.created,
    }


def _error_shape(code: str | None) -> Json | None:
    """Why it could not be finalized."""
    if code is None:
        return None
    return {"code": code, "message": FINALIZATION_WORDS[code], "type": "invalid_request_error"}


def taxes_shape(net: int) -> list[Json]:
    """The tax on an amount."""
    return [
        {
            "amount": tax_of(net),
            "tax_behavior": "exclusive",
            "tax_rate_details": {"tax_rate": RATE_ID},
            "taxability_reason": "standard_rated",
            "taxable_amount": net,
            "type": "tax_rate_details",
        }
    ]


def _amounts(invoice: Invoice) -> Json:
    remaining = 0 if invoice.status == "paid" else max(invoice.amount_due - invoice.amount_paid, 0)
    return {
        "amount_due": invoice.amount_due,
        "amount_overpaid": 0,
        "amount_paid": invoice.amount_paid,
        "amount_remaining": remaining,
        "amount_shipping": 0,
        "ending_balance": invoice.ending_balance,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "starting_balance": invoice.starting_balance,
        "subtotal": invoice.subtotal,
        "subtotal_excluding_tax": invoice.subtotal,
        "total": invoice.total,
        "total_discount_amounts": [
            {"amount": amount, "discount": one.id}
            for one, amount in zip(invoice.discounts, invoice.discount_amounts, strict=True)
        ],
        "total_excluding_tax": invoice.net,
        "total_pretax_credit_amounts": [
            {"amount": amount, "discount": one.id, "type": "discount"}
            for one, amount in zip(invoice.discounts, invoice.discount_amounts, strict=True)
        ],
        "total_taxes": taxes_shape(invoice.net) if invoice.taxed else [],
    }
