"""Customers and their cards."""

from __future__ import annotations

from gateway.sandbox.records import Customer, Json, PaymentMethod
from gateway.sandbox.shapes.lists import address_shape


def customer_shape(customer: Customer, *, delinquent: bool) -> Json:
    """`customer`, or what is left of a deleted one. `delinquent`: its last invoice was not paid."""
    if customer.deleted:
        return {"id": customer.id, "object": "customer", "deleted": True}
    return {
        "id": customer.id,
        "object": "customer",
        "address": None if customer.address is None else address_shape(customer.address),
        "balance": customer.balance,
        "created": customer.created,
        "currency": customer.currency,
        "customer_account": None,
        "default_source": None,
        "delinquent": delinquent,
        "description": customer.description,
        "discount": None,
        "email": customer.email,
        "invoice_prefix": invoice_prefix(customer),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": customer.default_payment_method_id,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": dict(customer.metadata),
        "name": customer.name,
        "next_invoice_sequence": customer.invoice_count + 1,
        "phone": customer.phone,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": customer.test_clock_id,
    }


def invoice_prefix(customer: Customer) -> str:
    """What the customer's invoice numbers begin with."""
    return customer.id.removeprefix("cus_").upper()


def payment_method_shape(method: PaymentMethod) -> Json:
    """`payment_method` of type card or us_bank_account."""
    kind = "us_bank_account" if method.delayed else "card"
    return {
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": address_shape(),
            "email": method.email,
            "name": method.name,
            "phone": None,
            "tax_id": None,
        },
        kind: _bank_account(method) if method.delayed else _card(method),
        "created": method.created,
        "customer": method.customer_id,
        "customer_account": None,
        "livemode": False,
        "metadata": dict(method.metadata),
        "type": kind,
    }


def _bank_account(method: PaymentMethod) -> Json:
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "fingerprint": f"sandbox{method.last4}",
        "last4": method.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": None,
    }


def _card(method: PaymentMethod) -> Json:
    return {
        "brand": method.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": method.brand,
        "exp_month": method.exp_month,
        "exp_year": method.exp_year,
        "fingerprint": f"sandbox{method.last4}",
        "funding": "credit",
        "generated_from": None,
        "last4": method.last4,
        "networks": {"available": [method.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
