"""The sandbox as a test instrument: what goes wrong on purpose, and goes wrong the same way again."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stripe

from gateway.sandbox.rules import STRIPE_RETRIES_S
from gateway.sandbox.shapes.versions import NEWER, OLDER

pytestmark = pytest.mark.slow

DAY_S = 86_400


async def deliveries(sandbox: Any) -> list[dict[str, Any]]:
    answer = await sandbox.http.get(f"{sandbox.running.stripe_url}/_sandbox/deliveries")
    found: list[dict[str, Any]] = answer.json()
    return found


async def outcomes(sandbox: Any) -> list[list[int | str]]:
    return [[attempt["outcome"] for attempt in one["attempts"]] for one in await deliveries(sandbox)]


async def test_an_answer_can_be_lost_after_the_receiver_has_the_event(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("deliveries/rules", on_test_clock=True)
    await sandbox.control("faults", unanswered=1.0)
    await sandbox.customer()
    while await outcomes(sandbox) != [["Unanswered"]]:  # noqa: ASYNC110 - the sandbox signals nothing
        await asyncio.sleep(0.02)
    await sandbox.control("faults")
    await sandbox.advance(STRIPE_RETRIES_S[0])
    await sandbox.drain()
    assert len({event["id"] for event in receiver.events}) == 1
    assert len(receiver.got) == 2
    assert await outcomes(sandbox) == [["Unanswered", 200]]


async def test_an_attempt_can_fail_to_reach_the_endpoint(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("faults", unreached=1.0)
    await sandbox.customer()
    await sandbox.drain()
    assert receiver.got == []
    assert await outcomes(sandbox) == [["Unreached"] * 4]
    assert [one.type for one in await sandbox.events(delivery_success=False)] == ["customer.created"]


async def test_the_same_seed_brings_the_same_trouble(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    trouble = {"unreached": 0.4, "unanswered": 0.3, "drop": ["*"], "drop_share": 0.2}
    made = [(await sandbox.customer()).id for _ in range(8)]
    events = {event.data.object.id: event.id for event in await sandbox.events(type="customer.created")}
    await sandbox.drain()
    runs = []
    for seed in (7, 7, 8):
        await sandbox.control("faults", **trouble, seed=seed, duplicate=1, duplicate_share=0.5)
        before = len(await deliveries(sandbox))
        for one in made:
            await sandbox.control(f"events/{events[one]}/resend")
        await sandbox.drain()
        runs.append((await outcomes(sandbox))[before:])
    assert runs[0] == runs[1] != runs[2]
    assert {len(attempts) for attempts in runs[0]} > {0}


async def test_a_share_of_events_is_duplicated_and_a_share_is_held_up(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("faults", duplicate=2, duplicate_share=0.5, delay_s=0.05, delay_share=0.5, seed=3)
    made = [(await sandbox.customer()).id for _ in range(12)]
    await sandbox.drain()
    arrived = [event["data"]["object"]["id"] for event in receiver.events]
    assert set(arrived) == set(made)
    assert {arrived.count(one) for one in made} == {1, 3}


async def test_on_the_test_clock_a_failed_delivery_is_tried_for_three_days_as_stripe_does(
    sandbox: Any, receiver: Any
) -> None:
    await sandbox.control("deliveries/rules", on_test_clock=True)
    await sandbox.listen(receiver, "customer.created")
    receiver.usually = 503
    await sandbox.customer()
    await sandbox.drain()
    assert len(receiver.got) == 1
    [waiting] = await deliveries(sandbox)
    assert (waiting["status"], waiting["due_at"] > time.time() + 200) == ("waiting", True)
    for number, wait_s in enumerate(STRIPE_RETRIES_S, 2):
        await sandbox.advance(wait_s - 60)
        await sandbox.drain()
        assert len(receiver.got) == number - 1
        await sandbox.advance(60)
        await sandbox.drain()
        assert len(receiver.got) == number
    assert [one["status"] for one in await deliveries(sandbox)] == ["failed"]
    assert 2.5 * DAY_S < sum(STRIPE_RETRIES_S) <= 3 * DAY_S


async def test_a_settled_advance_stops_where_a_delivery_is_tried_again(sandbox: Any, receiver: Any) -> None:
    await sandbox.control("deliveries/rules", on_test_clock=True)
    await sandbox.listen(receiver, "customer.created")
    receiver.answers = [500, 500]
    await sandbox.customer()
    await sandbox.drain()
    await sandbox.advance(DAY_S, settle=True)
    assert await outcomes(sandbox) == [[500, 500, 200]]


@pytest.mark.parametrize("body", [{"attempts": 0}, {"timeout_s": 0}, {"unheard": 1}], ids=str)
async def test_delivery_rules_that_cannot_be_meant_are_refused(sandbox: Any, body: dict[str, Any]) -> None:
    url = f"{sandbox.running.stripe_url}/_sandbox/deliveries/rules"
    answer: httpx.Response = await sandbox.http.post(url, json=body)
    assert answer.status_code == 400
    assert (await sandbox.http.get(url)).json()["attempts"] == 4


@pytest.mark.parametrize(
    "body",
    [
        {"unreached": 1.5},
        {"api_version": "2001-01-01"},
        {"api": [{"share": -1}]},
        {"api": [{"times": -1}]},
        {"drop_share": 2},
    ],
    ids=str,
)
async def test_trouble_that_cannot_be_meant_is_refused(sandbox: Any, body: dict[str, Any]) -> None:
    answer: httpx.Response = await sandbox.http.post(f"{sandbox.running.stripe_url}/_sandbox/faults", json=body)
    assert answer.status_code == 400


async def test_an_endpoint_of_an_older_version_gets_events_as_they_were_then(sandbox: Any, make_receiver: Any) -> None:
    old, new = await make_receiver(), await make_receiver()
    fields = {"url": old.url, "enabled_events": ["*"], "api_version": OLDER}
    await sandbox.v1.webhook_endpoints.create_async(fields)
    await sandbox.listen(new)
    await sandbox.subscribe()
    await sandbox.drain()

    def subject(receiver: Any, event_type: str) -> Any:
        return next(one for one in receiver.events if one["type"] == event_type)["data"]["object"]

    then, now = (subject(one, "customer.subscription.created") for one in (old, new))
    assert {event["api_version"] for event in old.events} == {OLDER}
    assert then["current_period_end"] == now["items"]["data"][0]["current_period_end"]
    assert "current_period_end" not in then["items"]["data"][0]
    then, now = (subject(one, "invoice.paid") for one in (old, new))
    assert then["subscription"] == now["parent"]["subscription_details"]["subscription"]
    assert "parent" not in then


async def test_events_can_come_in_a_version_that_nobody_knows(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.subscription.created")
    await sandbox.control("faults", api_version=NEWER)
    subscription = await sandbox.subscribe()
    await sandbox.drain()
    [event] = receiver.events
    subject = event["data"]["object"]
    assert event["api_version"] == NEWER
    assert (subject["customer"]["id"], subject["status"]) == (subscription.customer, "incomplete_in_a_way")
    assert "items" not in subject
    assert (await sandbox.v1.events.retrieve_async(event["id"])).data.object.status == "incomplete"


async def test_an_outage_can_be_partial_and_lasts_until_it_is_cleared(sandbox: Any) -> None:
    async def refused() -> list[bool]:
        seen = []
        for _ in range(20):
            try:
                await sandbox.v1.customers.list_async()
                seen.append(False)
            except stripe.APIError:
                seen.append(True)
        return seen

    outage = {"path": "/v1/customers", "method": "GET", "status": 503, "times": 0, "share": 0.5}
    await sandbox.control("faults", api=[outage], seed=1)
    first = await refused()
    assert 0 < sum(first) < 20
    await sandbox.v1.products.list_async()
    await sandbox.control("faults", api=[outage], seed=1)
    assert await refused() == first
    await sandbox.http.delete(f"{sandbox.running.stripe_url}/_sandbox/faults")
    assert not any(await refused())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_answer_can_break_off_before_or_after_the_request_was_carried_out(
    sandbox: Any, *, after: bool
) -> None:
    await sandbox.control("faults", api=[{"method": "POST", "path": "/v1/customers", "cut": True, "after": after}])
    with pytest.raises(stripe.APIConnectionError):
        await sandbox.customer()
    assert len((await sandbox.v1.customers.list_async()).data) == int(after)


async def test_a_slow_answer_arrives_late_and_tells_of_the_past(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    slow = {"path": f"/v1/subscriptions/{subscription.id}", "method": "GET", "delay_s": 1, "after": True}
    await sandbox.control("faults", api=[slow])
    late = asyncio.create_task(sandbox.subscription(subscription.id))
    while sandbox.simulator.api_faults:  # noqa: ASYNC110 - until the request has come that takes it; it signals nothing
        await asyncio.sleep(0)
    await sandbox.v1.subscriptions.cancel_async(subscription.id)
    assert (await late).status == "active"
    assert (await sandbox.subscription(subscription.id)).status == "canceled"


async def test_a_request_can_take_longer_than_its_caller_waits(sandbox: Any) -> None:
    transport = stripe.HTTPXClient(timeout=1)
    hasty = stripe.StripeClient(
        sandbox.running.key,
        base_addresses={"api": sandbox.running.stripe_url},
        max_network_retries=0,
        http_client=transport,
    )
    await sandbox.control("faults", api=[{"delay_s": 5, "after": True}])
    with pytest.raises(stripe.APIConnectionError):
        await hasty.v1.customers.create_async({"name": "late"})
    await transport.close_async()
    assert [one.name for one in (await sandbox.v1.customers.list_async()).data] == ["late"]


async def test_the_clock_runs_over_years_and_keeps_the_day_of_the_month(sandbox: Any) -> None:
    now = (await sandbox.http.get(f"{sandbox.running.stripe_url}/_sandbox/clock")).json()["now"]
    this_year = datetime.fromtimestamp(now, UTC).year
    await sandbox.advance_to(datetime(this_year + 1, 1, 31, 12, tzinfo=UTC).timestamp())
    monthly = await sandbox.subscribe()
    yearly = await sandbox.subscribe(price="price_pro_yearly")
    await sandbox.advance_to(datetime(this_year + 9, 1, 31, 13, tzinfo=UTC).timestamp())
    invoices = await sandbox.v1.invoices.list_async({"subscription": monthly.id, "limit": 100})
    starts = [
        datetime.fromtimestamp(line.period.start, UTC)
        async for one in invoices.auto_paging_iter()
        for line in one.lines.data
    ]
    assert len(starts) == 1 + 8 * 12
    assert {start.day for start in starts if start.month in {1, 3, 5, 7, 8, 10, 12}} == {31}
    assert {start.day for start in starts if start.month == 2} == {28, 29}
    assert len((await sandbox.v1.invoices.list_async({"subscription": yearly.id, "limit": 100})).data) == 9
