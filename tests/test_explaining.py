"""Decision records: bounded, written in pages, found by any worker."""

from gateway.explaining import PAGE_RECORDS, PAGES_IN_MEMORY, RING_PAGES, Decision, DecisionLog


def decision(log, **facts):
    return Decision(
        decision_id=log.next_id(), at=1.0, verdict="admitted", method="GET", path="/v1/x", policy_hash="abc", **facts
    )


async def test_a_decision_is_found_by_another_worker_once_it_is_flushed(parts):
    mine, other = DecisionLog(parts.cache), DecisionLog(parts.cache)
    record = decision(mine, customer_id="c1")
    mine.record(record)
    assert await mine.find(record.decision_id) == record
    assert await other.find(record.decision_id) is None
    assert await mine.flush() == 1
    assert await other.find(record.decision_id) == record


async def test_what_becomes_known_later_is_written_with_the_next_flush(parts):
    mine, other = DecisionLog(parts.cache), DecisionLog(parts.cache)
    record = decision(mine)
    mine.record(record)
    await mine.flush()
    record.status, record.refunded = 502, True
    mine.record(record)
    await mine.flush()
    found = await other.find(record.decision_id)
    assert (found.status, found.refunded) == (502, True)
    assert await mine.flush() == 0


async def test_ids_are_unique_over_workers(parts):
    logs = [DecisionLog(parts.cache) for _ in range(4)]
    ids = [log.next_id() for log in logs for _ in range(1000)]
    assert len(set(ids)) == len(ids)


async def test_memory_and_cache_are_bounded_and_the_newest_decisions_are_kept(parts):
    log, other = DecisionLog(parts.cache), DecisionLog(parts.cache)
    first = decision(log)
    log.record(first)
    for page in range(RING_PAGES + 2):
        for _ in range(PAGE_RECORDS):
            last = decision(log)
            log.record(last)
        if page % 5 == 0:
            await log.flush()
    await log.flush()
    assert len(log._pages) <= PAGES_IN_MEMORY + 1
    assert await other.find(first.decision_id) is None
    assert (await other.find(last.decision_id)).decision_id == last.decision_id


async def test_an_id_that_nobody_made_is_not_found(parts):
    log = DecisionLog(parts.cache)
    for wrong in ("", "dec_", "dec_zzzzzzzz1", "dec_00000000", "dec_000000001", "x" * 500, "dec_" + "0" * 60):
        assert await log.find(wrong) is None


async def test_a_failed_flush_is_repeated(parts):
    log = DecisionLog(parts.cache)
    record = decision(log)
    log.record(record)
    await parts.cache.aclose()
    for _ in range(2):
        try:
            await log.flush()
        except Exception:  # noqa: BLE001 - whichever way a closed cache says no
            continue
        raise AssertionError("a closed cache cannot have taken it")
    assert log._dirty
