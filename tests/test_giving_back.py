"""A cache that stalls while leases are drawn or given back takes nothing of quotas for good."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cache import Cache, prepare_draw
from gateway.core.charge import QuotaClaim
from gateway.core.lease import Draw, quota_parts
from gateway.leasing.giving_back import GivingBack, Owed
from tests.caches import line_to
from tests.conftest import PATIENT_S
from tests.fakes.cluster_line import ClusterLine
from tests.fakes.line import Line
from tests.patience import impatient
from tests.steps import all_back
from tests.test_leasing import LIMIT, LONG_MS, Worker, limits, until, used


@pytest.fixture
def real(parts):
    return limits(parts, f"{LIMIT} requests per billing period")


@pytest.fixture
async def line(shared_cache_url):
    async with line_to(shared_cache_url) as line:
        yield line


@pytest.fixture
async def worker(real, line):
    """One whose way to the cache can be cut. It is told of changes, whatever becomes of the news."""
    cache = await Cache.connect(line.url, deadline_s=PATIENT_S)
    await all_back(cache)
    worker = Worker(real, cache, LONG_MS)
    worker.leasing.is_informed = True
    yield worker
    line.heal()
    line.hear()
    await worker.leasing.aclose()
    await cache.aclose()


def count(worker: Worker, fate: str) -> float:
    return worker.leasing.metrics.registry.get_sample_value("tiergate_lease_calls_total", {"fate": fate}) or 0.0


async def heal(worker: Worker, line: Line | ClusterLine) -> None:
    """The cache answers again, and everything that is owed is given back."""
    line.heal()
    line.hear()
    await all_back(worker.cache)
    worker.leasing.drop_all()
    await until(lambda: not worker.leasing.asking.under_way)
    for _ in range(1000):
        await worker.leasing.give_back()
        if not len(worker.leasing.asking.owed):
            return
        await asyncio.sleep(0.02)
    pytest.fail("it is still owed")


@pytest.mark.parametrize("fault", ["hang", "deafen"])
async def test_what_a_draw_without_an_answer_was_granted_goes_back(real, line, worker, fault):
    customer_id, key, _ = await real.customer()
    await worker.call_until_leased(key)
    await until(lambda: not worker.leasing.asking.under_way)
    getattr(line, fault)()
    with impatient(worker.cache):
        while not worker.leasing.asking.under_way:
            assert (await worker.call(key)).is_leased
        await until(lambda: not worker.leasing.asking.under_way)
    assert len(worker.leasing.asking.owed) == 1
    await heal(worker, line)
    assert await used(real, customer_id) == worker.numbers
    assert count(worker, "lost") == 0
    assert count(worker, "granted") == count(worker, "admitted") + count(worker, "returned")


@pytest.mark.parametrize("fault", ["hang", "deafen"])
async def test_a_give_back_without_an_answer_is_done_once(real, line, worker, fault):
    customer_id, key, _ = await real.customer()
    await worker.call_until_leased(key)
    await until(lambda: not worker.leasing.asking.under_way)
    getattr(line, fault)()
    with impatient(worker.cache):
        worker.leasing.drop_all()
        await until(lambda: not worker.leasing.asking.under_way)
    assert len(worker.leasing.asking.owed) == 1
    await heal(worker, line)
    assert await used(real, customer_id) == worker.numbers
    assert count(worker, "lost") == 0
    assert count(worker, "granted") == count(worker, "admitted") + count(worker, "returned")


async def test_a_draw_that_arrives_after_it_was_asked_about_is_given_back_all_the_same(real, worker):
    customer_id, key, _ = await real.customer()
    attempt = await worker.call(key)
    (claim,) = attempt.plan.claims
    assert isinstance(claim, QuotaClaim)
    version = attempt.account.version
    draw = Draw(customer_id=customer_id, version=version, claims=(claim,), name="late", wanted=10, ttl_ms=500)
    owed = GivingBack(worker.cache, worker.leasing.metrics)
    parts = quota_parts(draw.claims, 10)
    owed.remember(Owed(customer_id=customer_id, name="late", parts=parts, calls=10, was_drawn=False))
    await owed.send()
    assert len(owed) == 1
    assert (await worker.cache.charge_packed(prepare_draw(draw)))[2] == 10
    assert await used(real, customer_id) == 11
    assert await owed.send() == [customer_id]
    assert await used(real, customer_id) == 1
    assert not len(owed)


async def test_what_the_cache_no_longer_knows_or_there_is_no_room_for_is_counted_as_lost(worker, monkeypatch):
    now_s = 1000.0
    monkeypatch.setattr("gateway.leasing.giving_back._MOST", 1)
    owed = GivingBack(worker.cache, worker.leasing.metrics, lambda: now_s)
    for name, calls in (("first", 3), ("second", 4)):
        parts = [("q:requests:period", calls, 0)]
        owed.remember(Owed(customer_id="nobody", name=name, parts=parts, calls=calls, was_drawn=True))
    assert (len(owed), count(worker, "lost")) == (1, 3)
    now_s += 60
    await owed.send()
    assert (len(owed), count(worker, "lost")) == (0, 7)
