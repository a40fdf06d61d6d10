"""Seats and a change to a plan that is not sold with as many: it takes what it can, and nothing is given up."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.offer import SeatRange
from gateway.sync import ChangeTimeRefused, ExtrasOrder, portal_flow
from tests.billing.test_extras_changes import bought, changes_of, last_lines, to_the_next_period
from tests.billing.test_trial_changes import sell

TEN = ExtrasOrder(seats=10)


@pytest.mark.parametrize("order", [ExtrasOrder(), ExtrasOrder(seats=1)], ids=["not named", "one"])
async def test_a_plan_without_seats_is_bought_once_and_at_once_whatever_there_was(
    shop: Any, order: ExtrasOrder
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, "period-end", proration="now")
    sell(shop, "enterprise-monthly", seats=None)
    await changes.apply(customer_id, None, actor="customer", extras=TEN)
    preview = await changes.preview(customer_id, "enterprise-monthly", extras=order)
    assert (preview.direction, preview.when) == ("upgrade", "now")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer", extras=order)
    assert await bought(shop, customer_id) == ("enterprise-monthly", 1, ())
    assert sum(await last_lines(shop, customer_id)) == 49900 - 10 * 2900


async def test_a_lower_plan_without_seats_renews_at_its_own_price(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = await changes_of(shop, "period-end", proration="now")
    sell(shop, "enterprise-monthly", seats=SeatRange(least=1, most=50))
    sell(shop, "pro-monthly", seats=None)
    await changes.apply(customer_id, None, actor="customer", extras=TEN)
    changed = await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert changed.when == "period-end"
    await to_the_next_period(shop, customer_id)
    assert await bought(shop, customer_id) == ("pro-monthly", 1, ())
    assert (await last_lines(shop, customer_id))[-1] == 2900


async def test_seats_that_a_higher_plan_is_not_sold_with_are_not_given_up(shop: Any) -> None:
    """What it could have had and does not take still is."""
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, "period-end", proration="now")
    sell(shop, "enterprise-monthly", seats=SeatRange(least=1, most=3))
    await changes.apply(customer_id, None, actor="customer", extras=TEN)
    with pytest.raises(ChangeTimeRefused):
        await changes.apply(
            customer_id, "enterprise-monthly", actor="customer", when="now", extras=ExtrasOrder(seats=2)
        )
    changed = await changes.apply(customer_id, "enterprise-monthly", actor="customer", extras=ExtrasOrder(seats=3))
    assert changed.when == "now"
    assert await bought(shop, customer_id) == ("enterprise-monthly", 3, ())


async def test_the_portal_is_asked_for_one_of_a_plan_without_seats(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    sell(shop, "enterprise-monthly", seats=None)
    await changes.apply(customer_id, None, actor="customer", extras=TEN)
    done_url = "http://127.0.0.1/account"
    flow = await portal_flow(shop.sync, customer_id, "subscription_update_confirm", done_url, "enterprise-monthly")
    assert flow.quantity == 1
