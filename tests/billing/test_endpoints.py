"""Webhook endpoints: made once, in our version, with what we act on; others are left alone."""

import asyncio

import pytest

from gateway.billing import API_VERSION, SUBSCRIBED_TYPES, Billing, StripeOptions
from gateway.sandbox import Listening, running
from tests.billing.conftest import Answer, Request, StandIn, opened

URL = "http://127.0.0.1:9/api/v1/webhook"


@pytest.fixture
async def keeping():
    async with (
        running(Listening(seeded=False, run="t")) as sandbox,
        opened(StripeOptions(secret_key=sandbox.key, base_url=sandbox.stripe_url)) as billing,
    ):
        yield billing


async def test_an_endpoint_is_made_in_our_version_and_gets_what_we_act_on(keeping: Billing) -> None:
    made = await keeping.endpoints.create(URL)
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    [one] = await keeping.endpoints.fetch_all()
    assert (one.endpoint_id, one.url, one.is_enabled, one.api_version) == (made.endpoint_id, URL, True, API_VERSION)
    assert (one.missing_types, one.extra_types) == ((), ())


async def test_two_that_ask_at_once_make_one(keeping: Billing) -> None:
    made = await asyncio.gather(*(keeping.endpoints.create(URL) for _ in range(4)))
    assert len({one.endpoint_id for one in made}) == len({one.secret for one in made}) == 1
    assert len(await keeping.endpoints.fetch_all()) == 1


async def test_one_that_was_made_and_deleted_today_is_made_again(keeping: Billing) -> None:
    first = await keeping.endpoints.create(URL)
    await keeping.endpoints.remove(first.endpoint_id)
    second = await keeping.endpoints.create(URL)
    assert second.endpoint_id != first.endpoint_id
    assert [one.endpoint_id for one in await keeping.endpoints.fetch_all()] == [second.endpoint_id]


async def test_one_is_mended_and_others_are_left_alone(keeping: Billing) -> None:
    client = keeping._client.v1.webhook_endpoints
    odd = await client.create_async({"url": URL, "enabled_events": ["invoice.paid", "invoice.created"]})
    await client.update_async(odd.id, {"disabled": True})
    other = await client.create_async({"url": "http://127.0.0.1:9/other", "enabled_events": ["*"]})
    before = {one.endpoint_id: one for one in await keeping.endpoints.fetch_all()}
    assert before[odd.id].extra_types == ("invoice.created",)
    assert len(before[odd.id].missing_types) == len(SUBSCRIBED_TYPES) - 1
    await keeping.endpoints.repair(odd.id)
    after = {one.endpoint_id: one for one in await keeping.endpoints.fetch_all()}
    assert (after[odd.id].is_enabled, after[odd.id].missing_types, after[odd.id].extra_types) == (True, (), ())
    assert after[other.id] == before[other.id]


def destination(**changes: object) -> dict[str, object]:
    return {
        "object": "v2.core.event_destination",
        "id": "ed_test_1",
        "created": "2026-11-01T00:00:00.000Z",
        "updated": "2026-11-01T00:00:00.000Z",
        "description": "",
        "name": "thin",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["v1.billing.meter.error_report_triggered"],
        "events_from": ["self"],
        "livemode": False,
        "metadata": {},
        "snapshot_api_version": None,
        "status": "enabled",
        "status_details": None,
        "webhook_endpoint": {"url": URL, "signing_secret": None},
    } | changes


async def test_event_destinations_are_read_if_the_key_may(stand_in: StandIn, billing: Billing) -> None:
    async def answer(request: Request) -> Answer:
        if request.path != "/v2/core/event_destinations":
            return await stand_in.nothing(request)
        elsewhere = destination(id="ed_test_2", type="amazon_eventbridge", webhook_endpoint=None)
        return Answer(body={"data": [destination(), elsewhere], "next_page_url": None, "previous_page_url": None})

    stand_in.handler = answer
    report = await billing.describe()
    assert report.destinations is not None
    [one] = report.destinations
    assert (one.destination_id, one.url, one.is_enabled, one.is_thin) == ("ed_test_1", URL, True, True)
    assert one.types == ("v1.billing.meter.error_report_triggered",)
    stand_in.handler = stand_in.nothing
    assert (await billing.describe()).destinations is None
