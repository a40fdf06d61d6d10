"""Overage in the ledger: totals, turns, and a report for each step. On SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.overage import overage_field
from gateway.ledger import MeterReportRow, UsageTotal

START, END = 1_000_000, 3_000_000
FIELD = overage_field("requests")


def total(used, seq, *, customer_id="c1", field=FIELD, window_starts_at=START):
    return UsageTotal(customer_id=customer_id, field=field, window_starts_at=window_starts_at, used=used, seq=seq)


def report(window, to, *, now=START):
    return MeterReportRow(
        identifier=f"{window.customer_id}-{window.window_starts_at}-{to}",
        customer_id=window.customer_id,
        meter=window.meter,
        stripe_meter="api_requests",
        window_starts_at=window.window_starts_at,
        total=to,
        units=to - window.reported,
        happened_at=now,
        made_at=now,
        due_at=now,
    )


async def claim(ledger, *, worker="w1", now=START, lease_s=60):
    return await ledger.claim_meters(worker=worker, now=now, lease_s=lease_s, limit=10)


async def made(ledger):
    """All reports, in the order of their totals."""
    return sorted(await ledger.list_reports(), key=lambda row: row.total)


async def known(ledger, window):
    await ledger.note_window(replace(window, window_ends_at=END, included=100, stripe_meter="api_requests"))


async def test_a_settled_total_of_overage_is_a_window_that_is_due(ledger):
    await ledger.settle([total(5, 1), total(9, 1, field="q:requests:period")])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    assert (window.total, window.reported, window.window_starts_at, window.window_ends_at) == (5, 0, START, None)


@pytest.mark.parametrize("field", ["q:requests:period", "q:requests:86400", "q:credit:g1", "r:requests:1000"])
async def test_other_counters_are_no_overage(ledger, field):
    await ledger.settle([total(5, 1, field=field)])
    assert await claim(ledger) == []


async def test_a_total_follows_the_latest_settlement_and_what_is_reported_stays(ledger):
    await ledger.settle([total(5, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    assert await ledger.begin_report(turn, window, report(window, 5), START)
    await ledger.settle([total(3, 2), total(99, 1)])
    assert await ledger.list_unreported(turn) == []
    await ledger.settle([total(7, 3)])
    (window,) = await ledger.list_unreported(turn)
    assert (window.total, window.reported) == (7, 5)


async def test_a_window_that_nobody_looked_at_is_not_listed_and_afterwards_it_is(ledger):
    await ledger.settle([total(5, 1)])
    assert await ledger.list_metered_windows("c1", START, END) == []
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    await known(ledger, window)
    (listed,) = await ledger.list_metered_windows("c1", START, END)
    assert (listed.included, listed.window_ends_at, listed.reported) == (100, END, 0)
    assert await ledger.list_metered_windows("c1", START + 1, END) == []
    assert await ledger.list_metered_windows("c1", 0, START) == []
    assert await ledger.list_metered_windows("c2", 0, END) == []


async def test_one_worker_at_a_time_has_the_turn_of_a_customer_and_meter(ledger):
    await ledger.settle([total(5, 1), total(5, 1, field=overage_field("tokens")), total(1, 1, customer_id="c2")])
    found = await asyncio.gather(*(claim(ledger, worker=f"w{n}") for n in range(4)))
    turns = [(turn.customer_id, turn.meter) for some in found for turn in some]
    assert sorted(turns) == [("c1", "requests"), ("c1", "tokens"), ("c2", "requests")]


async def test_a_turn_that_ended_or_was_given_up_may_be_taken(ledger):
    await ledger.settle([total(5, 1)])
    (first,) = await claim(ledger)
    assert await claim(ledger, worker="w2", now=START + 59) == []
    (second,) = await claim(ledger, worker="w2", now=START + 60)
    await ledger.release_meter(first)
    assert await claim(ledger, worker="w3", now=START + 61) == [], "the first gave up what it had no more"
    await ledger.release_meter(second)
    assert len(await claim(ledger, worker="w3", now=START + 61)) == 1


async def test_nobody_reports_without_the_turn(ledger):
    await ledger.settle([total(5, 1)])
    (lost,) = await claim(ledger)
    (window,) = await ledger.list_unreported(lost)
    await claim(ledger, worker="w2", now=START + 60)
    assert not await ledger.begin_report(lost, window, report(window, 5), START + 60)
    assert await made(ledger) == []
    assert not await ledger.begin_report(lost, window, report(window, 5), START + 500), "nor after its own has ended"


async def test_of_two_reports_of_the_same_step_one_is_written(ledger):
    await ledger.settle([total(5, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    written = await asyncio.gather(
        *(ledger.begin_report(turn, window, replace(report(window, 5), identifier=f"r{n}"), START) for n in range(3))
    )
    assert sorted(written) == [False, False, True]
    (row,) = await made(ledger)
    assert (row.units, row.status) == (5, "pending")


async def test_a_report_waits_until_it_is_due_and_is_then_somebodys_turn(ledger):
    await ledger.settle([total(5, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    row = report(window, 5)
    await ledger.begin_report(turn, window, row, START)
    await ledger.try_report(row, now=START, due_at=START + 30)
    await ledger.delay_report(row, until=START + 40, error="no\x00pe", is_unknown=True)
    await ledger.release_meter(turn)
    assert await claim(ledger, now=START + 39) == []
    (turn,) = await claim(ledger, now=START + 40)
    found = await ledger.find_open_report(turn)
    assert found is not None
    assert (found.attempts, found.tried_at, found.error) == (1, START, "no\N{REPLACEMENT CHARACTER}pe")
    await ledger.finish_report(row, now=START + 41)
    assert await ledger.find_open_report(turn) is None
    await ledger.delay_report(row, until=START + 99, error="late", is_unknown=True)
    (sent,) = await ledger.list_reports(status="sent")
    assert (sent.sent_at, sent.error) == (START + 41, None)


async def test_windows_are_not_due_while_a_report_before_them_is_to_be_tried_later(ledger):
    await ledger.settle([total(5, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    row = report(window, 5)
    await ledger.begin_report(turn, window, row, START)
    await ledger.delay_report(row, until=START + 300, error="no", is_unknown=False)
    await ledger.release_meter(turn)
    await ledger.settle([total(9, 2)])
    assert await claim(ledger, now=START + 299) == []
    assert len(await claim(ledger, now=START + 300)) == 1


async def test_who_has_been_due_longest_has_the_first_turn_and_the_report_that_is_due_first_goes_first(ledger):
    await ledger.settle([total(5, 1, customer_id=f"a{n}") for n in range(12)] + [total(5, 1, customer_id="z")])
    for turn in [one for some in (await claim(ledger), await claim(ledger)) for one in some]:
        (window,) = await ledger.list_unreported(turn)
        is_last = turn.customer_id == "z"
        await ledger.note_window(replace(window, look_at=START + 1 if is_last else START + 2))
        await ledger.release_meter(turn)
    (first, *others) = await claim(ledger, now=START + 9)
    assert {"z"} <= {turn.customer_id for turn in (first, *others)}
    turn = next(one for one in (first, *others) if one.customer_id == "z")
    (window,) = await ledger.list_unreported(turn)
    older, newer = report(window, 3, now=START), replace(report(window, 5, now=START + 9), units=2)
    await ledger.begin_report(turn, window, older, START + 9)
    await ledger.begin_report(turn, replace(window, reported=3), newer, START + 9)
    await ledger.delay_report(older, until=START + 60, error="no", is_unknown=False)
    found = await ledger.find_open_report(turn)
    assert found is not None
    assert found.total == 5


async def test_what_is_given_up_stays_until_somebody_asks_for_it(ledger):
    await ledger.settle([total(5, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    row = report(window, 5)
    await ledger.begin_report(turn, window, row, START)
    await ledger.bury_report(row, error="no such customer")
    await ledger.release_meter(turn)
    assert await claim(ledger, now=START + 1) == []
    assert await ledger.report_counts() == ({"pending": 0, "dead": 1}, None)
    assert await ledger.retry_report(row.identifier, START + 2)
    assert not await ledger.retry_report("none\x00such", START + 2)
    assert len(await claim(ledger, now=START + 2)) == 1


@pytest.mark.parametrize("was_not_taken", [False, True])
async def test_when_it_was_first_tried_stays_known_unless_somebody_made_sure(ledger, was_not_taken):
    await ledger.settle([total(5, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    row = report(window, 5)
    await ledger.begin_report(turn, window, row, START)
    await ledger.try_report(row, now=START, due_at=START + 5)
    assert await ledger.retry_report(row.identifier, START + 9, was_not_taken=was_not_taken)
    found = await ledger.find_open_report(turn)
    assert found is not None
    assert (found.attempts, found.tried_at) == (0, None if was_not_taken else START)


async def test_what_stripe_says_later_is_noted_on_the_report(ledger):
    await ledger.settle([total(5, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    row = report(window, 5)
    await ledger.begin_report(turn, window, row, START)
    await ledger.finish_report(row, now=START)
    doubted = await ledger.doubt_report(row.identifier, error="archived_meter", now=START)
    assert doubted is not None
    assert (doubted.status, doubted.error) == ("dead", "archived_meter")
    assert await ledger.doubt_report("another", error="x", now=START) is None
    assert [one.identifier for one in await ledger.find_reports([row.identifier, "x"])] == [row.identifier]
    assert await ledger.retry_report(row.identifier, START + 9)
    (again,) = await ledger.list_reports()
    assert (again.identifier, again.status, again.sent_at) == (f"{row.identifier}r", "pending", None)
    assert again.tried_at is None, "Stripe never heard of that name"


async def sent(ledger, turn, window, to, at):
    row = report(window, to, now=at)
    assert await ledger.begin_report(turn, window, row, START)
    await ledger.finish_report(row, now=at)
    return replace(window, reported=to)


async def test_what_stripe_has_is_added_up_by_when_it_was_told_and_the_rest_is_listed(ledger):
    await ledger.settle([total(100, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    for to, at in ((10, START + 5), (30, START + 10), (33, START + 19), (40, START + 20), (45, START + 90)):
        window = await sent(ledger, turn, window, to, at)
    dead, waiting = report(window, 60), report(replace(window, reported=60), 90)
    await ledger.begin_report(turn, window, dead, START)
    await ledger.bury_report(dead, error="no")
    await ledger.begin_report(turn, replace(window, reported=60), waiting, START)
    sums = await ledger.sum_sent_reports("c1", START, START + 1, [START + 20, START + 10])
    assert {(one.meter, one.window_starts_at, one.told_from, one.units) for one in sums} == {
        ("requests", START, START + 10, 23),
        ("requests", START, START + 20, 12),
    }
    assert await ledger.sum_sent_reports("c1", START, START + 1, []) == []
    assert await ledger.sum_sent_reports("c1", START + 1, START + 2, [1]) == []
    assert await ledger.sum_sent_reports("c2", START, START + 1, [1]) == []
    unsent = await ledger.list_unsent_reports("c1", START, START + 1)
    assert [(one.total, one.status) for one in unsent] == [(60, "dead"), (90, "pending")]
    assert await ledger.list_unsent_reports("c1", START + 1, START + 2) == []


async def test_old_reports_that_stripe_has_are_deleted_and_what_was_reported_stays_known(ledger):
    await ledger.settle([total(100, 1)])
    (turn,) = await claim(ledger)
    (window,) = await ledger.list_unreported(turn)
    await known(ledger, window)
    for to, at in ((10, START), (30, START + 10)):
        window = await sent(ledger, turn, window, to, at)
    dead = report(window, 60)
    await ledger.begin_report(turn, window, dead, START)
    await ledger.bury_report(dead, error="no")
    assert await ledger.forget_reports(START + 10) == 1
    assert [one.total for one in await made(ledger)] == [30, 60]
    assert await ledger.forget_reports(START + 99) == 1
    assert await ledger.forget_reports(START + 99) == 0
    (kept,) = await made(ledger)
    assert kept.status == "dead"
    (shown,) = await ledger.list_metered_windows("c1", START, END)
    assert shown.reported == 60
