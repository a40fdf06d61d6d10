"""Seats and add-ons of a running subscription, changed now or at the end of the period; against the simulator."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.offer import AddOn, SeatRange
from gateway.core.purchase import AddOnNotSold, SeatsNotSold
from gateway.core.switching import SwitchTerms, When
from gateway.sync import ChangeTimeRefused, ExtrasOrder, NoSubscription, PlanChanges

pytestmark = pytest.mark.slow

DAY = 86_400
FAILS_LATER = "4000000000000341"
EXTRA = AddOn(name="extra", title="Extra", price_id=None, lookup_key="extra_monthly", features=frozenset({"more"}))


async def changes_of(shop: Any, *downgrade: When, **terms: Any) -> PlanChanges:
    """The changes of a seller who sells seats of the pro plan, and an add-on beside it."""
    v1 = shop.sandbox.stripe.v1
    if not (await v1.prices.list_async({"lookup_keys": ["extra_monthly"]})).data:
        product = await v1.products.create_async({"name": "Extra"})
        await v1.prices.create_async(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": 500,
                "recurring": {"interval": "month"},
                "lookup_key": "extra_monthly",
            }
        )
    held = shop.sync._policy
    plans = dict(held.current.plans)
    plans["pro-monthly"] = replace(plans["pro-monthly"], seats=SeatRange(least=1, most=10), add_ons=("extra",))
    plans["enterprise-monthly"] = replace(plans["enterprise-monthly"], seats=SeatRange(least=5, most=50))
    switching = SwitchTerms(downgrade=downgrade or ("period-end", "now"), **terms)
    held.current = replace(held.current, plans=plans, add_ons={"extra": EXTRA}, switching=switching)
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def bought(shop: Any, customer_id: str) -> tuple[str | None, int, tuple[tuple[str, int], ...]]:
    recorded = await shop.load(customer_id)
    return recorded.plan_id, recorded.seats, recorded.add_ons


async def half_a_period_later(shop: Any, customer_id: str) -> None:
    recorded = await shop.load(customer_id)
    middle = (recorded.period_starts_at + recorded.period_ends_at) // 2
    await shop.sandbox.control("clock/advance", until=middle)


async def to_the_next_period(shop: Any, customer_id: str) -> None:
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * 3600)
    await shop.settle()


async def last_lines(shop: Any, customer_id: str) -> list[int]:
    subscription_id = (await shop.load(customer_id)).subscription_id
    found = await shop.sandbox.stripe.v1.invoices.list_async({"subscription": subscription_id})
    return [line.amount for line in found.data[0].lines.data]


async def test_seats_are_added_now_and_paid_for_the_rest_of_the_period(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, proration="now")
    await half_a_period_later(shop, customer_id)
    order = ExtrasOrder(seats=4)
    preview = await changes.preview(customer_id, None, extras=order)
    assert (preview.plan_id, preview.direction, preview.when) == ("pro-monthly", "upgrade", "now")
    assert preview.cost.prorated == 3 * 1450
    changed = await changes.apply(customer_id, None, actor="customer", extras=order)
    assert (changed.plan_id, await bought(shop, customer_id)) == ("pro-monthly", ("pro-monthly", 4, ()))
    assert await last_lines(shop, customer_id) == [-1450, 4 * 1450]


async def test_seats_are_given_up_at_the_end_of_the_period(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=5))
    for _ in range(2):
        changed = await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=2))
    assert (changed.when, (await bought(shop, customer_id))[1]) == ("period-end", 5)
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=3))
    await to_the_next_period(shop, customer_id)
    assert await bought(shop, customer_id) == ("pro-monthly", 3, ())
    assert (await last_lines(shop, customer_id))[-1] == 3 * 2900


async def test_an_add_on_is_added_now_and_goes_at_the_end_of_the_period(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, proration="now")
    await half_a_period_later(shop, customer_id)
    for _ in range(2):
        await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    assert await bought(shop, customer_id) == ("pro-monthly", 1, (("extra", 1),))
    assert await last_lines(shop, customer_id) == [250]
    changed = await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=()))
    assert (changed.when, (await bought(shop, customer_id))[2]) == ("period-end", (("extra", 1),))
    await to_the_next_period(shop, customer_id)
    assert await bought(shop, customer_id) == ("pro-monthly", 1, ())
    assert await last_lines(shop, customer_id) == [2900]


async def test_an_add_on_goes_now_where_policy_leaves_the_choice_and_is_credited(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, proration="now")
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    await half_a_period_later(shop, customer_id)
    changed = await changes.apply(customer_id, None, actor="customer", when="now", extras=ExtrasOrder(add_ons=()))
    assert (changed.result.is_pending, await bought(shop, customer_id)) == (False, ("pro-monthly", 1, ()))
    assert sum(await last_lines(shop, customer_id)) == -250


async def test_a_change_of_plan_keeps_seats_and_add_ons_that_are_not_named(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    everything = ExtrasOrder(seats=6, add_ons=("extra",))
    await changes.apply(customer_id, None, actor="customer", extras=everything)
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert await bought(shop, customer_id) == ("enterprise-monthly", 6, (("extra", 1),))
    changed = await changes.apply(customer_id, "pro-monthly", actor="customer", extras=ExtrasOrder(seats=2))
    assert changed.when == "period-end"
    await to_the_next_period(shop, customer_id)
    assert await bought(shop, customer_id) == ("pro-monthly", 2, (("extra", 1),))


@pytest.mark.parametrize("act", ["more seats and no add-on", "an add-on and fewer seats"])
async def test_what_is_given_up_waits_whatever_comes_beside_it(shop: Any, act: str) -> None:
    """Or a trifle that is added would have the credit for the rest at once."""
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, "period-end")
    seats_first = act == "an add-on and fewer seats"
    first = ExtrasOrder(seats=5) if seats_first else ExtrasOrder(add_ons=("extra",))
    await changes.apply(customer_id, None, actor="customer", extras=first)
    second = ExtrasOrder(seats=1, add_ons=("extra",)) if seats_first else ExtrasOrder(seats=3, add_ons=())
    changed = await changes.apply(customer_id, None, actor="customer", extras=second)
    assert changed.when == "period-end"
    await to_the_next_period(shop, customer_id)
    assert await bought(shop, customer_id) == ("pro-monthly", *((1, (("extra", 1),)) if seats_first else (3, ())))


@pytest.mark.parametrize("order", [ExtrasOrder(seats=5), ExtrasOrder(add_ons=())], ids=["seats", "an add-on"])
async def test_what_is_given_up_with_a_change_to_a_higher_plan_waits_for_the_end_of_the_period(
    shop: Any, order: ExtrasOrder
) -> None:
    """Or a plan that costs a cent more would have the credit for the rest at once."""
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop, "period-end")
    everything = ExtrasOrder(seats=10, add_ons=("extra",))
    await changes.apply(customer_id, None, actor="customer", extras=everything)
    preview = await changes.preview(customer_id, "enterprise-monthly", extras=order)
    assert (preview.direction, preview.when) == ("downgrade", "period-end")
    with pytest.raises(ChangeTimeRefused):
        await changes.apply(customer_id, "enterprise-monthly", actor="customer", when="now", extras=order)
    await changes.apply(customer_id, "enterprise-monthly", actor="customer", extras=order)
    assert await bought(shop, customer_id) == ("pro-monthly", 10, (("extra", 1),))
    await to_the_next_period(shop, customer_id)
    seats = 5 if order.seats else 10
    assert await bought(shop, customer_id) == ("enterprise-monthly", seats, (("extra", 1),) if order.seats else ())


async def test_what_policy_does_not_sell_is_refused(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    for plan_id, order, error in (
        (None, ExtrasOrder(seats=0), SeatsNotSold),
        (None, ExtrasOrder(seats=11), SeatsNotSold),
        (None, ExtrasOrder(seats=-1), SeatsNotSold),
        ("enterprise-monthly", ExtrasOrder(), SeatsNotSold),
        ("pro-yearly", ExtrasOrder(seats=2), SeatsNotSold),
        (None, ExtrasOrder(add_ons=("gold",)), AddOnNotSold),
        (None, ExtrasOrder(add_ons=("extra", "extra")), AddOnNotSold),
        ("pro-yearly", ExtrasOrder(add_ons=("extra",)), AddOnNotSold),
    ):
        with pytest.raises(error):
            await changes.apply(customer_id, plan_id, actor="customer", extras=order)
    assert await bought(shop, customer_id) == ("pro-monthly", 1, ())


async def test_seats_that_are_not_paid_are_not_had(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = await changes_of(shop, proration="now")
    await half_a_period_later(shop, customer_id)
    order = ExtrasOrder(seats=3, add_ons=("extra",))
    answers = [await changes.apply(customer_id, None, actor="customer", extras=order) for _ in range(2)]
    assert {answer.result.is_pending for answer in answers} == {True}
    assert len({answer.result.payment_url for answer in answers}) == 1
    assert await bought(shop, customer_id) == ("pro-monthly", 1, ())


async def test_clicks_at_once_add_one_item_and_the_seats_of_one_of_them(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    changes = await changes_of(shop)
    orders = [ExtrasOrder(seats=seats, add_ons=("extra",)) for seats in (2, 3, 2, 3)]
    await asyncio.gather(
        *(changes.apply(customer_id, None, actor="customer", when=None, extras=order) for order in orders)
    )
    await shop.settle()
    plan_id, seats, add_ons = await bought(shop, customer_id)
    assert (plan_id, seats in {2, 3}, add_ons) == ("pro-monthly", True, (("extra", 1),))
    recorded = await shop.load(customer_id)
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(recorded.subscription_id)
    assert len(subscription["items"].data) == 2


async def test_without_a_subscription_there_are_no_seats_to_change(shop: Any) -> None:
    customer_id = await shop.new_customer()
    with pytest.raises(NoSubscription):
        await (await changes_of(shop)).apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=2))


async def test_no_add_on_is_left_at_another_interval_than_the_plan(shop: Any) -> None:
    """Stripe may refuse it, and it could not be given up before the year is over."""
    changes = await changes_of(shop, "now")
    plans = {name: replace(plan, add_ons=("extra",)) for name, plan in shop.sync.policy.plans.items()}
    shop.sync._policy.current = replace(shop.sync.policy, plans=plans)
    customer_id = await shop.buyer("pro-monthly")
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(add_ons=("extra",)))
    for ask in (changes.preview(customer_id, "pro-yearly"), changes.apply(customer_id, "pro-yearly", actor="customer")):
        with pytest.raises(AddOnNotSold, match=r"'extra' is paid at another interval .* give it up with the change"):
            await ask
    assert (await bought(shop, customer_id))[0] == "pro-monthly"
    await changes.apply(customer_id, "pro-yearly", actor="customer", extras=ExtrasOrder(add_ons=()))
    assert await bought(shop, customer_id) == ("pro-yearly", 1, ())
