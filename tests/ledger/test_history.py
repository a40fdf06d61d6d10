"""Usage by the hour: every batch once, every call in one row, whoever rolls."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import LedgerUnavailable
from gateway.ledger import DAY_S, HOUR_S, HistoryRow, HourUsage, LooksBackFull

DAY = 20_000 * DAY_S


def hour(units=1, *, at=0, customer_id="c1", meter="requests", key_id="k1", route="GET /a", requests=1, denied=0):
    return HourUsage(
        customer_id=customer_id,
        starts_at=DAY + at * HOUR_S,
        meter=meter,
        key_id=key_id,
        route=route,
        requests=requests,
        denied=denied,
        units=units,
    )


async def days(ledger, customer_id="c1", **options):
    options = {"from_at": 0, "to_at": DAY + 9 * DAY_S, "by": "day"} | options
    return await ledger.list_history(customer_id, **options)


async def units(ledger, **options):
    return [row.units for row in await days(ledger, **options)]


async def test_batches_are_added_up(ledger):
    assert await ledger.add_usage("w1", 1, [hour(2, denied=3)], now=DAY)
    assert await ledger.add_usage("w1", 2, [hour(5)], now=DAY)
    assert await ledger.add_usage("w2", 1, [hour(7)], now=DAY)
    assert await days(ledger) == [
        HistoryRow(starts_at=DAY, meter="requests", key_id=None, route=None, requests=3, denied=3, units=14)
    ]


async def test_a_batch_that_is_sent_again_adds_nothing(ledger):
    await ledger.add_usage("w1", 2, [hour(2)], now=DAY)
    assert not await ledger.add_usage("w1", 2, [hour(2)], now=DAY)
    assert not await ledger.add_usage("w1", 1, [hour(9)], now=DAY), "an older one neither"
    assert await units(ledger) == [2]


async def test_the_same_batch_sent_twice_at_once_is_added_once(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    sent = await asyncio.gather(*(one.add_usage("w1", 1, [hour(2)], now=DAY) for one in (ledger, other) * 3))
    assert sorted(sent) == [False] * 5 + [True]
    assert await units(ledger) == [2]


async def test_crossing_batches_of_two_workers_all_arrive(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    hours = [hour(customer_id=f"c{i}", route=f"GET /{i % 3}") for i in range(60)]
    await asyncio.gather(
        *(ledger.add_usage("w1", number, hours, now=DAY) for number in range(1, 2)),
        *(other.add_usage("w2", number, list(reversed(hours)), now=DAY) for number in range(1, 2)),
    )
    assert {(await units(ledger, customer_id=f"c{i}"))[0] for i in range(60)} == {2}


async def test_what_is_given_back_is_taken_off(ledger):
    await ledger.add_usage("w1", 1, [hour(-3, requests=0)], now=DAY)
    await ledger.add_usage("w2", 1, [hour(3)], now=DAY)
    assert await units(ledger) == [0]


async def test_meters_are_told_apart_and_keys_and_routes_if_asked(ledger):
    rows = [
        hour(1, key_id="k1", route="GET /a"),
        hour(2, key_id="k2", route="GET /a"),
        hour(4, key_id="k2", route="GET /b"),
        hour(8, meter="tokens"),
        hour(16, customer_id="c2"),
    ]
    await ledger.add_usage("w1", 1, rows, now=DAY)
    assert [(row.meter, row.units) for row in await days(ledger)] == [("requests", 7), ("tokens", 8)]
    by_key = await days(ledger, per_key=True)
    assert [(row.key_id, row.route, row.units) for row in by_key] == [("k1", None, 1), ("k2", None, 6), ("k1", None, 8)]
    by_both = await days(ledger, per_key=True, per_route=True)
    assert [(row.key_id, row.route) for row in by_both][:3] == [("k1", "GET /a"), ("k2", "GET /a"), ("k2", "GET /b")]


async def test_hours_and_days_are_cut_where_they_are_asked_for(ledger):
    await ledger.add_usage("w1", 1, [hour(2**at, at=at) for at in (0, 1, 23, 24, 25)], now=DAY)
    assert await units(ledger) == [2**0 + 2**1 + 2**23, 2**24 + 2**25]
    assert await units(ledger, by="hour", from_at=DAY + HOUR_S, to_at=DAY + DAY_S) == [2**1, 2**23]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_show_every_line_once(ledger, size):
    rows = [
        hour(1, at=at, key_id=key, route=route, meter=meter)
        for at in (0, 24)
        for meter in ("requests", "tokens")
        for key in ("k1", "k2")
        for route in ("* /b", "GET /a")
    ]
    await ledger.add_usage("w1", 1, rows, now=DAY)
    everything = await days(ledger, per_key=True, per_route=True)
    assert len(everything) == len(rows)
    seen, after = [], None
    while page := await days(ledger, per_key=True, per_route=True, after=after, limit=size):
        seen += page
        after = (page[-1].starts_at, page[-1].meter, page[-1].key_id, page[-1].route)
    assert seen == everything


async def test_old_hours_become_days_and_nothing_is_lost(ledger):
    await ledger.add_usage("w1", 1, [hour(1, at=at, denied=1) for at in range(50)], now=DAY)
    before = await days(ledger)
    assert await ledger.roll_usage(DAY + DAY_S) == 24
    assert await ledger.roll_usage(DAY + DAY_S) == 0
    assert await days(ledger) == before
    assert len(await days(ledger, by="hour")) == 26
    await ledger.add_usage("w1", 2, [hour(1)], now=DAY)
    await ledger.roll_usage(DAY + DAY_S)
    assert (await units(ledger))[0] == 25, "what comes late is added to its day"


async def test_two_workers_that_roll_at_once_count_nothing_twice(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    await ledger.add_usage("w1", 1, [hour(customer_id=f"c{i}", at=at) for i in range(30) for at in (0, 1)], now=DAY)
    await asyncio.gather(*(one.roll_usage(DAY + DAY_S) for one in (ledger, other) * 3))
    assert {(await units(ledger, customer_id=f"c{i}"))[0] for i in range(30)} == {2}


async def test_old_days_are_deleted_and_hours_are_not(ledger):
    await ledger.add_usage("w1", 1, [hour(1, at=at) for at in (0, 24, 48)], now=DAY)
    await ledger.roll_usage(DAY + 2 * DAY_S)
    assert await ledger.forget_usage(DAY + DAY_S) == 1
    assert len(await days(ledger)) == 2


async def test_recent_units_are_of_the_last_hours_only(ledger):
    await ledger.add_usage("w1", 1, [hour(1, at=0), hour(2, at=5), hour(4, at=6, key_id="k2")], now=DAY)
    recent = await ledger.recent_units("c1", since=DAY + 5 * HOUR_S)
    assert recent == {("requests", "k1"): 2, ("requests", "k2"): 4}


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example has writers and customers of its own
)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.integers(0, 50), st.integers(-5, 9), st.booleans()),
        max_size=15,
    )
)
async def test_whatever_is_repeated_and_rolled_the_sum_is_that_of_the_first_sendings(ledger, sendings):
    name = uuid.uuid4().hex
    customer_id, last, expected = name, {}, 0
    for writer, batch, at, spent, rolls in sendings:
        added = await ledger.add_usage(f"{name}{writer}", batch, [hour(spent, at=at, customer_id=customer_id)], now=DAY)
        assert added == (batch > last.get(writer, 0))
        if added:
            last[writer], expected = batch, expected + spent
        if rolls:
            await ledger.roll_usage(DAY + DAY_S)
    assert sum(await units(ledger, customer_id=customer_id)) == expected


@given(
    rows=st.lists(
        st.builds(
            hour,
            st.integers(1, 9),
            at=st.integers(0, 60),
            meter=st.sampled_from(["requests", "tokens"]),
            key_id=st.sampled_from(["k1", "k2", "k3"]),
            route=st.sampled_from(["GET /a", "GET /b"]),
        ),
        max_size=30,
        unique_by=lambda row: (row.starts_at, row.meter, row.key_id, row.route),
    ),
    limit=st.integers(1, 9),
    by=st.sampled_from(["day", "hour"]),
    per_key=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_look_back_in_small_parts_shows_what_one_in_a_piece_does(ledger, monkeypatch, rows, limit, by, per_key):
    customer_id = uuid.uuid4().hex
    await ledger.add_usage(uuid.uuid4().hex, 1, [replace(row, customer_id=customer_id) for row in rows], now=DAY)
    monkeypatch.setattr("gateway.ledger.history._ROWS_A_LOOK", 10_000)
    whole = await days(ledger, customer_id, by=by, per_key=per_key, limit=1_000)
    monkeypatch.setattr("gateway.ledger.history._ROWS_A_LOOK", 3)
    assert await days(ledger, customer_id, by=by, per_key=per_key, limit=1_000) == whole
    found, after = [], None
    while page := await days(ledger, customer_id, by=by, per_key=per_key, limit=limit, after=after):
        found += page
        after = (page[-1].starts_at, page[-1].meter, page[-1].key_id or "", page[-1].route or "")
    assert found == whole


async def test_a_page_reads_no_more_of_the_span_than_it_shows(ledger, monkeypatch):
    """Days that were to be added up for a page of the first one would end it: their sum is beyond every integer."""
    await ledger.add_usage("w1", 1, [hour(1)], now=DAY)
    most = 2**63 - 1
    await ledger.add_usage("w1", 2, [hour(most, at=24, key_id=f"k{n}") for n in range(3)], now=DAY)
    monkeypatch.setattr("gateway.ledger.history._ROWS_A_LOOK", 1)
    assert [row.units for row in await days(ledger, limit=1)] == [1]


async def test_while_one_looks_back_the_next_waits_and_everything_else_does_not(ledger_url, open_ledger, new_customer):
    impatient = await open_ledger(ledger_url, deadline_s=4)
    customer_id = await new_customer(impatient)
    async with impatient._database.looking_back():
        looks = [asyncio.create_task(days(impatient, f"c{n}")) for n in range(20)]
        await asyncio.sleep(0)
        for _ in range(5):
            assert await impatient.load_account(customer_id) is not None
            assert await impatient.take_fence(customer_id) is not None
        for look in asyncio.as_completed(looks):
            with pytest.raises(LedgerUnavailable, match="busy"):
                await look
    assert await days(impatient) == []


async def test_one_customer_looks_back_twice_at_once(ledger):
    async with ledger._database.looking_back():
        looks = [asyncio.create_task(days(ledger, "c1")) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(LooksBackFull):
            await days(ledger, "c1")
    other = asyncio.create_task(days(ledger, "c2"))
    assert await asyncio.gather(*looks, other) == [[], [], []]
    assert await days(ledger, "c1") == []
