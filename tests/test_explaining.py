"""Decision records: bounded, written in pages, found by any worker."""

import contextlib

import pytest

from gateway.cache import CacheUnavailable
from gateway.explaining import (
    PAGE_RECORDS,
    PAGES_IN_MEMORY,
    RING_PAGES,
    STRANGERS_PAGES,
    TEXT_LENGTH,
    Decision,
    DecisionLog,
    Facts,
    Record,
    cut,
)
from tests.fakes.raw import open_raw


class Made:
    """A decision, and what its maker holds of it."""

    def __init__(self, log, customer_id="c1", **about):
        self.log = log
        self.facts = Facts(policy_hash="abc", customer_id=customer_id)
        texts = {"path": cut(about.pop("path", "/v1/x")), "detail": cut(about.pop("detail", ""))}
        self.record = Record(number=log.next_number(), at=1.0, method="GET", **texts, **about)
        self.decision_id = log.id_of(self.record.number)
        self.page = log.keep(self.record, self.facts)

    def fill_in(self, **changes):
        for name, value in changes.items():
            setattr(self.record, name, value)
        self.page.is_dirty = True

    @property
    def whole(self):
        return Decision(
            decision_id=self.decision_id,
            at=1.0,
            verdict=self.record.verdict,
            method="GET",
            path=self.record.path,
            detail=self.record.detail,
            policy_hash="abc",
            request_id=self.decision_id,
            customer_id=self.facts.customer_id,
            status=self.record.status,
            refunded=self.record.refunded,
            duration_ms=self.record.duration_ms,
        )


def held(log):
    """Records in the worker's memory."""
    return sum(len(page.records) for ring in (log._customers, log._strangers) for page in ring.pages.values())


def dropped(parts):
    return parts.metrics.registry.get_sample_value("tiergate_decision_records_dropped_total")


async def test_a_decision_is_found_by_another_worker_once_it_is_flushed(parts):
    mine, other = DecisionLog(parts.cache, parts.metrics), DecisionLog(parts.cache, parts.metrics)
    record = Made(mine)
    assert await mine.find(record.decision_id) == record.whole
    assert await other.find(record.decision_id) is None
    assert await mine.flush() == 1
    assert await other.find(record.decision_id) == record.whole


async def test_what_becomes_known_later_is_written_with_the_next_flush(parts):
    mine, other = DecisionLog(parts.cache, parts.metrics), DecisionLog(parts.cache, parts.metrics)
    record = Made(mine)
    await mine.flush()
    record.fill_in(status=502, refunded=True)
    await mine.flush()
    found = await other.find(record.decision_id)
    assert (found.status, found.refunded) == (502, True)
    assert await mine.flush() == 0


async def test_ids_are_unique_over_workers(parts):
    logs = [DecisionLog(parts.cache, parts.metrics) for _ in range(4)]
    ids = [log.id_of(log.next_number()) for log in logs for _ in range(1000)]
    assert len(set(ids)) == len(ids)


async def test_memory_and_cache_are_bounded_and_the_newest_decisions_are_kept(parts):
    log, other = DecisionLog(parts.cache, parts.metrics), DecisionLog(parts.cache, parts.metrics)
    first = Made(log)
    for page in range(RING_PAGES + 2):
        for _ in range(PAGE_RECORDS):
            last = Made(log)
        if page % 5 == 0:
            await log.flush()
    await log.flush()
    assert held(log) <= PAGES_IN_MEMORY * PAGE_RECORDS
    assert await other.find(first.decision_id) is None
    assert (await other.find(last.decision_id)).decision_id == last.decision_id


async def test_an_id_that_nobody_made_is_not_found(parts):
    log = DecisionLog(parts.cache, parts.metrics)
    for wrong in ("", "dec_", "dec_zzzzzzzz1", "dec_00000000", "dec_000000001", "x" * 500, "dec_" + "0" * 60):
        assert await log.find(wrong) is None


async def test_a_failed_flush_is_repeated(parts):
    log = DecisionLog(parts.cache, parts.metrics)
    Made(log)
    await parts.cache.aclose()
    for _ in range(2):
        with pytest.raises(CacheUnavailable):
            await log.flush()
    assert all(page.is_dirty for page in log._customers.pages.values())


@pytest.mark.parametrize("customer_id", ["c1", None], ids=["customers", "strangers"])
async def test_memory_is_bounded_while_the_cache_is_away_and_what_is_dropped_is_counted(parts, customer_id):
    log = DecisionLog(parts.cache, parts.metrics)
    await parts.cache.aclose()
    pages = PAGES_IN_MEMORY + 5
    for number in range(pages * PAGE_RECORDS):
        Made(log, customer_id=customer_id)
        if number % 100 == 0:
            with contextlib.suppress(CacheUnavailable):
                await log.flush()
    assert held(log) <= PAGES_IN_MEMORY * PAGE_RECORDS
    assert dropped(parts) == 5 * PAGE_RECORDS


async def test_what_was_written_is_not_counted_as_dropped(parts):
    log = DecisionLog(parts.cache, parts.metrics)
    for _ in range((PAGES_IN_MEMORY + 2) * PAGE_RECORDS):
        Made(log)
        if log._next % 100 == 0:
            await log.flush()
    assert dropped(parts) == 0


async def test_callers_without_a_key_do_not_push_out_what_is_known_about_customers(parts):
    log, other = DecisionLog(parts.cache, parts.metrics), DecisionLog(parts.cache, parts.metrics)
    mine = []
    for number in range((RING_PAGES + 2) * PAGE_RECORDS):
        if number % PAGE_RECORDS == 0:
            mine.append(Made(log))
        last = Made(log, customer_id=None)
        if number % 1000 == 0:
            await log.flush()
    await log.flush()
    assert [await other.find(record.decision_id) for record in (mine[0], mine[-1], last)] == [
        made.whole for made in (mine[0], mine[-1], last)
    ]
    async with open_raw(parts.cache_url) as raw:
        kept = [key async for key in raw.scan_iter(f"tg:why:{{{log._boot}}}:s*")]
    assert len(kept) == STRANGERS_PAGES


async def test_a_record_is_small_whatever_was_sent(parts):
    log = DecisionLog(parts.cache, parts.metrics)
    record = Made(log, customer_id=None, path="/" + "ä" * 60_000, detail="b" * 60_000)
    found = await log.find(record.decision_id)
    assert (len(found.path), len(found.detail)) == (TEXT_LENGTH, TEXT_LENGTH)
    assert found.path.endswith("…")


async def test_what_becomes_known_after_a_record_has_left_the_memory_is_not_kept(parts):
    log = DecisionLog(parts.cache, parts.metrics)
    first = Made(log)
    for _ in range(PAGES_IN_MEMORY * PAGE_RECORDS):
        Made(log)
        if log._next % 100 == 0:
            await log.flush()
    first.fill_in(duration_ms=9.0)
    assert (await log.find(first.decision_id)).duration_ms is None
