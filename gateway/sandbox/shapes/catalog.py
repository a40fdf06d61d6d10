"""Products, prices, and the older `plan` object that items still carry."""

from __future__ import annotations

from decimal import Decimal

from gateway.sandbox.records import Json, Price, Product
from gateway.sandbox.tariffs import Tier, decimal_text


def product_shape(product: Product) -> Json:
    """`product`."""
    return {
        "id": product.id,
        "object": "product",
        "active": product.active,
        "created": product.created,
        "default_price": None,
        "description": product.description,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": dict(product.metadata),
        "name": product.name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": product.updated,
        "url": None,
    }


def price_shape(price: Price) -> Json:
    """`price`."""
    return {
        "id": price.id,
        "object": "price",
        "active": price.active,
        "billing_scheme": "tiered" if price.rates.tiers else "per_unit",
        "created": price.created,
        "currency": price.currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": price.lookup_key,
        "metadata": dict(price.metadata),
        "nickname": price.nickname,
        "product": price.product_id,
        "recurring": _recurring(price),
        "tax_behavior": price.tax_behavior,
        "tiers_mode": price.rates.tiers_mode,
        "transform_quantity": _transform(price),
        "type": "one_time" if price.interval is None else "recurring",
        "unit_amount": _whole(price),
        "unit_amount_decimal": _exact(price),
    }


def _whole(price: Price) -> int | None:
    """None where there is no single amount of whole cents."""
    each = price.rates.unit_amount
    return None if price.rates.tiers or each != each.to_integral_value() else int(each)


def _exact(price: Price) -> str | None:
    return None if price.rates.tiers else decimal_text(price.rates.unit_amount)


def _transform(price: Price) -> Json | None:
    rates = price.rates
    return {"divide_by": rates.divide_by, "round": rates.rounds} if rates.divide_by > 1 else None


def tiers_shape(price: Price) -> list[Json]:
    """A price's `tiers`, which are shown only where they are expanded."""
    return [_tier(tier) for tier in price.rates.tiers]


def currency_options_shape(price: Price) -> Json:
    """A price's `currency_options`, shown only where they are expanded. The sandbox's prices have their own only."""
    option: Json = {
        "custom_unit_amount": None,
        "tax_behavior": price.tax_behavior,
        "unit_amount": _whole(price),
        "unit_amount_decimal": _exact(price),
    }
    return {price.currency: option}


def _tier(tier: Tier) -> Json:
    return {
        **_amounts("flat_amount", tier.flat_amount or None),
        **_amounts("unit_amount", tier.unit_amount),
        "up_to": tier.up_to,
    }


def _amounts(name: str, exact: Decimal | None) -> Json:
    if exact is None:
        return {name: None, f"{name}_decimal": None}
    return {name: int(exact) if exact == exact.to_integral_value() else None, f"{name}_decimal": decimal_text(exact)}


def _recurring(price: Price) -> Json | None:
    if price.interval is None:
        return None
    return {
        "interval": price.interval,
        "interval_count": price.interval_count,
        "meter": price.meter_id,
        "trial_period_days": None,
        "usage_type": _usage_type(price),
    }


def _usage_type(price: Price) -> str:
    return "licensed" if price.meter_id is None else "metered"


def plan_shape(price: Price) -> Json:
    """`plan`: the same price in its older form."""
    return {
        "id": price.id,
        "object": "plan",
        "active": price.active,
        "amount": _whole(price),
        "amount_decimal": _exact(price),
        "billing_scheme": "tiered" if price.rates.tiers else "per_unit",
        "created": price.created,
        "currency": price.currency,
        "interval": price.interval,
        "interval_count": price.interval_count,
        "livemode": False,
        "metadata": dict(price.metadata),
        "meter": price.meter_id,
        "nickname": price.nickname,
        "product": price.product_id,
        "tiers_mode": price.rates.tiers_mode,
        "transform_usage": _transform(price),
        "trial_period_days": None,
        "usage_type": _usage_type(price),
    }
