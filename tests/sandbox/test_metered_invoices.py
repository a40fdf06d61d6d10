"""Metered items on invoices: in arrears, by what was reported for the period, and never prorated."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.test_meters import NAME, report

pytestmark = pytest.mark.slow

DAY_S = 86_400
HOUR_S = 3_600
METERED = "price_api_overage"


async def subscribe(sandbox: Any, *prices: str) -> Any:
    customer = await sandbox.customer()
    method = await sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})
    return await sandbox.v1.subscriptions.create_async(
        {
            "customer": customer.id,
            "items": [{"price": price} for price in prices or ("price_pro_monthly", METERED)],
            "default_payment_method": method.id,
        }
    )


def period(subscription: Any) -> tuple[int, int]:
    item = subscription["items"].data[0]
    return item.current_period_start, item.current_period_end


async def invoices(sandbox: Any, subscription: Any) -> list[Any]:
    """Oldest first."""
    page = await sandbox.v1.invoices.list_async({"subscription": subscription.id, "limit": 100})
    return list(reversed(page.data))


def metered_lines(invoice: Any) -> list[tuple[int, int]]:
    return [(line.quantity, line.amount) for line in invoice.lines.data if line.pricing.price_details.price == METERED]


async def new_price(sandbox: Any, **fields: Any) -> Any:
    return await sandbox.v1.prices.create_async(
        {
            "currency": "usd",
            "product": "prod_api_overage",
            "recurring": {"interval": "month", "usage_type": "metered", "meter": "mtr_api_overage"},
            **fields,
        }
    )


async def test_a_metered_item_has_no_quantity_and_makes_no_line_when_it_begins(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    [plan, metered] = subscription["items"].data
    assert (plan.quantity, "quantity" in metered) == (1, False)
    [first] = await invoices(sandbox, subscription)
    assert (first.total, len(first.lines.data)) == (2900, 1)


async def test_a_subscription_of_usage_alone_begins_without_an_invoice(sandbox: Any) -> None:
    subscription = await subscribe(sandbox, METERED)
    assert (subscription.status, subscription.latest_invoice) == ("active", None)


async def test_a_period_is_billed_when_it_has_ended_by_what_was_used_in_it(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    start, end = period(subscription)
    await report(sandbox, subscription.customer, 1_234)
    await sandbox.advance_to(end + 60)
    await report(sandbox, subscription.customer, 50_000)
    await sandbox.advance_to(end + HOUR_S + 60)
    [_, renewal] = await invoices(sandbox, subscription)
    assert (renewal.status, renewal.total) == ("paid", 2900 + 123)
    [line] = [one for one in renewal.lines.data if one.pricing.price_details.price == METERED]
    assert (line.quantity, line.amount, str(line.pricing.unit_amount_decimal)) == (1_234, 123, "0.1")
    assert (line.period.start, line.period.end) == (start, end)
    assert line.parent.subscription_item_details.proration is False


async def test_a_period_without_usage_has_a_line_of_nothing(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    await sandbox.advance_to(period(subscription)[1] + HOUR_S + 60)
    assert metered_lines((await invoices(sandbox, subscription))[1]) == [(0, 0)]


async def test_a_draft_takes_what_comes_late_and_a_final_invoice_does_not(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    start, end = period(subscription)
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance_to(end + 60)
    await report(sandbox, subscription.customer, 500, timestamp=end - 10)
    draft = (await invoices(sandbox, subscription))[1]
    assert (draft.status, metered_lines(draft)) == ("draft", [(1_000, 100)])
    await sandbox.advance_to(end + HOUR_S + 60)
    await report(sandbox, subscription.customer, 9_000, timestamp=end - 5)
    final = (await invoices(sandbox, subscription))[1]
    assert (final.status, metered_lines(final)) == ("paid", [(1_500, 150)])
    assert final.lines.data[1].id == draft.lines.data[1].id
    next_end = period(await sandbox.subscription(subscription.id))[1]
    await sandbox.advance_to(next_end + HOUR_S + 60)
    assert metered_lines((await invoices(sandbox, subscription))[2]) == [(0, 0)]
    assert start < end


async def test_usage_below_nothing_is_billed_as_nothing(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    await report(sandbox, subscription.customer, -5_000)
    await sandbox.advance_to(period(subscription)[1] + HOUR_S + 60)
    assert metered_lines((await invoices(sandbox, subscription))[1]) == [(0, 0)]


@pytest.mark.parametrize(
    ("fields", "used", "lines"),
    [
        ({"unit_amount_decimal": "0.05"}, 1_250, [(1_250, 63)]),
        ({"unit_amount": 1_000, "transform_quantity": {"divide_by": 60, "round": "up"}}, 150, [(150, 3_000)]),
        ({"unit_amount": 1_000, "transform_quantity": {"divide_by": 60, "round": "down"}}, 150, [(150, 2_000)]),
        ("graduated", 50, [(50, 0)]),
        ("graduated", 150, [(100, 0), (50, 100), (0, 500)]),
        ("graduated", 1_500, [(100, 0), (900, 1_800), (0, 500), (500, 500)]),
        ("volume", 150, [(150, 300), (0, 500)]),
        ("volume", 1_500, [(1_500, 1_500)]),
    ],
)
async def test_usage_costs_what_its_price_says(sandbox: Any, fields: Any, used: int, lines: Any) -> None:
    if isinstance(fields, str):
        tiers = [
            {"up_to": 100, "unit_amount": 0},
            {"up_to": 1_000, "unit_amount": 2, "flat_amount": 500},
            {"up_to": "inf", "unit_amount_decimal": "1"},
        ]
        fields = {"billing_scheme": "tiered", "tiers_mode": fields, "tiers": tiers}
    price = await new_price(sandbox, **fields)
    subscription = await subscribe(sandbox, "price_pro_monthly", price.id)
    await report(sandbox, subscription.customer, used)
    await sandbox.advance_to(period(subscription)[1] + HOUR_S + 60)
    renewal = (await invoices(sandbox, subscription))[1]
    assert [(one.quantity, one.amount) for one in renewal.lines.data[1:]] == lines
    assert renewal.total == sum(one.amount for one in renewal.lines.data)


async def test_tiers_are_shown_where_they_are_asked_for(sandbox: Any) -> None:
    tiers = [{"up_to": 10, "unit_amount_decimal": "0.5"}, {"up_to": "inf", "flat_amount": 300}]
    price = await new_price(sandbox, billing_scheme="tiered", tiers_mode="volume", tiers=tiers)
    assert "tiers" not in price
    assert (price.unit_amount, price.billing_scheme) == (None, "tiered")
    shown = await sandbox.v1.prices.retrieve_async(price.id, {"expand": ["tiers"]})
    assert [(one.up_to, str(one.unit_amount_decimal)) for one in shown.tiers] == [(10, "0.5"), (None, "0")]


async def test_a_cancellation_at_the_period_end_bills_the_last_usage_an_hour_later(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    end = period(subscription)[1]
    await sandbox.v1.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance_to(end + 60)
    assert (await sandbox.subscription(subscription.id)).status == "canceled"
    await report(sandbox, subscription.customer, 200, timestamp=end - 10)
    await sandbox.advance_to(end + HOUR_S + 60)
    [_, last] = await invoices(sandbox, subscription)
    assert (last.status, last.total, metered_lines(last)) == ("paid", 120, [(1_200, 120)])


@pytest.mark.parametrize(("invoice_now", "billed"), [(True, [(1_000, 100)]), (False, [])])
async def test_a_cancellation_now_bills_usage_only_if_it_is_asked_for(
    sandbox: Any, invoice_now: Any, billed: Any
) -> None:
    subscription = await subscribe(sandbox)
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance(60)
    await sandbox.v1.subscriptions.cancel_async(subscription.id, {"invoice_now": invoice_now, "prorate": False})
    await sandbox.advance(40 * DAY_S)
    later = (await invoices(sandbox, subscription))[1:]
    assert [line for one in later for line in metered_lines(one)] == billed


async def test_a_change_of_plan_leaves_metered_items_alone(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    end = period(subscription)[1]
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance(10 * DAY_S)
    item = subscription["items"].data[0]
    await sandbox.v1.subscriptions.update_async(
        subscription.id,
        {
            "items": [{"id": item.id, "price": "price_enterprise_monthly"}],
            "proration_behavior": "always_invoice",
        },
    )
    assert metered_lines((await invoices(sandbox, subscription))[1]) == []
    await sandbox.advance_to(end + HOUR_S + 60)
    assert metered_lines((await invoices(sandbox, subscription))[2]) == [(1_000, 100)]


@pytest.mark.parametrize(
    ("behavior", "billed"),
    [("create_prorations", [(1_000, 100)]), ("always_invoice", [(1_000, 100)]), ("none", [])],
)
async def test_usage_of_a_price_that_goes_is_billed_by_the_old_price(sandbox: Any, behavior: str, billed: Any) -> None:
    dearer = await new_price(sandbox, unit_amount=1)
    subscription = await subscribe(sandbox)
    start, end = period(subscription)
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance(10 * DAY_S)
    metered = subscription["items"].data[1]
    await sandbox.v1.subscriptions.update_async(
        subscription.id, {"items": [{"id": metered.id, "price": dearer.id}], "proration_behavior": behavior}
    )
    await sandbox.advance(60)
    await report(sandbox, subscription.customer, 500)
    await sandbox.advance_to(end + HOUR_S + 60)
    made = await invoices(sandbox, subscription)
    assert [line for one in made for line in metered_lines(one)] == billed
    new = [one for one in made[-1].lines.data if one.pricing.price_details.price == dearer.id]
    assert [(one.quantity, one.amount) for one in new] == [(500, 500)]
    assert new[0].period.start > start


async def test_a_reset_of_the_anchor_bills_what_was_used_until_then(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance(10 * DAY_S)
    await sandbox.v1.subscriptions.update_async(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    assert metered_lines((await invoices(sandbox, subscription))[1]) == [(1_000, 100)]


async def test_a_trial_is_free_of_what_is_used_in_it(sandbox: Any) -> None:
    customer = await sandbox.customer()
    method = await sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})
    subscription = await sandbox.v1.subscriptions.create_async(
        {
            "customer": customer.id,
            "items": [{"price": "price_pro_monthly"}, {"price": METERED}],
            "default_payment_method": method.id,
            "trial_period_days": 5,
        }
    )
    await report(sandbox, customer.id, 1_000)
    await sandbox.advance(5 * DAY_S + HOUR_S + 60)
    first = (await invoices(sandbox, subscription))[1]
    assert (first.total, metered_lines(first)) == (2900, [(1_000, 0)])


async def test_a_preview_shows_what_was_used_so_far(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance(60)
    upcoming = await sandbox.v1.invoices.create_preview_async({"subscription": subscription.id})
    assert (upcoming.total, metered_lines(upcoming)) == (3_000, [(1_000, 100)])


async def test_a_checkout_sells_a_metered_price_without_a_quantity(sandbox: Any) -> None:
    items = [{"price": "price_pro_monthly", "quantity": 1}, {"price": METERED}]
    session = await sandbox.open_checkout(line_items=items)
    assert session.amount_total == 2900
    page = await sandbox.http.get(session.url)
    assert "API calls beyond the plan, by usage, each month" in page.text
    assert (await sandbox.pay(session)).status_code == 303
    done = await sandbox.v1.checkout.sessions.retrieve_async(session.id)
    subscription = await sandbox.subscription(done.subscription)
    assert [one.price.id for one in subscription["items"].data] == ["price_pro_monthly", METERED]
    with pytest.raises(stripe.InvalidRequestError, match="Quantity should not be specified"):
        await sandbox.open_checkout(line_items=[{"price": METERED, "quantity": 1}])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recurring": {"interval": "month", "usage_type": "metered"}, "unit_amount": 1}, "backed by a meter"),
        ({"unit_amount": 1, "unit_amount_decimal": "0.5"}, "only specify one"),
        ({}, "unit_amount"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": 5, "unit_amount": 1}]}, "inf"),
        ({"unit_amount_decimal": "0.0000000000001"}, "Invalid decimal"),
    ],
)
async def test_a_price_that_does_not_fit_together_is_refused(sandbox: Any, fields: Any, message: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=message):
        await new_price(sandbox, **fields)


async def test_a_metered_item_takes_no_quantity(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    item = subscription["items"].data[1]
    with pytest.raises(stripe.InvalidRequestError, match="quantity for metered"):
        await sandbox.v1.subscriptions.update_async(subscription.id, {"items": [{"id": item.id, "quantity": 2}]})
    assert item.price.lookup_key == NAME


async def plan(sandbox: Any, subscription: Any, *prices: str) -> None:
    """Other prices from the end of the period on."""
    schedule = await sandbox.v1.subscription_schedules.create_async({"from_subscription": subscription.id})
    [now] = schedule.phases
    assert ["quantity" in item for item in now["items"]] == [True, False]
    items = [{"price": item.price} for item in now["items"]]
    await sandbox.v1.subscription_schedules.update_async(
        schedule.id,
        {
            "end_behavior": "release",
            "phases": [
                {"items": items, "start_date": now.start_date, "end_date": now.end_date},
                {"items": [{"price": price} for price in prices], "duration": {"interval": "month"}},
            ],
        },
    )


async def test_a_planned_change_of_plan_bills_the_usage_of_the_period_as_ever(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    end = period(subscription)[1]
    await plan(sandbox, subscription, "price_enterprise_monthly", METERED)
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance_to(end + HOUR_S + 60)
    renewal = (await invoices(sandbox, subscription))[1]
    assert (renewal.total, metered_lines(renewal)) == (49_900 + 100, [(1_000, 100)])


async def test_a_planned_end_of_a_metered_price_bills_its_last_usage_with_the_renewal(sandbox: Any) -> None:
    subscription = await subscribe(sandbox)
    end = period(subscription)[1]
    await plan(sandbox, subscription, "price_pro_monthly")
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance_to(end + 60)
    await report(sandbox, subscription.customer, 500, timestamp=end - 10)
    await sandbox.advance_to(end + HOUR_S + 60)
    [_, renewal] = await invoices(sandbox, subscription)
    assert (renewal.total, metered_lines(renewal)) == (2_900 + 150, [(1_500, 150)])
    assert len((await sandbox.subscription(subscription.id))["items"].data) == 1


async def test_a_planned_change_of_a_metered_price_bills_what_was_used_by_the_old_one(sandbox: Any) -> None:
    dearer = await new_price(sandbox, unit_amount=1)
    subscription = await subscribe(sandbox)
    end = period(subscription)[1]
    await plan(sandbox, subscription, "price_pro_monthly", dearer.id)
    await report(sandbox, subscription.customer, 1_000)
    await sandbox.advance_to(end + HOUR_S + 60)
    renewal = (await invoices(sandbox, subscription))[1]
    assert (renewal.total, metered_lines(renewal)) == (2_900 + 100, [(1_000, 100)])
    await report(sandbox, subscription.customer, 10)
    await sandbox.advance_to(period(await sandbox.subscription(subscription.id))[1] + HOUR_S + 60)
    assert (await invoices(sandbox, subscription))[2].total == 2_900 + 10
