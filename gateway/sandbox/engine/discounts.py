"""Redeeming coupons, and which discounts count on an invoice.

A coupon of duration `once` counts on the first invoice that asks for something, so not on that of a trial.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.coupons import Coupon, Discount, PromotionCode
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import emit
from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.periods import period_end
from gateway.sandbox.records import Subscription
from gateway.sandbox.shapes.coupons import discount_shape
from gateway.sandbox.world import World, find


def coupon_of(world: World, coupon_id: str, param: str | None = None) -> Coupon:
    """A coupon that can be redeemed.

    Raises:
        NoSuchRecord: There is none.
        Refused: It is used up or over.
    """
    coupon = find(world.tables.coupons, "coupon", coupon_id)
    if not coupon.is_valid(world.now):
        raise Refused(f"Coupon expired: {coupon_id}", param=param, code="coupon_expired")
    return coupon


def find_code(world: World, text: str, customer_id: str | None) -> PromotionCode | None:
    """The code that a customer may redeem now; None: there is none like it."""
    for code in world.tables.promotion_codes.values():
        coupon = world.tables.coupons.get(code.coupon_id)
        if code.code.casefold() != text.casefold() or coupon is None or not coupon.is_valid(world.now):
            continue
        if code.is_valid(world.now, customer_id):
            return code
    return None


def redeem(world: World, subscription: Subscription, coupon_id: str, code_id: str | None) -> Subscription:
    """The subscription with a coupon on it: customer.discount.created. To be put by the caller."""
    coupon = world.tables.coupons[coupon_id]
    months = coupon.duration_in_months if coupon.duration == "repeating" else None
    discount = Discount(
        id=world.new_id("di"),
        coupon_id=coupon.id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        starts_at=world.now,
        duration=coupon.duration,
        ends_at=None if months is None else period_end(world.now, "month", months, world.now),
        promotion_code_id=code_id,
        percent_off=coupon.percent_off,
        amount_off=coupon.amount_off,
        products=coupon.products,
    )
    world.tables.coupons[coupon.id] = replace(coupon, times_redeemed=coupon.times_redeemed + 1)
    if code_id is not None:
        code = world.tables.promotion_codes[code_id]
        world.tables.promotion_codes[code_id] = replace(code, times_redeemed=code.times_redeemed + 1)
    emit(world, "customer.discount.created", discount_shape(discount))
    return replace(subscription, discounts=(*subscription.discounts, discount))


def live_discounts(world: World, subscription: Subscription, at: int) -> tuple[Discount, ...]:
    """The discounts of a subscription that an invoice of that instant has."""
    return tuple(one for one in subscription.discounts if _is_live(world, one, at))


def with_discounts(world: World, subscription: Subscription, invoice: Invoice, at: int) -> Invoice:
    """The invoice with what the subscription has off, and taxed if it is."""
    if not subscription.discounts and not subscription.automatic_tax:
        return invoice
    found = tuple(one for one in live_discounts(world, subscription, at) if invoice.discountable(one) > 0)
    return replace(invoice, discounts=found, taxed=subscription.automatic_tax)


def _is_live(world: World, discount: Discount, at: int) -> bool:
    if discount.duration == "once":
        return not any(
            discount in invoice.discounts
            for invoice in world.tables.invoices.values()
            if invoice.subscription_id == discount.subscription_id
        )
    return discount.ends_at is None or at < discount.ends_at
