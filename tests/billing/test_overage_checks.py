"""The doctor tells where usage is reported and would not be billed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from gateway.cli.overage_checks import check_overages
from gateway.core.overage import Overage, PriceName

pytestmark = pytest.mark.slow


async def words(
    shop: Any, *, meter: dict[str, Any] | None = None, told: str | None = None, **changes: Any
) -> list[str]:
    """What is found of a monthly plan whose overage is billed at a price of a meter like this."""
    v1, name = shop.sandbox.stripe.v1, f"m_{uuid4().hex[:8]}"
    fresh: Any = {"display_name": "M", "event_name": name, "default_aggregation": {"formula": "sum"}} | (meter or {})
    made = await v1.billing.meters.create_async(fresh)
    product = await v1.products.create_async({"name": "Overage"})
    wanted: Any = {
        "product": product.id,
        "currency": "usd",
        "unit_amount": 3,
        "recurring": {"interval": "month", "usage_type": "metered", "meter": made.id},
    }
    price = await v1.prices.create_async(wanted | changes)
    overage = Overage(
        meter="requests", stripe_meter=told or name, price=PriceName(price_id=price.id), spend_cap=(100, "usd")
    )
    policy = shop.sync._policy.current
    plan = policy.plans["pro-monthly"]
    tiers = {**policy.tiers, "pro": replace(policy.tiers["pro"], overages=(overage,))}
    found = await check_overages(shop.billing, replace(policy, tiers=tiers, plans={plan.plan_id: plan}))
    return [one.what for one in found]


async def test_a_price_of_the_right_meter_is_right(shop: Any) -> None:
    [one] = await words(shop)
    assert "is billed by meter" in one


async def test_a_price_of_another_meter_is_told(shop: Any) -> None:
    [one] = await words(shop, told="api_other")
    assert "usage is reported to 'api_other'" in one


async def test_a_meter_that_counts_events_is_told(shop: Any) -> None:
    [one] = await words(shop, meter={"default_aggregation": {"formula": "count"}})
    assert "does not add up (sum), it is 'count'" in one


@pytest.mark.parametrize(("currency", "said"), [("eur", ["the plan in USD", "there is no overage"])])
async def test_another_currency_is_told(shop: Any, currency: str, said: list[str]) -> None:
    found = await words(shop, currency=currency)
    assert len(found) == len(said)
    assert all(text in one for text, one in zip(said, found, strict=True))


async def test_a_price_that_is_no_metered_one_is_told(shop: Any) -> None:
    [one] = await words(shop, recurring={"interval": "month"})
    assert "no metered price" in one
