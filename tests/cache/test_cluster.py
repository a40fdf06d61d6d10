"""A cluster whose servers come, go and give their slots away, under traffic."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from gateway.cache import Cache, CacheUnavailable, Receipt, explain_trouble
from gateway.cache.inspection import inspect_cache, inspect_cluster
from gateway.cache.slots import slot_of_command, slot_of_key, slot_of_tag
from gateway.cli.deployment_checks import judge_cluster, judge_deployment
from gateway.core.cache_url import parse_cache_url
from gateway.core.charge import AccountMissing
from tests.cache.conftest import PATIENT_S
from tests.cache.ends import refund
from tests.fakes.caller import Caller
from tests.fakes.cluster_line import ClusterLine
from tests.fakes.port_server import until
from tests.fakes.valkey_cluster import ValkeyCluster, ask
from tests.steps import all_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.port_server import PortServer

pytestmark = pytest.mark.slow

LIMIT = 4000
AT_ONCE = 8


class Hook:
    """Stands for the ledger's repair."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1


@pytest.fixture
async def cluster(short_dir: Path) -> AsyncIterator[ValkeyCluster]:
    async with ValkeyCluster(short_dir) as cluster:
        yield cluster


@pytest.fixture
async def replicated(short_dir: Path) -> AsyncIterator[ValkeyCluster]:
    async with ValkeyCluster(short_dir, has_replicas=True) as cluster:
        yield cluster


@pytest.fixture
def hook() -> Hook:
    return Hook()


@pytest.fixture
async def cache(request: pytest.FixtureRequest, hook: Hook) -> AsyncIterator[Cache]:
    name = "replicated" if "replicated" in request.fixturenames else "cluster"
    cluster: ValkeyCluster = request.getfixturevalue(name)
    cache = await Cache.connect(cluster.url, deadline_s=5.0, on_reconnect=hook)
    assert await cache.wait_ready(30)
    yield cache
    await cache.aclose()


async def customer_at(cluster: ValkeyCluster, server: PortServer) -> str:
    """A customer whom one of the masters has."""
    while True:
        tag = secrets.token_hex(6)
        if await cluster.owner(tag) is server:
            return tag


async def used(cache: Cache, caller: Caller) -> int:
    reading = await cache.read_usage(caller.account.customer_id)
    assert reading is not None
    return reading.quotas["q:m:period"][1]


def start(caller: Caller) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(caller.use_up()) for _ in range(AT_ONCE)]


async def charged_more(caller: Caller, count: int) -> None:
    goal = caller.charged + count
    while caller.charged < goal:  # noqa: ASYNC110 - it waits for the calls
        await asyncio.sleep(0.001)


async def test_slots_are_those_of_the_server(cluster: ValkeyCluster, customer_id: str) -> None:
    command = b"*1\r\n$9\r\nEVALSHA\r\ntg:{%b}:use" % customer_id.encode()
    slot = slot_of_tag(customer_id)
    assert slot == await ask(cluster.masters[0], "CLUSTER", "KEYSLOT", f"tg:{{{customer_id}}}:use")
    assert slot_of_command(command) == slot_of_key(f"tg:{{{customer_id}}}:use") == slot
    assert slot_of_key("tg:why:a:b") == await ask(cluster.masters[0], "CLUSTER", "KEYSLOT", "tg:why:a:b")


async def test_every_master_has_customers_and_each_charge_takes_one_round_trip(
    cluster: ValkeyCluster, cache: Cache, hook: Hook
) -> None:
    callers = [Caller(cache, await customer_at(cluster, master), LIMIT) for master in cluster.masters for _ in range(3)]
    for caller in callers:
        await caller.publish()
    before = cache.round_trips
    for caller in callers:
        assert await caller.call()
    assert cache.round_trips == before + len(callers)
    assert hook.calls == len(cluster.masters), "repaired once for each server"
    ids = [caller.account.customer_id for caller in callers]
    assert {reading.customer_id for reading in await cache.read_usages([*ids, "nobody"])} == set(ids)
    assert {reading.customer_id async for reading in cache.scan_usage()} == set(ids)


async def test_charges_of_one_tick_take_one_round_trip_to_each_server(cluster: ValkeyCluster, cache: Cache) -> None:
    callers = [Caller(cache, await customer_at(cluster, master), LIMIT) for master in cluster.masters for _ in range(5)]
    for caller in callers:
        await caller.publish()
    before = cache.round_trips
    await asyncio.gather(*(caller.call() for caller in callers for _ in range(4)))
    assert cache.round_trips == before + len(cluster.masters)


async def test_a_master_that_died_concerns_its_own_customers_only(cluster: ValkeyCluster, cache: Cache) -> None:
    lost, kept = [Caller(cache, await customer_at(cluster, master), LIMIT) for master in cluster.masters[:2]]
    for caller in (lost, kept):
        await caller.publish()
        assert await caller.call()
    await cluster.masters[0].kill()
    for _ in range(50):
        await asyncio.gather(lost.call(), kept.call())
    assert (lost.charged, lost.unavailable) == (1, 50)
    assert (kept.charged, kept.unavailable, kept.missing) == (51, 0, 0)
    assert cache.is_ready
    assert await cache.ping() > 0
    unread: set[str] = set()
    readings = await cache.read_usages([caller.account.customer_id for caller in (lost, kept)], unread=unread)
    assert [reading.customer_id for reading in readings] == [kept.account.customer_id]
    assert unread == {lost.account.customer_id}
    with pytest.raises(CacheUnavailable):
        await cache.read_usages([lost.account.customer_id, kept.account.customer_id])
    await cluster.masters[0].start()
    while (answer := await lost.call()) and not lost.missing:  # noqa: ASYNC110 - it waits for the server
        await asyncio.sleep(0.01)
    assert answer, "its data is gone, and it is served again"


async def test_a_gateway_that_starts_while_a_master_is_down_serves_the_others(cluster: ValkeyCluster) -> None:
    kept = await customer_at(cluster, cluster.masters[1])
    await cluster.masters[0].kill()
    cache = await Cache.connect(cluster.url, deadline_s=1.0)
    assert await cache.wait_ready(30)
    caller = Caller(cache, kept, LIMIT)
    await caller.publish()
    assert await caller.call()
    await cache.aclose()


async def test_a_key_that_has_moved_is_charged_there_and_counted_once(cluster: ValkeyCluster, cache: Cache) -> None:
    source, target = cluster.masters[:2]
    caller = Caller(cache, await customer_at(cluster, source), LIMIT)
    tag = caller.account.customer_id
    await caller.publish()
    for _ in range(5):
        await caller.call()
    await cluster.begin_to_move(tag, source, target)
    before = cache.round_trips
    await caller.call()
    assert (caller.charged, cache.round_trips - before) == (6, 1), "it is still where it was"
    await cluster.move_keys(tag, source, target)
    before = cache.round_trips
    assert isinstance(await cache.charge(caller.request), AccountMissing), "another server's history is not believed"
    assert cache.round_trips - before == 2, "there, and ASKING with the command in one write"
    assert await used(cache, caller) == 6
    await caller.publish()
    await caller.call()
    assert await used(cache, caller) == 7
    await cluster.end_move(tag, source, target)
    before = cache.round_trips
    await caller.call()
    assert cache.round_trips - before in {1, 2}, "MOVED, and where it is; or a survey was faster"
    before = cache.round_trips
    await caller.call()
    assert cache.round_trips - before == 1, "the slot was learned"
    assert await used(cache, caller) == 9


async def test_a_refund_in_the_middle_of_a_move_waits_for_its_end(cluster: ValkeyCluster, cache: Cache) -> None:
    source, target = cluster.masters[:2]
    caller = Caller(cache, await customer_at(cluster, source), LIMIT)
    tag = caller.account.customer_id
    await caller.publish()
    await caller.call()
    reading = await cache.read_usage(tag)
    assert reading is not None
    receipt = Receipt(customer_id=tag, receipt_id="r", parts=(("q:m:period", 0, 1),), seq=reading.seq)
    await cluster.begin_to_move(tag, source, target)
    giving_back = asyncio.create_task(refund(cache, receipt))  # its marker is not there, its counter is
    await asyncio.sleep(0.05)
    assert not giving_back.done()
    await cluster.move_keys(tag, source, target)
    await cluster.end_move(tag, source, target)
    assert await giving_back == 0, "the server that has it now does not believe what came from elsewhere"
    await caller.publish()
    assert await refund(cache, receipt) == 1
    assert await used(cache, caller) == 0


async def test_a_customer_who_is_published_in_the_middle_of_a_move_is_so_at_its_end(
    cluster: ValkeyCluster, cache: Cache
) -> None:
    source, target = cluster.masters[:2]
    caller = Caller(cache, await customer_at(cluster, source), LIMIT)
    tag = caller.account.customer_id
    await cluster.begin_to_move(tag, source, target)
    publishing = asyncio.create_task(caller.publish())
    await asyncio.sleep(0.05)
    await cluster.end_move(tag, source, target)
    await publishing
    assert await caller.call()
    assert caller.missing == 0


async def test_a_resharding_under_traffic_admits_the_quota_exactly_and_locks_nobody_out(
    cluster: ValkeyCluster, cache: Cache
) -> None:
    source, target = cluster.masters[:2]
    caller = Caller(cache, await customer_at(cluster, source), LIMIT)
    tag = caller.account.customer_id
    await caller.publish()
    calls = start(caller)
    for _ in range(3):
        await charged_more(caller, 50)
        await cluster.begin_to_move(tag, source, target)
        await charged_more(caller, 50)
        await cluster.move_keys(tag, source, target)
        await charged_more(caller, 50)
        await cluster.end_move(tag, source, target)
        source, target = target, source
    caller.pause_s = 0.0
    await asyncio.wait_for(asyncio.gather(*calls), 60)
    assert (caller.charged, caller.unavailable) == (LIMIT, 0)


async def test_a_fail_over_that_was_asked_for_admits_the_quota_exactly(
    replicated: ValkeyCluster, cache: Cache, hook: Hook
) -> None:
    master, replica = replicated.masters[0], replicated.replicas[0]
    caller = Caller(cache, await customer_at(replicated, master), LIMIT)
    await caller.publish()
    calls = start(caller)
    await charged_more(caller, 100)
    before = hook.calls
    await ask(replica, "CLUSTER", "FAILOVER")
    while not caller.missing:  # noqa: ASYNC110 - the new master's counters are held against the ledger
        await asyncio.sleep(0.001)
    assert hook.calls > before, "the new master was repaired before it was charged"
    caller.pause_s = 0.0
    await asyncio.wait_for(asyncio.gather(*calls), 60)
    assert LIMIT - caller.unavailable <= caller.charged <= LIMIT


async def test_a_master_that_is_killed_is_replaced_and_loses_no_more_than_was_on_its_way(
    replicated: ValkeyCluster, cache: Cache
) -> None:
    master, replica = replicated.masters[0], replicated.replicas[0]
    caller = Caller(cache, await customer_at(replicated, master), LIMIT)
    other = Caller(cache, await customer_at(replicated, replicated.masters[1]), LIMIT)
    for one in (caller, other):
        await one.publish()
    calls, other_calls = start(caller), start(other)
    await charged_more(caller, 100)
    await master.kill()

    async def has_taken_over() -> bool:
        return bool((await ask(replica, "ROLE"))[0] == "master")

    await until(has_taken_over)
    while not caller.missing:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.001)
    caller.pause_s = other.pause_s = 0.0
    await asyncio.wait_for(asyncio.gather(*calls, *other_calls), 60)
    assert LIMIT - caller.unavailable <= caller.charged <= LIMIT + 2 * AT_ONCE
    assert (other.charged, other.unavailable) == (LIMIT, 0)


async def test_without_a_server_nothing_is_decided(cluster: ValkeyCluster, customer_id: str) -> None:
    for master in cluster.masters:
        await master.kill()
    cache = await Cache.connect(cluster.url, deadline_s=0.2)
    assert not await cache.wait_ready(0.3)
    with pytest.raises(CacheUnavailable):
        await cache.charge(Caller(cache, customer_id, LIMIT).request)
    with pytest.raises(CacheUnavailable):
        await cache.ping()
    with pytest.raises(CacheUnavailable):
        [reading async for reading in cache.scan_usage()]
    await cache.aclose()


async def test_the_doctor_looks_at_every_master(replicated: ValkeyCluster) -> None:
    report = await inspect_cluster(parse_cache_url(replicated.url))
    assert (len(report.masters), report.silent, report.without_replica, report.uncovered) == (3, (), (), 0)
    assert all(master.write_refusal is None and master.mode == "cluster" for master in report.masters)
    assert [finding.grade.value for finding in judge_cluster(report)] == ["ok"]
    single = await inspect_cache(f"redis://127.0.0.1:{replicated.masters[0].port}")
    assert [finding.grade.value for finding in judge_deployment(single)] == ["fail"]


async def test_the_doctor_says_whose_customers_are_refused(cluster: ValkeyCluster) -> None:
    await cluster.masters[2].kill()
    report = await inspect_cluster(parse_cache_url(cluster.url), deadline_s=PATIENT_S)
    assert report.silent == (f"127.0.0.1:{cluster.masters[2].port}",)
    assert report.named == (2, 3)
    assert [finding.grade.value for finding in judge_cluster(report)] == ["ok", "fail", "warn"]


async def test_the_doctor_says_that_a_cluster_hangs_and_what_to_look_at(cluster: ValkeyCluster) -> None:
    async with ClusterLine(cluster.ports) as line:
        line.hang()
        with pytest.raises(CacheUnavailable, match="answered as one: Time") as refusal:
            await inspect_cluster(parse_cache_url(line.url), deadline_s=0.3)
    assert explain_trouble(refusal.value.reason).what == "It does not answer in time."


async def test_a_slot_that_nobody_has_costs_few_questions_and_its_calls_end_by_their_deadline(
    cluster: ValkeyCluster,
) -> None:
    async with ClusterLine(cluster.ports) as line:
        cache = await Cache.connect(line.url, deadline_s=1.0)
        await all_back(cache)
        lost, kept = [Caller(cache, await customer_at(cluster, master), LIMIT) for master in cluster.masters[:2]]
        await kept.publish()
        slot = slot_of_tag(lost.account.customer_id)
        for master in cluster.masters:
            await ask(master, "CLUSTER", "DELSLOTS", slot)
        for _ in range(2):  # from here on the cache knows
            await lost.call()
        before = line.accepted
        await asyncio.gather(*(lost.call() for _ in range(200)))
        assert await kept.call()
        with pytest.raises(CacheUnavailable, match="limits cannot be checked") as refusal:
            await cache.charge(lost.request)
        assert "no server of the cluster" in refusal.value.reason
        assert line.accepted - before < 20, "one survey after the other, each a little later"
        await ask(cluster.masters[0], "CLUSTER", "ADDSLOTS", slot)
        async with asyncio.timeout(60):
            while not lost.missing:
                await lost.call()
                await asyncio.sleep(0.01)
        await cache.aclose()


async def test_a_server_that_is_down_keeps_no_other_from_being_repaired(cluster: ValkeyCluster) -> None:
    lost = await customer_at(cluster, cluster.masters[0])
    kept = await customer_at(cluster, cluster.masters[1])
    await cluster.masters[0].kill()
    cache = await Cache.connect(cluster.url, deadline_s=1.0)
    assert await cache.wait_ready(30)
    assert (cache.is_reachable(lost), cache.is_reachable(kept)) == (False, True)
    await cache.aclose()


async def test_waiting_for_a_cluster_that_is_all_down_ends_when_one_is_back(
    cluster: ValkeyCluster, cache: Cache
) -> None:
    for master in cluster.masters:
        await master.kill()
    while len(cache.down) < len(cluster.masters):
        with pytest.raises(CacheUnavailable):
            await cache.ping()
    waiting = asyncio.create_task(cache.wait_ready(30))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await cluster.masters[1].start()
    assert await waiting


async def test_a_cluster_that_hangs_from_the_start_costs_one_deadline(cluster: ValkeyCluster, customer_id: str) -> None:
    async with ClusterLine(cluster.ports) as line:
        line.hang()
        cache = await Cache.connect(line.url, deadline_s=0.3)
        request = Caller(cache, customer_id, LIMIT).request
        loop = asyncio.get_running_loop()
        with pytest.raises(CacheUnavailable):
            await cache.charge(request)
        before = loop.time()
        for _ in range(20):
            with pytest.raises(CacheUnavailable):
                await cache.charge(request)
        assert loop.time() - before < 20 * 0.3 / 2, "not a deadline for each"
        line.heal()
        assert await cache.wait_ready(30)
        await cache.aclose()
