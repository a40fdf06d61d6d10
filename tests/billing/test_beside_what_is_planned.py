"""A change of seats or add-ons that names no plan takes no planned change to another plan back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sync import ChangePlanned, ExtrasOrder
from tests.billing.test_extras_changes import bought, changes_of

pytestmark = pytest.mark.slow


async def test_without_a_plan_it_is_refused_while_another_plan_is_planned(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = await changes_of(shop)
    await changes.apply(customer_id, "enterprise-monthly", actor="customer", extras=ExtrasOrder(seats=6))
    await changes.apply(customer_id, "pro-monthly", actor="customer", extras=ExtrasOrder(seats=2))
    with pytest.raises(ChangePlanned, match="'pro-monthly'"):
        await changes.preview(customer_id, None, extras=ExtrasOrder(seats=7))
    with pytest.raises(ChangePlanned, match="'pro-monthly'"):
        await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=()))
    recorded = await shop.load(customer_id)
    assert (recorded.scheduled_plan_id, recorded.scheduled_seats) == ("pro-monthly", 2)
    await changes.apply(customer_id, "pro-monthly", actor="customer", extras=ExtrasOrder(seats=3))
    assert (await shop.load(customer_id)).scheduled_seats == 3
    await changes.apply(customer_id, "enterprise-monthly", actor="customer", extras=ExtrasOrder(seats=7))
    assert await bought(shop, customer_id) == ("enterprise-monthly", 7, ())
    assert (await shop.load(customer_id)).scheduled_plan_id is None


async def test_without_a_plan_it_takes_the_place_of_what_is_planned_beside_the_same_plan(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=5))
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=2))
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=4))
    assert (await shop.load(customer_id)).scheduled_seats == 4
