"""Credits that are used to some share: told once for each grant and share, also when they are used up and gone."""

from __future__ import annotations

import json

from structlog.testing import capture_logs

from gateway.crediting import CreditOrder
from tests.alerts.test_alerts import Worker

DAY_S = 86_400


async def grant(parts, customer_id, units, **order):
    granted = await parts.crediting.grant(
        customer_id, CreditOrder(units=units, **order), parts.policy.current, actor="test"
    )
    return granted.row.grant


async def told(parts):
    """(percent, used, units) of every alert about credits, in the order in which they were used."""
    events = [json.loads(row.body) for row in await parts.ledger.list_alerts(limit=500)]
    about = [event["data"] for event in events if event["type"] == "credits.threshold_reached"]
    return sorted((one["percent"], one["used"], one["units"]) for one in about)


async def customer_with_credits(parts, units=10, **order):
    """Its quota of 10 is used up."""
    customer_id, key, _ = await parts.customer()
    given = await grant(parts, customer_id, units, **order)
    worker = Worker(parts)
    await worker.call(key, 10)
    assert await told(parts) == []
    return customer_id, key, worker, given


async def test_each_share_of_a_grant_is_told_when_it_is_reached_and_once(parts):
    _, key, worker, _ = await customer_with_credits(parts)
    await worker.call(key, 4)
    assert await told(parts) == []
    await worker.call(key, 1)
    assert await told(parts) == [(50, 5, 10)]
    await worker.call(key, 3)
    assert await told(parts) == [(50, 5, 10), (80, 8, 10)]
    await worker.call(key, 2)
    assert await told(parts) == [(50, 5, 10), (80, 8, 10), (100, 10, 10)]
    for other in (worker, Worker(parts)):
        await other.settlement.settle_all()
    assert len(await told(parts)) == 3, "neither the next look nor a restart tells it again"


async def test_the_log_says_of_what_a_threshold_was_reached(parts):
    with capture_logs() as logs:
        _, key, worker, given = await customer_with_credits(parts)
        await worker.call(key, 10)
    said = {(one["event"], one.get("grant_id") or one["limit"]) for one in logs if "alert_id" in one}
    assert said == {("quota threshold reached", "period"), ("credits threshold reached", given.grant_id)}


async def test_credits_that_are_used_up_between_two_settlements_are_told_of_although_they_have_left_the_account(parts):
    customer_id, key, worker, _ = await customer_with_credits(parts)
    await worker.call(key, 10)
    assert (await parts.ledger.load_account(customer_id)).grants == ()
    assert await told(parts) == [(100, 10, 10)]


async def test_what_a_crashed_worker_did_not_tell_of_spent_credits_the_next_start_tells(parts):
    customer_id, key, _ = await parts.customer()
    await grant(parts, customer_id, 10)
    await Worker(parts, channels=()).call(key, 20)
    assert await told(parts) == []
    await Worker(parts).settlement.settle_all()
    assert await told(parts) == [(100, 10, 10)]


async def test_every_grant_is_told_of_by_itself(parts):
    customer_id, key, worker, _ = await customer_with_credits(parts, expires_at=int(parts.clock.time) + DAY_S)
    await grant(parts, customer_id, 4)
    await worker.call(key, 12)
    assert await told(parts) == [(50, 2, 4), (100, 10, 10)]


async def test_revoked_credits_are_no_news(parts):
    customer_id, key, worker, given = await customer_with_credits(parts)
    quiet = Worker(parts, channels=())
    await quiet.call(key, 9)
    await parts.crediting.revoke(customer_id, given.grant_id, actor="test", because="test")
    await worker.settlement.settle_all()
    assert await told(parts) == []


async def test_an_event_names_customer_grant_and_expiry(parts):
    ends_at = int(parts.clock.time) + DAY_S
    customer_id, key, worker, given = await customer_with_credits(parts, expires_at=ends_at)
    await worker.call(key, 5)
    rows = await parts.ledger.list_alerts(limit=500)
    [event] = [json.loads(row.body) for row in rows if "credits" in json.loads(row.body)["type"]]
    data = event["data"]
    assert (data["customer_id"], data["user_id"], data["tier"], data["meter"]) == (
        customer_id,
        "ada",
        "free",
        "requests",
    )
    assert (data["grant_id"], data["granted_at"], data["expires_at"]) == (given.grant_id, given.granted_at, ends_at)


async def test_a_customer_without_anything_new_is_not_looked_at_again(parts, monkeypatch):
    _, key, worker, _ = await customer_with_credits(parts)
    await worker.call(key, 5)
    asked = []

    async def noting(*about):
        asked.append(about)
        return []

    monkeypatch.setattr(parts.ledger, "list_told", noting)
    await worker.call(key, 2)
    assert asked == []
