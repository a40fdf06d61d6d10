"""Counters become part of the record: monotonic, repeatable, restart-safe."""

import pytest

from gateway.cache import CacheUnavailable
from gateway.core.charge import ChargeRequest, QuotaClaim
from gateway.settlement import Settlement

STARTS_AT = 1_800_000_000


LENGTH_S = 30 * 86_400


async def spend(parts, customer_id, units):
    account = await parts.admission.current_account(customer_id)
    starts_at = STARTS_AT + (int(parts.clock.time) - STARTS_AT) // LENGTH_S * LENGTH_S
    claim = QuotaClaim(
        field="q:requests:period", cost=units, limit=10**9, starts_at=starts_at, ends_at=starts_at + LENGTH_S
    )
    await parts.cache.charge(
        ChargeRequest(
            customer_id=customer_id, version=account.version, claims=(claim,), now_ms=parts.clock.cache_now_ms()
        )
    )


async def recorded(parts, customer_id):
    rows = await parts.ledger.list_usage(customer_id, since=0)
    return {row.field: row.used for row in rows}


async def test_what_was_counted_is_in_the_ledger_after_a_settlement(parts):
    customer_id, _, key_id = await parts.customer()
    await spend(parts, customer_id, 7)
    parts.settlement.note(customer_id, key_id, parts.clock.time)
    await parts.settlement.settle()
    assert await recorded(parts, customer_id) == {"q:requests:period": 7}
    (row,) = await parts.provisioning.list(customer_id)
    assert row.last_used_at == int(parts.clock.time)


async def test_settling_again_changes_nothing(parts):
    customer_id, _, key_id = await parts.customer()
    await spend(parts, customer_id, 7)
    parts.settlement.note(customer_id, key_id, parts.clock.time)
    await parts.settlement.settle()
    parts.settlement.note(customer_id, key_id, parts.clock.time)
    assert await parts.settlement.settle() == 0
    assert await recorded(parts, customer_id) == {"q:requests:period": 7}


async def test_what_a_crashed_worker_left_is_settled_by_the_next_start(parts):
    customer_id, _, _ = await parts.customer()
    await spend(parts, customer_id, 3)
    survivor = Settlement(parts.ledger, parts.cache, parts.publisher, parts.clock, parts.metrics)
    await survivor.settle_all()
    assert await recorded(parts, customer_id) == {"q:requests:period": 3}


async def test_what_was_counted_in_the_last_moments_of_a_window_is_in_the_ledger_too(parts):
    customer_id, _, key_id = await parts.customer()
    await spend(parts, customer_id, 7)
    parts.settlement.note(customer_id, key_id, parts.clock.time)
    await parts.settlement.settle()
    await spend(parts, customer_id, 2)
    parts.clock.time += LENGTH_S
    await spend(parts, customer_id, 3)
    await Settlement(parts.ledger, parts.cache, parts.publisher, parts.clock, parts.metrics).settle_all()
    rows = await parts.ledger.list_usage(customer_id, since=0)
    assert {row.window_starts_at: row.used for row in rows} == {STARTS_AT: 9, STARTS_AT + LENGTH_S: 3}
    counters, _ = await parts.ledger.load_counters(customer_id)
    assert counters == {"q:requests:period": (STARTS_AT + LENGTH_S, 3)}, "a restored cache goes on with the last"


async def test_a_failed_settlement_forgets_nobody(parts):
    customer_id, _, key_id = await parts.customer()
    await spend(parts, customer_id, 2)
    parts.settlement.note(customer_id, key_id, parts.clock.time)
    await parts.ledger.aclose()
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever way a closed ledger says no
        await parts.settlement.settle()
    assert parts.settlement._charged == {customer_id}
    assert parts.settlement._used_keys == {key_id: int(parts.clock.time)}
    assert issubclass(CacheUnavailable, Exception)


async def test_a_defect_of_who_looks_on_keeps_nothing_from_being_settled(parts):
    seen = []

    async def look(readings):
        seen.append([reading.customer_id for reading in readings])
        raise ZeroDivisionError

    customer_id, _, key_id = await parts.customer()
    await spend(parts, customer_id, 7)
    settlement = Settlement(parts.ledger, parts.cache, parts.publisher, parts.clock, parts.metrics, look)
    settlement.note(customer_id, key_id, parts.clock.time)
    await settlement.settle()
    assert await recorded(parts, customer_id) == {"q:requests:period": 7}
    assert (seen, settlement._charged) == ([[customer_id]], set())
