"""Event destinations: made, mended and listed by the newer API, and sent thin events, or snapshots of a version."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe

from gateway.sandbox import API_VERSION
from tests.stripe_sdk.objects import faults_of

pytestmark = pytest.mark.slow

URL = "http://127.0.0.1:9/webhook"
THIN = {"name": "thin", "type": "webhook_endpoint", "event_payload": "thin", "webhook_endpoint": {"url": URL}}
WITH_URL = ["webhook_endpoint.url"]


@pytest.fixture
def destinations(sandbox: Any) -> Any:
    return sandbox.client.v2.core.event_destinations


async def test_a_destination_is_made_changed_disabled_enabled_and_deleted(sandbox: Any, destinations: Any) -> None:
    made = await destinations.create_async(
        {**THIN, "enabled_events": ["v1.invoice.paid"], "metadata": {"of": "a test", "gone": "soon"}}
    )
    assert (made.webhook_endpoint.signing_secret, made.webhook_endpoint.url) == (None, None)
    assert (made.status, made.event_payload, made.events_from, made.snapshot_api_version) == (
        "enabled",
        "thin",
        ["@self"],
        None,
    )
    changed = await destinations.update_async(
        made.id,
        {
            "enabled_events": ["v1.price.updated"],
            "metadata": {"gone": None},
            "webhook_endpoint": {"url": f"{URL}/2"},
            "include": WITH_URL,
        },
    )
    assert (changed.enabled_events, changed.webhook_endpoint.url) == (["v1.price.updated"], f"{URL}/2")
    assert changed.metadata.to_dict() == {"of": "a test"}
    assert (await destinations.disable_async(made.id)).status_details.disabled.reason == "user"
    enabled = await destinations.enable_async(made.id)
    assert (enabled.status, enabled.status_details) == ("enabled", None)
    assert (await destinations.retrieve_async(made.id)).webhook_endpoint.url is None
    assert (await sandbox.v1.webhook_endpoints.list_async()).data == []
    with pytest.raises(stripe.InvalidRequestError, match="No such webhook endpoint"):
        await sandbox.v1.webhook_endpoints.retrieve_async(made.id)
    assert (await destinations.delete_async(made.id)).id == made.id
    with pytest.raises(stripe.InvalidRequestError, match="No such event destination") as gone:
        await destinations.retrieve_async(made.id)
    assert gone.value.code == "resource_missing"


async def test_the_secret_is_told_once_to_whoever_asks_as_it_is_made(destinations: Any) -> None:
    made = await destinations.create_async(
        {**THIN, "enabled_events": ["*"], "include": ["webhook_endpoint.signing_secret"]}
    )
    assert made.webhook_endpoint.signing_secret.startswith("whsec_")
    with pytest.raises(stripe.InvalidRequestError, match="Cannot include"):
        await destinations.retrieve_async(made.id, {"include": ["webhook_endpoint.signing_secret"]})


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"enabled_events": ["invoice.paid"]}, "enabled_events"),
        ({"enabled_events": []}, "enabled_events"),
        ({"event_payload": "snapshot", "enabled_events": ["v1.invoice.paid"]}, "enabled_events"),
        ({"snapshot_api_version": API_VERSION}, "snapshot_api_version"),
        ({"webhook_endpoint": {"url": "https://example.com/webhook"}}, "url"),
        ({"events_from": ["@accounts"]}, "events_from"),
    ],
    ids=["a snapshot's type", "none", "a thin type of snapshots", "a version of thin events", "elsewhere", "others"],
)
async def test_what_does_not_fit_together_is_refused(destinations: Any, change: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await destinations.create_async({**THIN, "enabled_events": ["v1.invoice.paid"], **change})
    assert refused.value.param == param


async def test_lists_come_in_pages_that_lead_to_the_next_with_all_that_was_asked(
    sandbox: Any, destinations: Any
) -> None:
    made = [(await destinations.create_async({**THIN, "enabled_events": ["*"], "name": str(n)})).id for n in range(5)]
    page = await destinations.list_async({"limit": 2, "include": WITH_URL})
    assert [one.id for one in page.data] == made[:-3:-1]
    found = [one async for one in page.auto_paging_iter()]
    assert ([one.id for one in found], {one.webhook_endpoint.url for one in found}) == (made[::-1], {URL})
    await sandbox.customer()
    await sandbox.advance(100)
    since = "2999-01-01T00:00:00.000Z"
    events = sandbox.client.v2.core.events
    assert (await events.list_async({"created": {"gte": since}})).data == []
    for _ in range(3):
        await sandbox.customer()
    page = await events.list_async({"types": ["v1.customer.created"], "created": {"lt": since}, "limit": 2})
    assert [one.type for one in [one async for one in page.auto_paging_iter()]] == ["v1.customer.created"] * 4
    [first] = (await events.list_async({"object_id": page.data[0].related_object.id})).data
    assert first.id == page.data[0].id


async def test_thin_events_have_ids_of_their_own_and_lead_to_the_snapshot(sandbox: Any, receiver: Any) -> None:
    await sandbox.listen(receiver, "customer.created")
    made = await sandbox.listen_thinly(receiver, "v1.customer.created")
    customer = await sandbox.customer()
    await sandbox.drain()
    by_type = {event["type"]: event for event in receiver.events}
    thin, snapshot = by_type["v1.customer.created"], by_type["customer.created"]
    assert thin["related_object"]["id"] == customer.id
    assert "data" not in thin
    told = await sandbox.client.v2.core.events.retrieve_async(thin["id"])
    assert (told.snapshot_event, told.id != snapshot["id"]) == (snapshot["id"], True)
    body, headers = next(one for one in receiver.got if json.loads(one[0])["id"] == thin["id"])
    sandbox.client.parse_event_notification(body, headers["stripe-signature"], made.webhook_endpoint.signing_secret)


async def test_what_a_destination_does_not_take_is_no_undelivered_event_of_the_older_api(
    sandbox: Any, receiver: Any
) -> None:
    await sandbox.listen_thinly(receiver)
    receiver.usually = 500
    await sandbox.customer()
    undelivered = await sandbox.v1.events.list_async({"delivery_success": False})
    assert undelivered.data == []
    [told] = (await sandbox.client.v2.core.events.list_async({"types": ["v1.customer.created"]})).data
    assert told.related_object.type == "customer"


async def test_a_ping_goes_to_its_destination_only(sandbox: Any, receiver: Any, destinations: Any) -> None:
    made = await sandbox.listen_thinly(receiver, "v1.invoice.paid")
    other = await sandbox.listen_thinly(receiver)
    told = await destinations.ping_async(made.id)
    await sandbox.drain()
    [event] = receiver.events
    assert (event["id"], event["type"]) == (told.id, "v2.core.event_destination.ping")
    assert event["related_object"]["id"] == made.id != other.id


async def test_a_destination_of_snapshots_gets_those_of_its_version(sandbox: Any, receiver: Any) -> None:
    await sandbox.client.v2.core.event_destinations.create_async(
        {
            **THIN,
            "event_payload": "snapshot",
            "enabled_events": ["customer.created"],
            "snapshot_api_version": API_VERSION,
            "webhook_endpoint": {"url": receiver.url},
        }
    )
    await sandbox.customer()
    await sandbox.drain()
    [event] = receiver.events
    assert (event["type"], event["api_version"]) == ("customer.created", API_VERSION)


async def test_what_the_newer_api_shows_is_what_the_sdk_knows(sandbox: Any, receiver: Any) -> None:
    made = await sandbox.listen_thinly(receiver)
    await sandbox.client.v2.core.event_destinations.disable_async(made.id)
    await sandbox.client.v2.core.event_destinations.ping_async(made.id)
    await sandbox.subscribe()
    headers = {"Authorization": f"Bearer {sandbox.running.key}"}
    for path in ("event_destinations", "events?limit=100"):
        answer = await sandbox.http.get(f"{sandbox.running.stripe_url}/v2/core/{path}", headers=headers)
        shown = answer.raise_for_status().json()
        assert len(shown["data"]) > 0
        assert faults_of(shown) == []


async def test_a_body_that_is_no_object_is_refused_as_stripe_refuses(sandbox: Any) -> None:
    headers = {"Authorization": f"Bearer {sandbox.running.key}"}
    url = f"{sandbox.running.stripe_url}/v2/core/event_destinations"
    for body in ("[]", "name=thin", "null"):
        answer = await sandbox.http.post(url, content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
