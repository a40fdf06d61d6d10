"""What callers see when the cache hangs, goes, or comes back. Over TCP, through a line that can be cut."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from gateway.cache import Cache, CacheUnavailable
from gateway.core.account import Account
from gateway.core.cache_url import is_of_several, parse_cache_url
from gateway.core.charge import Charged, ChargeRequest, QuotaClaim
from gateway.core.errors import CapacityReduced
from tests.fakes.raw import everywhere
from tests.steps import all_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.fakes.line import Line

DEADLINE_S = 0.5
"""A charge that is to pass has it too: a server on a busy machine needs more than a tenth of a second."""
SLACK_S = 2.0
"""What a busy machine may add."""
BRIEF_S = 0.1


class Hook:
    """Stands for the ledger's repair."""

    def __init__(self) -> None:
        self.calls = 0
        self.work: Callable[[], Awaitable[None]] | None = None

    async def __call__(self) -> None:
        self.calls += 1
        if self.work is not None:
            await self.work()


@pytest.fixture
def hook() -> Hook:
    return Hook()


@pytest.fixture
async def remote(line: Line, hook: Hook) -> AsyncIterator[Cache]:
    cache = await Cache.connect(line.url, deadline_s=DEADLINE_S, on_reconnect=hook)
    yield cache
    await cache.aclose()


@pytest.fixture
async def request_(cache: Cache, customer_id: str) -> ChargeRequest:
    account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
    await cache.publish(account, counters={}, seq_floor=0, expires_s=60)
    claim = QuotaClaim(field="q:m:period", cost=1, limit=1000, starts_at=0, ends_at=2**33)
    return ChargeRequest(customer_id=customer_id, version=1, claims=(claim,))


@pytest.fixture
def servers(cache_url: str) -> int:
    """How many of them are connected, and repaired."""
    return len(parse_cache_url(cache_url).hosts) if is_of_several(cache_url) else 1


async def used(cache: Cache, request: ChargeRequest) -> int:
    reading = await cache.read_usage(request.customer_id)
    assert reading is not None
    return reading.quotas.get("q:m:period", (0, 0))[1]


async def refusal_s(cache: Cache, request: ChargeRequest) -> float:
    started = time.perf_counter()
    with pytest.raises(CacheUnavailable):
        await cache.charge(request)
    return time.perf_counter() - started


async def test_a_tcp_url_works(remote: Cache, request_: ChargeRequest) -> None:
    assert await remote.wait_ready(30)
    assert isinstance(await remote.charge(request_), Charged)


async def test_the_first_charge_connects_by_itself(
    remote: Cache, request_: ChargeRequest, hook: Hook, servers: int
) -> None:
    assert isinstance(await remote.charge(request_), Charged)
    assert 1 <= hook.calls <= servers


async def test_a_server_that_is_down_fails_the_first_use_not_the_opening(
    line: Line, remote: Cache, request_: ChargeRequest
) -> None:
    await line.close()
    assert await refusal_s(remote, request_) < DEADLINE_S + SLACK_S
    with pytest.raises(CapacityReduced) as refusal:
        await remote.ping()
    assert "127.0.0.1" not in str(refusal.value), "callers learn nothing about our machines"


async def test_a_server_that_hangs_from_the_start_costs_one_deadline(
    line: Line, remote: Cache, request_: ChargeRequest
) -> None:
    line.hang()
    assert await refusal_s(remote, request_) < DEADLINE_S + SLACK_S
    assert min([await refusal_s(remote, request_) for _ in range(5)]) < 0.05, "nobody waits again"


async def test_a_server_that_begins_to_hang_costs_one_deadline_for_all(
    line: Line, remote: Cache, request_: ChargeRequest
) -> None:
    assert await remote.wait_ready(30)
    line.hang()
    waits = await asyncio.gather(*(refusal_s(remote, request_) for _ in range(50)))
    assert DEADLINE_S * 0.9 < max(waits) < DEADLINE_S + SLACK_S
    again = [await refusal_s(remote, request_) for _ in range(100)]
    assert sum(again) < 50 * DEADLINE_S, "nobody waits again"


async def test_what_hung_recovers_by_itself_and_nothing_was_repeated(
    line: Line, remote: Cache, cache: Cache, request_: ChargeRequest
) -> None:
    assert await remote.wait_ready(30)
    line.hang()
    await refusal_s(remote, request_)
    line.heal()
    await all_back(remote)
    assert isinstance(await remote.charge(request_), Charged)
    await asyncio.sleep(0.05)
    assert await used(cache, request_) <= 2  # the lost one may have arrived, once


async def test_of_the_charges_whose_answer_never_came_those_on_their_way_may_have_counted(
    line: Line, remote: Cache, cache: Cache, request_: ChargeRequest
) -> None:
    assert await remote.wait_ready(30)
    line.hang()
    await asyncio.gather(*(refusal_s(remote, request_) for _ in range(900)))
    line.heal()
    await all_back(remote)
    await asyncio.sleep(0.2)
    assert 0 < await used(cache, request_) <= 512


async def test_a_connection_that_was_closed_while_idle_is_replaced_unnoticed(
    line: Line, remote: Cache, cache: Cache, request_: ChargeRequest, hook: Hook, servers: int
) -> None:
    assert await remote.wait_ready(30)
    await remote.charge(request_)
    line.cut()
    await asyncio.sleep(0.05)
    assert isinstance(await remote.charge(request_), Charged)
    assert servers < hook.calls <= 2 * servers
    assert await used(cache, request_) == 2


async def test_a_connection_that_breaks_under_a_charge_fails_it_and_does_not_repeat_it(
    line: Line, remote: Cache, cache: Cache, request_: ChargeRequest
) -> None:
    assert await remote.wait_ready(30)
    line.hang()
    charge = asyncio.ensure_future(remote.charge(request_))
    await asyncio.sleep(DEADLINE_S / 4)
    line.cut()
    with pytest.raises(CacheUnavailable):
        await charge
    line.heal()
    await all_back(remote)
    await asyncio.sleep(0.05)
    assert await used(cache, request_) <= 1


async def test_after_an_outage_the_hook_is_awaited_before_the_first_charge(
    line: Line, remote: Cache, cache: Cache, request_: ChargeRequest, hook: Hook
) -> None:
    assert await remote.wait_ready(30)
    await line.close()
    await refusal_s(remote, request_)
    repairing, repaired = asyncio.Event(), asyncio.Event()
    published = []

    async def repair() -> None:
        account = Account(customer_id=request_.customer_id, user_id="u", version=2, created_at=0)
        published.append(await remote.publish(account, counters={}, seq_floor=0, expires_s=60))
        repairing.set()
        await repaired.wait()

    hook.work = repair
    await line.open()
    await asyncio.wait_for(repairing.wait(), 30)
    with pytest.raises(CacheUnavailable) as refusal:
        await remote.charge(request_)
    assert "being published" in refusal.value.reason
    assert not remote.is_ready
    repaired.set()
    assert await remote.wait_ready(30)
    assert published.count(True) == 1, "each server's repair publishes it; any of them may be first"
    assert (await remote.charge(request_)).__class__.__name__ == "AccountStale"
    assert await used(cache, request_) == 0


async def test_a_hook_that_fails_keeps_charges_out_and_is_tried_again(
    remote: Cache, request_: ChargeRequest, hook: Hook
) -> None:
    async def fail() -> None:
        raise RuntimeError("the ledger is away")

    hook.work = fail
    with pytest.raises(CacheUnavailable) as refusal:
        await remote.charge(request_)
    assert refusal.value.reason == "the ledger is away"
    hook.work = None
    assert await remote.wait_ready(30)
    assert hook.calls >= 2


@pytest.mark.parametrize("turns", range(6))
async def test_a_busy_event_loop_is_not_blamed_on_the_server(
    cache_url: str, request_: ChargeRequest, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cache.lane._LEAST_S", 1.0)  # on a busy machine the server may need more than 10 ms
    cache = await Cache.connect(cache_url, deadline_s=BRIEF_S)
    assert await cache.wait_ready(30)
    charge = asyncio.ensure_future(cache.charge(request_))
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(2 * BRIEF_S)  # noqa: ASYNC251 - a loop that stands still is what is tested
    assert isinstance(await charge, Charged)
    await cache.aclose()


async def test_a_stopped_server_process_is_reported_for_every_operation(
    line: Line, remote: Cache, request_: ChargeRequest
) -> None:
    await line.close()
    await refusal_s(remote, request_)
    with pytest.raises(CacheUnavailable):
        await remote.read_usage(request_.customer_id)
    with pytest.raises(CacheUnavailable):
        await remote.put_decisions("b", {"c1": b""}, 1)
    with pytest.raises(CacheUnavailable):
        [reading async for reading in remote.scan_usage()]


async def test_a_server_that_may_not_be_written_is_unavailable(
    remote: Cache, raw: Redis, request_: ChargeRequest
) -> None:
    assert await remote.wait_ready(30)
    await raw.config_set("maxmemory", "1", **everywhere(raw))
    try:
        with pytest.raises(CacheUnavailable) as refusal:
            await remote.charge(request_)
        assert "maxmemory" in refusal.value.reason
    finally:
        await raw.config_set("maxmemory", "0", **everywhere(raw))
    assert isinstance(await remote.charge(request_), Charged)


async def test_closing_fails_what_is_under_way(line: Line, request_: ChargeRequest) -> None:
    cache = await Cache.connect(line.url, deadline_s=30)
    assert await cache.wait_ready(30)
    line.hang()
    charge = asyncio.ensure_future(cache.charge(request_))
    await asyncio.sleep(0.02)
    await cache.aclose()
    with pytest.raises(CacheUnavailable):
        await charge


def test_a_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="scheme"):
        asyncio.run(Cache.connect("http://localhost"))
