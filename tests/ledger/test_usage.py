from __future__ import annotations

import asyncio
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from gateway.ledger import UsageTotal


def total(used, seq, *, customer_id="c1", field="q:requests:day", window_starts_at=0):
    return UsageTotal(customer_id=customer_id, field=field, window_starts_at=window_starts_at, used=used, seq=seq)


async def test_a_later_reading_replaces_an_earlier_one_even_if_units_were_given_back(ledger):
    assert await ledger.settle([total(10, 5)]) == 1
    assert await ledger.settle([total(7, 6)]) == 1
    assert await ledger.list_usage("c1", since=0) == [total(7, 6)]


@pytest.mark.parametrize("seq", [5, 4], ids=["the same reading again", "an earlier reading"])
async def test_a_reading_that_is_not_later_changes_nothing(ledger, seq):
    await ledger.settle([total(10, 5)])
    assert await ledger.settle([total(99, seq)]) == 0
    assert await ledger.list_usage("c1", since=0) == [total(10, 5)]


async def test_nothing_to_settle_is_nothing_written(ledger):
    assert await ledger.settle([]) == 0


async def test_one_settlement_may_hold_a_total_twice(ledger):
    assert await ledger.settle([total(3, 3), total(5, 5), total(4, 4)]) == 1
    assert await ledger.list_usage("c1", since=0) == [total(5, 5)]


async def test_many_totals_are_settled_at_once(ledger):
    readings = [total(i, 1, customer_id=f"c{i}") for i in range(1_203)]
    assert await ledger.settle(readings) == 1_203
    assert await ledger.settle(readings) == 0


async def test_large_numbers_fit(ledger):
    await ledger.settle([total(2**62, 2**62)])
    assert await ledger.list_usage("c1", since=0) == [total(2**62, 2**62)]


async def test_less_than_nothing_cannot_be_used(ledger):
    with pytest.raises(IntegrityError):
        await ledger.settle([total(-1, 1)])


async def test_usage_is_listed_by_window_and_for_one_customer(ledger):
    await ledger.settle(
        [
            total(1, 1, window_starts_at=100),
            total(2, 2, window_starts_at=200),
            total(3, 3, window_starts_at=200, field="q:tokens:day"),
            total(4, 4, customer_id="c2", window_starts_at=200),
        ]
    )
    assert [row.used for row in await ledger.list_usage("c1", since=200)] == [2, 3]


async def test_counters_are_refilled_from_the_newest_window_of_each(ledger):
    assert await ledger.load_counters("c1") == ({}, 0)
    await ledger.settle(
        [
            total(1, 9, window_starts_at=100),
            total(2, 9, window_starts_at=200),
            total(3, 3, window_starts_at=50, field="q:tokens:period"),
            total(4, 99, customer_id="c2"),
        ]
    )
    assert await ledger.load_counters("c1") == ({"q:requests:day": (200, 2), "q:tokens:period": (50, 3)}, 9)


async def test_a_window_that_a_wrong_clock_opened_is_not_refilled_when_another_was_counted_later(ledger):
    await ledger.settle([total(5, 2, window_starts_at=200)])
    await ledger.settle([total(8, 3, window_starts_at=100)])
    assert await ledger.load_counters("c1") == ({"q:requests:day": (100, 8)}, 3)
    assert (await ledger.load_kept_counters("c1")).ended == {}, "nor as one that has ended"


async def test_what_a_cache_is_restored_from_has_the_window_before_too(ledger):
    await ledger.settle([total(seq, seq, window_starts_at=100 * seq) for seq in (1, 2, 3)])
    await ledger.settle([total(4, 7, window_starts_at=50, field="q:tokens:period")])
    kept = await ledger.load_kept_counters("c1")
    assert kept.counters == {"q:requests:day": (300, 3), "q:tokens:period": (50, 4)}
    assert kept.ended == {"q:requests:day": (200, 2)}
    assert kept.seq == 7


async def test_crossing_settlements_of_the_same_totals_all_succeed(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    customers = [f"c{i}" for i in range(50)]
    await asyncio.gather(
        *(ledger.settle([total(seq, seq, customer_id=c) for c in customers]) for seq in range(10)),
        *(other.settle([total(seq, seq, customer_id=c) for c in reversed(customers)]) for seq in range(10)),
    )
    assert {(await ledger.list_usage(c, since=0))[0].used for c in customers} == {9}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example has a customer of its own
)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(["q:a:day", "q:b:day"]), st.integers(0, 2), st.integers(1, 30))),
        max_size=6,
    )
)
async def test_in_any_order_the_latest_reading_of_each_total_stays(ledger, batches):
    customer_id = uuid.uuid4().hex
    expected: dict[tuple[str, int], int] = {}
    for batch in batches:
        await ledger.settle(
            [
                total(seq * 7, seq, customer_id=customer_id, field=field, window_starts_at=window)
                for field, window, seq in batch
            ]
        )
        for field, window, seq in batch:
            expected[field, window] = max(seq, expected.get((field, window), 0))
    rows = await ledger.list_usage(customer_id, since=0)
    assert {(row.field, row.window_starts_at): (row.seq, row.used) for row in rows} == {
        key: (seq, seq * 7) for key, seq in expected.items()
    }
    newest = {
        field: (window, expected[field, window] * 7)
        for field in {field for field, _ in expected}
        for _, window in [max((seq, window) for (other, window), seq in expected.items() if other == field)]
    }
    assert await ledger.load_counters(customer_id) == (newest, max(expected.values(), default=0))
