from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import stripe

from gateway.cli.ports import free_port

pytestmark = pytest.mark.slow


async def test_events_are_delivered_signed_with_the_endpoints_secret(sandbox: Any, receiver: Any) -> None:
    endpoint = await sandbox.listen(receiver)
    await sandbox.advance(400 * 86_400)
    subscription = await sandbox.subscribe()
    await sandbox.drain()

    body, headers = receiver.got[-1]

    event = stripe.Webhook.construct_event(body, headers["stripe-signature"], endpoint.secret)
    assert event.type == "checkout.session.completed"
    assert event.data.object.subscription == subscription.id
    assert event.api_version == stripe.api_version
    assert event.created > time.time() + 399 * 86_400
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, headers["stripe-signature"], "whsec_other")


async def test_a_checkout_tells_the_whole_story_and_an_update_what_changed(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver)
    subscription = await sandbox.subscribe()
    await sandbox.v1.subscriptions.update_async(subscription.id, {"metadata": {"a": "b"}})
    await sandbox.drain()
    assert {
        "customer.created",
        "payment_method.attached",
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "checkout.session.completed",
        "customer.subscription.updated",
    } <= set(receiver.types)
    [update] = [event for event in receiver.events if "a" in event["data"]["object"].get("metadata", {})]
    assert update["type"] == "customer.subscription.updated"
    assert update["data"]["previous_attributes"] == {"metadata": {"a": None}}
    assert update["request"]["id"].startswith("req_")


async def test_an_endpoint_gets_only_what_it_is_enabled_for(
    sandbox: Any, make_receiver: Callable[[], Awaitable[Any]]
) -> None:
    few, disabled = await make_receiver(), await make_receiver()
    await sandbox.listen(few, "customer.created")
    endpoint = await sandbox.listen(disabled)
    await sandbox.v1.webhook_endpoints.update_async(endpoint.id, {"disabled": True})
    await sandbox.subscribe()
    await sandbox.drain()
    assert set(few.types) == {"customer.created"}
    assert disabled.types == []


async def test_the_secret_is_told_once(sandbox: Any, receiver: Any) -> None:
    created = await sandbox.listen(receiver)
    assert created.secret.startswith("whsec_")
    assert "secret" not in await sandbox.v1.webhook_endpoints.retrieve_async(created.id)
    await sandbox.v1.webhook_endpoints.delete_async(created.id)
    assert (await sandbox.v1.webhook_endpoints.list_async()).data == []


async def test_events_go_to_loopback_only(sandbox: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="loopback"):
        await sandbox.v1.webhook_endpoints.create_async({"url": "https://example.com/hook", "enabled_events": ["*"]})


async def test_a_refused_delivery_is_tried_again_until_it_is_taken(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("faults", pause=True)
    receiver.answers = [500, 302]
    await sandbox.customer()
    [waiting] = await sandbox.events(type="customer.created")
    assert waiting.pending_webhooks == 1
    await sandbox.control("faults")

    await sandbox.drain()

    assert [event["id"] for event in receiver.events] == [waiting.id] * 3
    [taken] = await sandbox.events(type="customer.created")
    assert taken.pending_webhooks == 0
    deliveries = (await sandbox.http.get(f"{sandbox.running.stripe_url}/_sandbox/deliveries")).json()
    assert [one["outcome"] for one in deliveries[0]["attempts"]] == [500, 302, 200]
    times = [one["at"] for one in deliveries[0]["attempts"]]
    assert times[1] - times[0] >= 0.02
    assert times[2] - times[1] >= 0.04


async def test_a_delivery_is_given_up_and_then_listed_as_undelivered(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    receiver.usually = 500
    await sandbox.customer()
    await sandbox.drain()
    assert len(receiver.got) == 4
    [lost] = await sandbox.events(delivery_success=False)
    assert (lost.type, lost.pending_webhooks) == ("customer.created", 1)
    receiver.usually = 200
    await sandbox.control(f"events/{lost.id}/resend")
    await sandbox.drain()
    assert await sandbox.events(delivery_success=False) == []


async def test_an_unreachable_endpoint_does_not_hold_up_the_others(sandbox: Any, receiver: Any) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/"
    await sandbox.v1.webhook_endpoints.create_async({"url": nowhere, "enabled_events": ["*"]})
    await sandbox.listen(receiver)
    await sandbox.customer()
    await sandbox.drain()
    assert receiver.types == ["customer.created"]


async def test_every_delivery_can_be_duplicated(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("faults", duplicate=1)
    await sandbox.customer()
    await sandbox.drain()
    first, second = receiver.events
    assert first["id"] == second["id"]


async def test_deliveries_can_be_reversed(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("faults", order="reverse")
    await sandbox.control("deliveries/rules", hold_s=60)
    made = [(await sandbox.customer()).id for _ in range(4)]
    await sandbox.drain()
    assert [event["data"]["object"]["id"] for event in receiver.events] == made[::-1]


async def test_reversed_deliveries_are_released_by_themselves_after_a_moment(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("faults", order="shuffle")
    await sandbox.customer()
    await asyncio.wait_for(receiver.arrived.wait(), 60)


async def test_deliveries_can_be_paused_and_released(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    await sandbox.control("faults", pause=True)
    await sandbox.customer()
    assert await sandbox.control("deliveries/drain", timeout_s=5) == {"drained": False, "unsent": 1}
    assert receiver.got == []
    await sandbox.http.delete(f"{sandbox.running.stripe_url}/_sandbox/faults")
    await sandbox.drain()
    assert receiver.types == ["customer.created"]


async def test_dropped_events_never_arrive_and_are_listed_as_undelivered(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver)
    await sandbox.control("faults", drop=["customer.created"])
    await sandbox.customer(name="x")
    await sandbox.drain()
    assert receiver.types == []
    assert [one.type for one in await sandbox.events(delivery_success=False)] == ["customer.created"]


async def test_events_are_listed_by_type_and_by_time(sandbox: Any) -> None:
    await sandbox.customer()
    await sandbox.advance(1_000)
    await sandbox.subscribe()
    cut = (await sandbox.events(type="checkout.session.completed"))[0].created - 500
    early = await sandbox.events(types=["customer.created"], created={"lt": cut})
    late = await sandbox.events(type="customer.created", created={"gte": cut})
    assert (len(early), len(late)) == (1, 1)
    families = {event.type for event in await sandbox.events(types=["invoice.*"])}
    assert "invoice.paid" in families
    assert all(one.startswith("invoice.") for one in families)


@pytest.mark.parametrize("body", [{"order": "sideways"}, {"duplicate": -1}, {"unknown": 1}])
async def test_a_fault_that_cannot_be_meant_is_refused(sandbox: Any, body: dict[str, Any]) -> None:
    answer: httpx.Response = await sandbox.http.post(f"{sandbox.running.stripe_url}/_sandbox/faults", json=body)
    assert answer.status_code == 400
