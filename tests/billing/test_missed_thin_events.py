"""Thin events that did not arrive: Stripe does not say which these are, and they are found all the same."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.billing import METER_ERRORS
from gateway.core.errors import BillingRefused, BillingUnavailable
from gateway.sync import EventWorker

pytestmark = pytest.mark.slow

LATER_S = 700


async def lose(shop: Any, *types: str) -> None:
    (await shop.sandbox.http.post("/_sandbox/faults", json={"drop": list(types or ("*",))})).raise_for_status()


async def later(shop: Any, seconds: int = LATER_S) -> None:
    await shop.sandbox.control("clock/advance", seconds=seconds)


@pytest.fixture
async def buyer(shop: Any) -> str:
    """One whose events came thinly, before any is lost."""
    await shop.hear_thinly()
    customer_id: str = await shop.buyer("pro-monthly")
    return customer_id


async def cancel(shop: Any, customer_id: str) -> None:
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)


async def test_what_a_destination_did_not_get_is_found_once_it_is_late_and_worked_on(shop: Any, buyer: str) -> None:
    await later(shop)
    assert await shop.worker.sweep() == 0
    await lose(shop)
    await cancel(shop, buyer)
    await shop.settle()
    assert (await shop.load(buyer)).status == "active"
    assert await shop.worker.sweep() == 0, "Stripe may be delivering it"
    await later(shop)
    assert await shop.worker.sweep() > 0
    assert "v1.customer.subscription.deleted" in {one.type for one in await shop.ledger.list_events(status="pending")}
    await shop.settle()
    assert (await shop.load(buyer)).status == "canceled"
    assert await shop.worker.sweep() == 0
    assert (
        await EventWorker(
            ledger=shop.ledger, sync=shop.sync, clock=shop.sandbox.clock, url=f"{shop.webhook.url}/webhook"
        ).sweep()
        == 0
    ), "another process finds them in the ledger"


async def test_a_thin_event_that_a_sweep_found_is_replayed_as_any_other(shop: Any, buyer: str) -> None:
    await lose(shop)
    await cancel(shop, buyer)
    await later(shop)
    await shop.worker.sweep()
    await shop.settle()
    [ended] = [one for one in await shop.ledger.list_events() if one.type == "v1.customer.subscription.deleted"]
    assert ended.outcome == "applied"
    assert await shop.ledger.replay_event(ended.event_id, int(shop.sandbox.clock.now()))
    await shop.settle()
    assert (await shop.ledger.find_event(ended.event_id)).status == "done"


async def test_only_types_that_a_destination_here_was_to_get_are_swept_for(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    v2 = shop.sandbox.stripe.v2.core.event_destinations
    for path, types in (("webhook", list(METER_ERRORS)), ("else", ["*"])):
        place = {"type": "webhook_endpoint", "webhook_endpoint": {"url": f"{shop.webhook.url}/{path}"}}
        await v2.create_async({"name": path, "event_payload": "thin", "enabled_events": types, **place})
    await lose(shop)
    await cancel(shop, customer_id)
    await later(shop)
    await shop.worker.sweep()
    assert {one.type for one in await shop.ledger.list_events() if one.type.startswith("v1.")} == set()


async def test_an_outage_in_the_middle_is_gone_on_from_and_a_page_that_is_not_known_begins_anew(
    shop: Any, buyer: str
) -> None:
    await lose(shop)
    await cancel(shop, buyer)
    await later(shop)
    fault = {"method": "GET", "path": "/v2/core/events", "times": 4}
    for status, error in ((503, BillingUnavailable), (400, BillingRefused)):
        await shop.sandbox.http.post("/_sandbox/faults", json={"api": [{**fault, "status": status}]})
        with pytest.raises(error):
            await shop.worker.sweep()
        await shop.sandbox.http.delete("/_sandbox/faults")
    assert await shop.worker.sweep() > 0


@pytest.mark.parametrize(("status", "error"), [(503, BillingUnavailable), (403, BillingRefused)])
async def test_thin_events_are_found_also_while_stripe_does_not_list_those_of_endpoints(
    shop: Any, buyer: str, status: int, error: type[Exception]
) -> None:
    await lose(shop)
    await cancel(shop, buyer)
    await later(shop)
    fault = {"method": "GET", "path": "/v1/events", "status": status, "times": 100}
    await shop.sandbox.http.post("/_sandbox/faults", json={"api": [fault]})
    with pytest.raises(error):
        await shop.worker.sweep()
    assert "v1.customer.subscription.deleted" in {one.type for one in await shop.ledger.list_events(status="pending")}
