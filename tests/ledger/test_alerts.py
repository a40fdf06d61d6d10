"""Alerts: recorded once whoever notices, and in one worker's hands at a time."""

from __future__ import annotations

import asyncio

from gateway.core.alerts import Told
from tests.fakes.alerts import alert

WAYS = ("email", "webhook")


async def claim(ledger, worker="w1", *, now=100, channels=WAYS, limit=10):
    return await ledger.claim_alerts(worker=worker, channels=channels, now=now, lease_s=60, limit=limit)


async def test_an_alert_is_recorded_once_whoever_notices_it(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    told = await asyncio.gather(
        *(one.record_alert(alert(used=801 + n), WAYS) for n in range(4) for one in (ledger, other))
    )
    assert sorted(told) == [False] * 7 + [True]
    rows = await ledger.list_alerts()
    assert [(row.channel, row.status) for row in rows] == [("email", "pending"), ("webhook", "pending")]
    (one,) = await ledger.list_told("c1", "q:requests:period", 10)
    assert one == Told(percent=80, used=rows[0].used)


async def test_what_was_told_is_asked_by_quota_and_window(ledger):
    for changes in (
        {},
        {"percent": 50, "used": 500},
        {"window_starts_at": 20},
        {"counter": "q"},
        {"customer_id": "c2"},
    ):
        await ledger.record_alert(alert(**changes), WAYS)
    told = await ledger.list_told("c1", "q:requests:period", 10)
    assert sorted(told, key=lambda one: one.percent) == [Told(percent=50, used=500), Told(percent=80, used=801)]


async def test_two_workers_never_claim_the_same(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    for percent in range(1, 21):
        await ledger.record_alert(alert(percent=percent), WAYS)
    claims = await asyncio.gather(*(claim(one, name, limit=7) for one, name in ((ledger, "w1"), (other, "w2")) * 4))
    rows = [(row.alert_id, row.channel) for rows in claims for row in rows]
    assert len(rows) == len(set(rows)) == 40


async def test_a_claim_that_ran_out_is_claimed_again_and_its_holder_has_lost_it(ledger):
    await ledger.record_alert(alert(), ["webhook"])
    (first,) = await claim(ledger, "w1")
    assert await claim(ledger, "w2") == []
    (second,) = await claim(ledger, "w2", now=160)
    assert second.attempts == 2
    assert not await ledger.finish_alert(first, now=161)
    assert await ledger.finish_alert(second, now=161)
    assert await claim(ledger, "w3", now=1000) == []


async def test_what_was_not_taken_waits_and_dies_and_can_be_sent_again(ledger):
    await ledger.record_alert(alert(), ["webhook"])
    (row,) = await claim(ledger)
    assert await ledger.delay_alert(row, until=200, error="answered 500")
    assert not await ledger.has_due_alerts(channels=WAYS, now=199)
    assert await ledger.has_due_alerts(channels=WAYS, now=200)
    (row,) = await claim(ledger, now=200)
    assert row.error == "answered 500"
    assert await ledger.bury_alert(row, now=201, error="answered 410")
    assert await ledger.alert_counts() == {"pending": 0, "claimed": 0, "dead": 1}
    assert [dead.alert_id for dead in await ledger.list_alerts(status="dead")] == [row.alert_id]
    assert await ledger.retry_alert(row.alert_id, 300) == 1
    (row,) = await claim(ledger, now=300)
    assert row.attempts == 1
    assert await ledger.retry_alert("\0", 300) == 0


async def test_an_alert_for_a_way_that_is_gone_waits_for_it(ledger):
    await ledger.record_alert(alert(), WAYS)
    assert [row.channel for row in await claim(ledger, channels=["webhook"])] == ["webhook"]
    assert [row.channel for row in await claim(ledger)] == ["email"]


async def test_old_alerts_are_forgotten(ledger):
    await ledger.record_alert(alert(at=100), WAYS)
    await ledger.record_alert(alert(at=200, percent=50), WAYS)
    assert await ledger.forget_alerts(200) == 2
    assert {row.percent for row in await ledger.list_alerts()} == {50}
