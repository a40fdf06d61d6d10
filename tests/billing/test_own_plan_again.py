"""Asking for the plan that there is, to get what belongs beside it by now: overage that the tier has since."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.errors import BillingRefused
from gateway.core.overage import Overage, PriceName
from gateway.core.switching import SwitchTerms
from gateway.sync import PlanChanges
from tests.billing.test_moved_overage_price import make_price, prices_of

pytestmark = pytest.mark.slow

DAY = 86_400
ARRIVES_LATER = "000123456789"
OVERAGE = Overage(meter="requests", stripe_meter="api_overage", price=PriceName(lookup_key="again_overage"))


async def seller(shop: Any, tier: str | None) -> tuple[PlanChanges, str]:
    """`tier`: that has overage since."""
    price_id = await make_price(shop, "again_overage", 3)
    held = shop.sync._policy
    tiers = dict(held.current.tiers)
    if tier is not None:
        tiers[tier] = replace(tiers[tier], overages=(OVERAGE,))
    held.current = replace(held.current, tiers=tiers, switching=SwitchTerms(downgrade=("period-end",)))
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock), price_id


async def test_overage_comes_beside_a_plan_that_is_paid_by_debit(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", ARRIVES_LATER)
    await shop.sandbox.control("clock/advance", seconds=5 * DAY)
    await shop.settle()
    changes, price_id = await seller(shop, "pro")
    assert not (await changes.apply(customer_id, "pro-monthly", actor="customer")).result.is_pending
    assert await prices_of(shop, customer_id) == [price_id]


async def test_what_was_planned_is_planned_again_if_stripe_refuses_what_took_its_place(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes, price_id = await seller(shop, None)
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    changes, price_id = await seller(shop, "enterprise")

    async def refused(_: Any) -> None:
        raise BillingRefused("Stripe would not.")

    with monkeypatch.context() as patched:
        patched.setattr(shop.billing.changes, "apply", refused)
        with pytest.raises(BillingRefused):
            await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    await shop.settle()
    assert (await shop.load(customer_id)).scheduled_plan_id == "pro-monthly"
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    await shop.settle()
    assert (await shop.load(customer_id)).scheduled_plan_id is None
    assert await prices_of(shop, customer_id) == [price_id]
