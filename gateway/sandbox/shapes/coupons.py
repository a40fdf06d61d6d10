"""Coupons, promotion codes and discounts."""

from __future__ import annotations

from gateway.sandbox.coupons import Coupon, Discount, PromotionCode
from gateway.sandbox.records import Json
from gateway.sandbox.world import World


def coupon_shape(world: World, coupon: Coupon) -> Json:
    """`coupon`."""
    return {
        "id": coupon.id,
        "object": "coupon",
        "amount_off": coupon.amount_off,
        "created": coupon.created,
        "currency": coupon.currency,
        "duration": coupon.duration,
        "duration_in_months": coupon.duration_in_months,
        "livemode": False,
        "max_redemptions": coupon.max_redemptions,
        "metadata": dict(coupon.metadata),
        "name": coupon.name,
        "percent_off": None if coupon.percent_off is None else float(coupon.percent_off),
        "redeem_by": coupon.redeem_by,
        "times_redeemed": coupon.times_redeemed,
        "valid": coupon.is_valid(world.now),
    }


def promotion_code_shape(code: PromotionCode) -> Json:
    """`promotion_code`."""
    return {
        "id": code.id,
        "object": "promotion_code",
        "active": code.active,
        "code": code.code,
        "created": code.created,
        "customer": code.customer_id,
        "customer_account": None,
        "expires_at": code.expires_at,
        "livemode": False,
        "max_redemptions": code.max_redemptions,
        "metadata": dict(code.metadata),
        "promotion": {"coupon": code.coupon_id, "type": "coupon"},
        "restrictions": {"first_time_transaction": False, "minimum_amount": None, "minimum_amount_currency": None},
        "times_redeemed": code.times_redeemed,
    }


def discount_shape(discount: Discount) -> Json:
    """`discount`."""
    return {
        "id": discount.id,
        "object": "discount",
        "checkout_session": None,
        "customer": discount.customer_id,
        "customer_account": None,
        "end": discount.ends_at,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": discount.promotion_code_id,
        "source": {"coupon": discount.coupon_id, "type": "coupon"},
        "start": discount.starts_at,
        "subscription": discount.subscription_id,
        "subscription_item": None,
    }
