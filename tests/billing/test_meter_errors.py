"""What Stripe says later of units that it does not count, in an event of either form: the report is dead, and why."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
import stripe

from gateway.core.overage import overage_field
from gateway.ledger import MeterReportRow, UsageTotal

pytestmark = pytest.mark.slow

REASON = "Customer mapping key stripe_customer_id not found in payload."


def error_report(*identifiers: str) -> dict[str, Any]:
    """As Stripe shows one. Source: https://docs.stripe.com/api/v2/core/events/object"""
    samples = [{"error_message": REASON, "request": {"identifier": one}} for one in identifiers]
    kind = {"code": "meter_event_no_customer_defined", "error_count": len(samples), "sample_errors": samples}
    return {
        "developer_message_summary": f"There are {len(samples)} invalid events",
        "reason": {"error_count": len(samples), "error_types": [kind]},
        "validation_start": "2024-09-26T17:46:10.000Z",
        "validation_end": "2024-09-26T17:46:20.000Z",
    }


async def sent_report(shop: Any) -> MeterReportRow:
    """A report that Stripe took."""
    customer_id, now = await shop.new_customer(), int(shop.sandbox.clock.now())
    counter = overage_field("requests")
    total = UsageTotal(customer_id=customer_id, field=counter, window_starts_at=now, used=5, seq=1)
    await shop.ledger.settle([total])
    (turn,) = await shop.ledger.claim_meters(worker="w", now=now, lease_s=60, limit=1)
    (window,) = await shop.ledger.list_unreported(turn)
    row = MeterReportRow(
        identifier=f"tiergate-{uuid4().hex}",
        customer_id=customer_id,
        meter="requests",
        stripe_meter="api_overage",
        window_starts_at=now,
        total=5,
        units=5,
        happened_at=now,
        made_at=now,
        due_at=now,
    )
    assert await shop.ledger.begin_report(turn, window, row, now)
    await shop.ledger.finish_report(row, now=now)
    return row


async def deliver(shop: Any, event_type: str, shown: dict[str, Any]) -> str:
    """A signed snapshot event, sent to the webhook and worked off. Its id."""
    event_id = f"evt_{uuid4().hex}"
    event = {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "created": int(shop.sandbox.clock.now()),
        "livemode": False,
        "api_version": None,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": shown},
    }
    body = json.dumps(event)
    signature = stripe.WebhookSignature.generate_signature_header(body, shop.secret)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await client.post(f"{shop.webhook.url}/webhook", content=body, headers={"Stripe-Signature": signature})
    assert shop.fates[-1] == "stored"
    await shop.settle()
    return event_id


@pytest.mark.parametrize(
    "event_type",
    [
        "v1.billing.meter.error_report_triggered",
        "billing.meter.error_report_triggered",
        "billing.meter_error_report.triggered",
    ],
)
async def test_a_snapshot_marks_the_report_with_its_reason_whatever_its_type_is_called(
    shop: Any, event_type: str
) -> None:
    row = await sent_report(shop)
    event_id = await deliver(shop, event_type, error_report(row.identifier))
    (doubted,) = await shop.ledger.find_reports([row.identifier])
    assert (doubted.status, doubted.error) == ("dead", f"meter_event_no_customer_defined: {REASON}")
    event = await shop.ledger.find_event(event_id)
    assert event.status == "dead"
    assert f"5 units of customer {row.customer_id} are not billed" in event.error


async def test_a_snapshot_that_names_the_key_of_a_try_marks_the_report_of_it(shop: Any) -> None:
    row = await sent_report(shop)
    await deliver(shop, "billing.meter.error_report_triggered", error_report(f"{row.identifier}.1800000000"))
    (doubted,) = await shop.ledger.find_reports([row.identifier])
    assert doubted.status == "dead"


async def test_of_several_samples_each_marks_its_own_report_and_what_is_not_ours_is_told(shop: Any) -> None:
    rows = [await sent_report(shop) for _ in range(2)]
    shown = error_report(*(row.identifier for row in rows), "another-program")
    event_id = await deliver(shop, "billing.meter.error_report_triggered", shown)
    assert {row.status for row in await shop.ledger.find_reports([row.identifier for row in rows])} == {"dead"}
    event = await shop.ledger.find_event(event_id)
    assert "another-program (not ours)" in event.error


@pytest.mark.parametrize("shown", [{}, {"reason": {}}, {"reason": {"error_types": [{"code": "no_meter"}]}}])
async def test_a_snapshot_without_samples_is_seen_and_marks_nothing(shop: Any, shown: dict[str, Any]) -> None:
    row = await sent_report(shop)
    event_id = await deliver(shop, "billing.meter.error_report_triggered", shown)
    (left,) = await shop.ledger.find_reports([row.identifier])
    assert left.status == "sent"
    event = await shop.ledger.find_event(event_id)
    assert event.status == "dead"
