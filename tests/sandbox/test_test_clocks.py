"""Test clocks of the API: what a test written against Stripe does with them works here too."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.stripe_sdk.objects import faults_of

pytestmark = pytest.mark.slow

DAY_S = 86_400


async def _clock(sandbox: Any, **params: Any) -> Any:
    now = int((await sandbox.advance(0))["now"])
    return await sandbox.v1.test_helpers.test_clocks.create_async({"frozen_time": now} | params)


async def _subscribed(sandbox: Any, clock: Any, card: str = "pm_card_visa") -> Any:
    customer = await sandbox.v1.customers.create_async(
        {"test_clock": clock.id, "payment_method": card, "invoice_settings": {"default_payment_method": card}}
    )
    order = {"customer": customer.id, "items": [{"price": "price_pro_monthly"}]}
    return await sandbox.v1.subscriptions.create_async(order)


async def _advance(sandbox: Any, clock: Any, to: int) -> Any:
    return await sandbox.v1.test_helpers.test_clocks.advance_async(clock.id, {"frozen_time": to})


async def test_an_advance_is_on_its_way_and_then_done_with_all_that_falls_due(sandbox: Any) -> None:
    clock = await _clock(sandbox, name="renewals")
    assert (clock.status, clock.name) == ("ready", "renewals")
    subscription = await _subscribed(sandbox, clock)
    to = clock.frozen_time + 40 * DAY_S
    moving = await _advance(sandbox, clock, to)
    assert (moving.status, moving.status_details.advancing.target_frozen_time) == ("advancing", to)
    done = await sandbox.v1.test_helpers.test_clocks.retrieve_async(clock.id)
    assert (done.status, done.frozen_time) == ("ready", to)
    invoices = await sandbox.v1.invoices.list_async({"customer": subscription.customer})
    assert [invoice.billing_reason for invoice in invoices.data] == ["subscription_cycle", "subscription_create"]
    told = [event.type for event in await sandbox.events() if "test_clock" in event.type]
    assert told == [f"test_helpers.test_clock.{word}" for word in ("created", "advancing", "ready")]


async def test_what_is_on_a_clock_names_it_and_is_listed_only_by_it(sandbox: Any) -> None:
    clock = await _clock(sandbox)
    subscription = await _subscribed(sandbox, clock)
    other = await sandbox.subscribe()
    invoice = await sandbox.v1.invoices.retrieve_async(subscription.latest_invoice)
    customer = await sandbox.v1.customers.retrieve_async(subscription.customer)
    assert {subscription.test_clock, invoice.test_clock, customer.test_clock} == {clock.id}
    for collection, own, others in (
        (sandbox.v1.customers, subscription.customer, other.customer),
        (sandbox.v1.subscriptions, subscription.id, other.id),
    ):
        on_it = await collection.list_async({"test_clock": clock.id})
        assert [one.id for one in on_it.data] == [own]
        ids = [one.id for one in (await collection.list_async({"limit": 100})).data]
        assert others in ids
        assert own not in ids
    found = await sandbox.v1.subscriptions.list_async({"customer": subscription.customer})
    assert [one.id for one in found.data] == [subscription.id]


async def test_a_deleted_clock_takes_its_customers_with_it(sandbox: Any) -> None:
    clock = await _clock(sandbox)
    subscription = await _subscribed(sandbox, clock)
    assert (await sandbox.v1.test_helpers.test_clocks.delete_async(clock.id)).deleted
    assert (await sandbox.v1.subscriptions.retrieve_async(subscription.id)).status == "canceled"
    assert (await sandbox.v1.customers.retrieve_async(subscription.customer)).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such test_clock"):
        await sandbox.v1.test_helpers.test_clocks.retrieve_async(clock.id)


async def test_a_clock_goes_no_way_back_and_two_intervals_at_most(sandbox: Any) -> None:
    clock = await _clock(sandbox)
    with pytest.raises(stripe.InvalidRequestError, match="after its frozen time"):
        await _advance(sandbox, clock, clock.frozen_time)
    await _subscribed(sandbox, clock)
    with pytest.raises(stripe.InvalidRequestError, match="two intervals"):
        await _advance(sandbox, clock, clock.frozen_time + 63 * DAY_S)
    assert (await _advance(sandbox, clock, clock.frozen_time + 58 * DAY_S)).status == "advancing"
    with pytest.raises(stripe.InvalidRequestError, match="cannot be set to the past"):
        await _clock(sandbox, frozen_time=clock.frozen_time)


async def test_a_clock_that_begins_later_takes_the_sandbox_there(sandbox: Any) -> None:
    now = int((await sandbox.advance(0))["now"])
    clock = await _clock(sandbox, frozen_time=now + 100 * DAY_S)
    assert (await _subscribed(sandbox, clock)).created >= now + 100 * DAY_S


async def test_a_fourth_customer_has_no_place_on_a_clock(sandbox: Any) -> None:
    clock = await _clock(sandbox)
    for _ in range(3):
        await sandbox.v1.customers.create_async({"test_clock": clock.id})
    with pytest.raises(stripe.InvalidRequestError, match="3 customers"):
        await sandbox.v1.customers.create_async({"test_clock": clock.id})
    with pytest.raises(stripe.InvalidRequestError, match="No such test_clock"):
        await sandbox.v1.customers.create_async({"test_clock": "clock_none"})


async def test_a_refused_advance_moves_nothing(sandbox: Any) -> None:
    clock = await _clock(sandbox)
    before = (await sandbox.advance(0))["offset_s"]
    with pytest.raises(stripe.InvalidRequestError):
        await _advance(sandbox, clock, clock.frozen_time + 900 * DAY_S)
    assert (await sandbox.advance(0))["offset_s"] == before


async def test_clocks_are_as_the_sdk_knows_them(sandbox: Any) -> None:
    clock = await _clock(sandbox)
    moving = await _advance(sandbox, clock, clock.frozen_time + DAY_S)
    assert faults_of(clock.to_dict(for_json=True)) == faults_of(moving.to_dict(for_json=True)) == []
    (listed,) = (await sandbox.v1.test_helpers.test_clocks.list_async()).data
    assert listed.id == clock.id
