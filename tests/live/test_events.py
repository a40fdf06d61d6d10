"""How events come: the webhook endpoint that `tiergate webhook ensure` makes, and those that reached nobody."""

from __future__ import annotations

import json

import pytest

from gateway.billing import SUBSCRIBED_TYPES, THIN_TYPES
from gateway.billing.webhook import parse_event
from gateway.sync.receiving import keep_event
from gateway.sync.sweeping import Sweeping
from gateway.sync.undelivered import Undelivered
from tests.live.commands import CommandLine
from tests.live.life import GOOD_CARD

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BACK_S = 600


async def endpoint_at(life, url):
    """None: there is none."""
    found = [one for one in await life.billing.endpoints.fetch_all() if one.url == url]
    assert len(found) <= 1
    if not found:
        return None
    life.account.remove_later("DELETE", f"webhook_endpoints/{found[0].endpoint_id}")
    return found[0]


async def test_the_webhook_endpoint_is_made_mended_and_left_alone_when_it_is_right(life, tmp_path):
    tiergate, file = CommandLine(life.account, tmp_path), tmp_path / "settings.env"
    url = f"{life.account.public_url}/api/v1/webhook"
    made = tiergate("webhook", "ensure", "--write-env", str(file))
    assert made.returncode == 0, made.stderr
    endpoint = await endpoint_at(life, url)
    assert endpoint is not None
    assert file.read_text().startswith("STRIPE_WEBHOOK_SECRET=whsec_")
    assert life.account.key not in made.stdout + made.stderr
    right = (endpoint.is_enabled, endpoint.missing_types, endpoint.extra_types)
    assert right == (True, (), ())

    broken = {"disabled": True, "enabled_events": ["invoice.created"]}
    await life.stripe.v1.webhook_endpoints.update_async(endpoint.endpoint_id, broken)
    found = await endpoint_at(life, url)
    assert (found.is_enabled, found.missing_types, found.extra_types) == (
        False,
        SUBSCRIBED_TYPES,
        ("invoice.created",),
    )
    mended = tiergate("webhook", "ensure")
    assert mended.returncode == 0, mended.stderr
    assert "is mended" in mended.stdout
    assert await endpoint_at(life, url) == endpoint
    again = tiergate("webhook", "ensure")
    assert "is enabled and gets exactly what the gateway acts on" in again.stdout

    await life.billing.endpoints.remove(endpoint.endpoint_id)
    assert await endpoint_at(life, url) is None


async def test_events_that_reach_nobody_are_found_by_a_sweep(life):
    made = await life.billing.endpoints.create(f"{life.account.public_url}/swept")
    life.account.remove_later("DELETE", f"webhook_endpoints/{made.endpoint_id}")
    assert made.secret.startswith("whsec_")
    await life.new_customer()
    await life.new_card(GOOD_CARD)
    price = life.account.prices["pro-monthly"]
    await life.stripe.v1.subscriptions.create_async({"customer": life.cus, "items": [{"price": price}]})
    billing = life.sync.billing
    undelivered = Undelivered(billing=billing, clock=life.clock, back_s=BACK_S)
    sweeping = Sweeping(listing=undelivered, ledger=life.ledger, billing=billing, clock=life.clock)

    async def swept():
        await sweeping.sweep()
        while await life.worker.work_once():
            pass
        return await life.ledger.load_subscription(life.customer_id)

    found = await life.eventually(swept)
    assert (found.status, found.plan_id) == ("active", "pro-monthly")
    assert sweeping.found > 0
    await life.billing.endpoints.remove(made.endpoint_id)


async def test_an_event_destination_is_made_mended_and_left_alone_when_it_is_right(life, tmp_path):
    tiergate, url = CommandLine(life.account, tmp_path), f"{life.account.public_url}/api/v1/webhook"
    made = tiergate("webhook", "ensure", "--thin", "--write-env", str(tmp_path / "settings.env"))
    assert made.returncode == 0, made.stderr
    found = [one for one in await life.billing.destinations.fetch_all() if one.url == url]
    [destination] = found
    life.account.remove_later("DELETE", f"/v2/core/event_destinations/{destination.destination_id}")
    assert (destination.is_enabled, destination.is_thin, set(destination.types)) == (True, True, set(THIN_TYPES))

    destinations = life.stripe.v2.core.event_destinations
    await destinations.update_async(destination.destination_id, {"enabled_events": list(THIN_TYPES[:2])})
    await destinations.disable_async(destination.destination_id)
    mended = tiergate("webhook", "ensure", "--thin")
    assert mended.returncode == 0, mended.stderr
    assert "is mended: enabled it; added" in mended.stdout
    [again] = [one for one in await life.billing.destinations.fetch_all() if one.url == url]
    assert (again.is_enabled, set(again.types)) == (True, set(THIN_TYPES))
    await life.billing.destinations.remove(destination.destination_id)


async def test_thin_events_say_enough_to_read_the_customer(life):
    made = await life.billing.destinations.create(f"{life.account.public_url}/thin", THIN_TYPES)
    life.account.remove_later("DELETE", f"/v2/core/event_destinations/{made.endpoint_id}")
    await life.new_customer()
    await life.new_card(GOOD_CARD)
    order = {"customer": life.cus, "items": [{"price": life.account.prices["pro-monthly"]}]}
    subscription = await life.stripe.v1.subscriptions.create_async(order)

    async def told():
        return life.account.ask("GET", "/v2/core/events", {"object_id": subscription.id})["data"]

    for one in await life.eventually(told):
        assert one["type"].startswith("v1.customer.subscription.")
        envelope = parse_event(json.dumps(one).encode())
        assert await keep_event(envelope, is_live=False, ledger=life.ledger, now=life.clock.now()) == "stored"
    while await life.worker.work_once():
        pass
    assert await life.standing() == ("good", "pro")
    await life.billing.destinations.remove(made.endpoint_id)


async def test_the_key_may_read_what_the_doctor_reads_event_destinations_too(life):
    report = await life.billing.describe(frozenset({"entitlements", "billing meters"}))
    assert set(report.refused) <= {"account"}  # of which a restricted key can do without
    assert report.destinations is not None
    assert not report.is_live
