"""Checkout sessions."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.sandbox.coupons import amount_off
from gateway.sandbox.records import CheckoutLine, CheckoutSession, Json
from gateway.sandbox.shapes.catalog import price_shape
from gateway.sandbox.shapes.lists import address_shape, list_shape
from gateway.sandbox.tariffs import cost_of
from gateway.sandbox.taxes import tax_of
from gateway.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What a checkout page asks for today."""

    subtotal: int
    discount: int
    tax: int

    @property
    def total(self) -> int:
        """What the payer pays."""
        return self.subtotal - self.discount + self.tax


def checkout_sum(world: World, session: CheckoutSession) -> Sum:
    """What the payer sees; nothing is collected at once when there is a trial."""
    if session.trial_days:
        return Sum(subtotal=0, discount=0, tax=0)
    subtotal = sum(_amount(world, line) for line in session.lines)
    coupon = None if session.coupon_id is None else world.tables.coupons.get(session.coupon_id)
    off = 0 if coupon is None else amount_off(subtotal, coupon.percent_off, coupon.amount_off)
    return Sum(subtotal=subtotal, discount=off, tax=tax_of(subtotal - off) if session.automatic_tax else 0)


def checkout_total(world: World, session: CheckoutSession) -> int:
    """What is due today."""
    return checkout_sum(world, session).total


def _amount(world: World, line: CheckoutLine) -> int:
    """What is due at once: nothing of what is metered."""
    price = world.price(line.price_id)
    return cost_of(price.rates, line.quantity) if price.meter_id is None else 0


def checkout_shape(world: World, session: CheckoutSession) -> Json:
    """`checkout.session` of mode subscription."""
    asked = checkout_sum(world, session)
    is_open = session.status == "open"
    return {
        "id": session.id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": session.allow_promotion_codes,
        "amount_subtotal": asked.subtotal,
        "amount_total": asked.total,
        "automatic_tax": _automatic_tax(session),
        "billing_address_collection": "required" if session.asks_for_address else None,
        "cancel_url": session.cancel_url,
        "client_reference_id": session.client_reference_id,
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": session.created,
        "currency": session.currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": session.customer_id,
        "customer_account": None,
        "customer_creation": "always" if session.customer_id is None else None,
        "customer_details": _payer(session),
        "customer_email": session.customer_email,
        "discounts": _discounts(session),
        "expires_at": session.expires_at,
        "invoice": session.invoice_id,
        "invoice_creation": None,
        "livemode": False,
        "locale": session.locale,
        "metadata": dict(session.metadata),
        "mode": "subscription",
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "always" if session.asks_for_method else "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": session.payment_status,
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": {
            "allow_redisplay_filters": ["always"],
            "payment_method_remove": "disabled",
            "payment_method_save": None,
        },
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": session.status,
        "submit_type": None,
        "subscription": session.subscription_id,
        "success_url": session.success_url,
        "tax_id_collection": {"enabled": session.collects_tax_ids, "required": "never"},
        "total_details": {"amount_discount": asked.discount, "amount_shipping": 0, "amount_tax": asked.tax},
        "ui_mode": "hosted_page",
        "url": f"{world.public_url}/c/pay/{session.id}" if is_open else None,
        "wallet_options": None,
    }


def _automatic_tax(session: CheckoutSession) -> Json:
    if not session.automatic_tax:
        return {"enabled": False, "liability": None, "provider": None, "status": None}
    is_known = session.payer_address is not None
    status = "complete" if is_known else "requires_location_inputs"
    return {"enabled": True, "liability": {"type": "self"}, "provider": "stripe", "status": status}


def _discounts(session: CheckoutSession) -> list[Json]:
    if session.coupon_id is None:
        return []
    return [{"coupon": session.coupon_id, "promotion_code": session.promotion_code_id}]


def _payer(session: CheckoutSession) -> Json | None:
    email = session.payer_email or session.customer_email
    if email is None and session.status == "open":
        return None
    return {
        "address": None if session.payer_address is None else address_shape(session.payer_address),
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": session.payer_name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def checkout_lines_shape(world: World, session: CheckoutSession) -> Json:
    """The list of `item` objects that a checkout page sells."""
    data = [_line(world, line) for line in session.lines]
    return list_shape(data, f"/v1/checkout/sessions/{session.id}/line_items")


def _line(world: World, line: CheckoutLine) -> Json:
    price = world.price(line.price_id)
    amount = _amount(world, line)
    return {
        "id": line.id,
        "object": "item",
        "adjustable_quantity": _range(line),
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price.currency,
        "description": world.product(price.product_id).name,
        "metadata": {},
        "price": price_shape(price),
        "quantity": line.quantity if price.meter_id is None else None,
    }


def _range(line: CheckoutLine) -> Json | None:
    if line.range is None:
        return None
    return {"enabled": True, "minimum": line.range[0], "maximum": line.range[1]}
