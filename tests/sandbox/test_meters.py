"""Billing meters: what is taken, what is refused and in which words, what it adds up to."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

DAY_S = 86_400
NAME = "api_overage"
METER = "mtr_api_overage"


async def report(sandbox: Any, customer_id: str, value: object, **fields: Any) -> Any:
    payload = {"stripe_customer_id": customer_id, "value": str(value)}
    return await sandbox.v1.billing.meter_events.create_async({"event_name": NAME, "payload": payload, **fields})


async def total(sandbox: Any, customer_id: str, start: int, end: int, **fields: Any) -> list[float]:
    bounds = {"customer": customer_id, "start_time": start - start % 60, "end_time": end - end % 60 + 60}
    page = await sandbox.v1.billing.meters.event_summaries.list_async(METER, {**bounds, **fields})
    return [one.aggregated_value for one in page.data]


async def _now(sandbox: Any) -> int:
    answer = await sandbox.http.get(f"{sandbox.running.stripe_url}/_sandbox/clock")
    return int(answer.json()["now"])


async def test_a_fresh_sandbox_has_a_meter_and_a_metered_price(sandbox: Any) -> None:
    meter = await sandbox.v1.billing.meters.retrieve_async(METER)
    assert (meter.event_name, meter.status, meter.default_aggregation.formula) == (NAME, "active", "sum")
    [price] = (await sandbox.v1.prices.list_async({"lookup_keys": [NAME]})).data
    assert (price.recurring.usage_type, price.recurring.meter) == ("metered", METER)
    assert (price.unit_amount, str(price.unit_amount_decimal)) == (None, "0.1")


async def test_events_of_a_customer_add_up(sandbox: Any) -> None:
    customer, other = await sandbox.customer(), await sandbox.customer()
    now = await _now(sandbox)
    for value in (3, 4, -2):
        await report(sandbox, customer.id, value)
    await report(sandbox, other.id, 100)
    assert await total(sandbox, customer.id, now - 60, now + 60) == [5.0]
    assert await total(sandbox, customer.id, now - 7200, now - 3600) == [0.0]


@pytest.mark.parametrize(("formula", "window", "expected"), [("count", None, 3), ("last", None, 9), ("sum", "hour", 9)])
async def test_a_meter_adds_up_by_its_formula(sandbox: Any, formula: str, window: str | None, expected: int) -> None:
    fields = {"display_name": "m", "event_name": "m", "default_aggregation": {"formula": formula}}
    if window is not None:
        fields["event_time_window"] = window
    meter = await sandbox.v1.billing.meters.create_async(fields)
    customer = await sandbox.customer()
    now = await _now(sandbox)
    at = now - now % 3600 - 3600
    for second, value in ((10, 5), (20, 7), (30, 9)):
        payload = {"stripe_customer_id": customer.id, "value": str(value)}
        await sandbox.v1.billing.meter_events.create_async(
            {"event_name": "m", "payload": payload, "timestamp": at + second}
        )
    bounds = {"customer": customer.id, "start_time": at, "end_time": at + 3600}
    page = await sandbox.v1.billing.meters.event_summaries.list_async(meter.id, bounds)
    assert [one.aggregated_value for one in page.data] == [expected]


async def test_summaries_can_be_had_by_the_hour_newest_first(sandbox: Any) -> None:
    customer = await sandbox.customer()
    now = await _now(sandbox)
    day = now - now % DAY_S
    for hour, value in ((-30, 1), (-29, 2), (-29, 4)):
        await report(sandbox, customer.id, value, timestamp=day + hour * 3600)
    bounds = {"customer": customer.id, "start_time": day - 2 * DAY_S, "end_time": day}
    asked = {**bounds, "value_grouping_window": "hour"}
    page = await sandbox.v1.billing.meters.event_summaries.list_async(METER, asked)
    assert [one.aggregated_value for one in page.data] == [6.0, 1.0]
    with pytest.raises(stripe.InvalidRequestError, match="aligned with hour"):
        await sandbox.v1.billing.meters.event_summaries.list_async(METER, {**asked, "start_time": day - 60})


async def test_an_identifier_is_refused_a_second_time_for_a_day_with_no_code(sandbox: Any) -> None:
    customer = await sandbox.customer()
    await report(sandbox, customer.id, 5, identifier="one")
    with pytest.raises(stripe.InvalidRequestError, match=r"An event already exists with identifier one\.") as refused:
        await report(sandbox, customer.id, 5, identifier="one")
    assert (refused.value.http_status, refused.value.code) == (400, None)
    await sandbox.advance(DAY_S)
    await report(sandbox, customer.id, 5, identifier="one")
    now = await _now(sandbox)
    assert await total(sandbox, customer.id, now - 2 * DAY_S, now) == [10.0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"event_name": "nobody"}, 'No active meter found for event name "nobody"'),
        ({"ago": 36 * DAY_S}, "35 calendar days"),
        ({"ago": -3600}, "5 minutes in the future"),
        ({"payload": {"value": "1"}}, "Customer mapping key stripe_customer_id not found"),
        ({"payload": {"stripe_customer_id": "cus_nobody", "value": "1"}}, "No such customer: 'cus_nobody'"),
        ({"payload": {"stripe_customer_id": "?", "value": "1.5"}}, "whole number"),
        ({"payload": {"stripe_customer_id": "?"}}, "whole number"),
        ({"payload": {"stripe_customer_id": "?", "value": "1" * 16}}, "at most 15 digits"),
    ],
)
async def test_an_event_that_cannot_count_is_refused(sandbox: Any, fields: Any, message: str) -> None:
    customer = await sandbox.customer()
    asked = {"event_name": NAME, "payload": {"stripe_customer_id": "?", "value": "1"}, **fields}
    if "ago" in asked:
        asked["timestamp"] = await _now(sandbox) - asked.pop("ago")
    asked["payload"] = {name: customer.id if text == "?" else text for name, text in asked["payload"].items()}
    with pytest.raises(stripe.InvalidRequestError, match=message):
        await sandbox.v1.billing.meter_events.create_async(asked)
    now = await _now(sandbox)
    assert await total(sandbox, customer.id, now - 40 * DAY_S, now + 900) == [0.0]


async def test_a_cancelled_event_does_not_count_and_can_be_cancelled_for_a_day(sandbox: Any) -> None:
    customer = await sandbox.customer()
    await report(sandbox, customer.id, 5, identifier="mistake")
    await report(sandbox, customer.id, 2, identifier="right")

    async def cancel(identifier: str) -> Any:
        return await sandbox.v1.billing.meter_event_adjustments.create_async(
            {"event_name": NAME, "type": "cancel", "cancel": {"identifier": identifier}}
        )

    assert (await cancel("mistake")).status == "pending"
    now = await _now(sandbox)
    assert await total(sandbox, customer.id, now - 60, now) == [2.0]
    with pytest.raises(stripe.InvalidRequestError, match="No event found"):
        await cancel("unheard")
    await sandbox.advance(DAY_S + 1)
    with pytest.raises(stripe.InvalidRequestError, match="24 hours"):
        await cancel("right")


async def test_an_inactive_meter_takes_nothing_until_it_is_active_again(sandbox: Any) -> None:
    customer = await sandbox.customer()
    meters = sandbox.v1.billing.meters
    assert (await meters.deactivate_async(METER)).status == "inactive"
    with pytest.raises(stripe.InvalidRequestError, match="No active meter"):
        await report(sandbox, customer.id, 1)
    assert [one.id for one in (await meters.list_async({"status": "inactive"})).data] == [METER]
    assert (await meters.reactivate_async(METER)).status == "active"
    await report(sandbox, customer.id, 1)
    with pytest.raises(stripe.InvalidRequestError, match="already exists with event name"):
        await meters.create_async({"display_name": "x", "event_name": NAME, "default_aggregation": {"formula": "sum"}})
    assert (await meters.update_async(METER, {"display_name": "Calls"})).display_name == "Calls"


async def test_what_is_reported_asynchronously_is_told_by_a_thin_event_with_a_sample(
    sandbox: Any, receiver: Any
) -> None:
    await sandbox.control("rules", meter_errors="reported")
    await sandbox.listen_thinly(receiver)
    taken = await report(sandbox, "cus_nobody", 5, identifier="lost")
    assert taken.identifier == "lost"
    await sandbox.drain()

    [told] = receiver.events
    assert told["type"] == "v1.billing.meter.error_report_triggered"
    assert told["related_object"] == {"id": METER, "type": "billing.meter", "url": f"/v1/billing/meters/{METER}"}
    assert "data" not in told
    event = await sandbox.client.v2.core.events.retrieve_async(told["id"])
    [kind] = event.data.reason.error_types
    assert (kind.code, kind.error_count) == ("meter_event_customer_not_found", 1)
    assert kind.sample_errors[0].request.identifier == "lost"
    assert [one.type for one in await sandbox.events(type="v1.billing.meter.error_report_triggered")] == []
