"""A cache that comes back older than it was left: nobody is decided on what it holds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.cache import Cache, Receipt
from gateway.cli.ports import free_port
from gateway.core.account import Account
from gateway.core.charge import AccountMissing, Charged, ChargeRequest, QuotaClaim, RateClaim
from tests.fakes.snapshot_server import SnapshotServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.not_on("cluster", because="takes one server back to an earlier state of its file")

QUOTA = QuotaClaim(field="q:m:period", cost=1, limit=1000, starts_at=0, ends_at=2**33)
RATE = RateClaim(field="r:m:3600000", cost=1, units=1, window_ms=3_600_000, burst=100)
LEFT_AT = 2**32 + 50
"""Sequence number at which the ledger settled the customer last."""


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.slow)])
def binary(request: pytest.FixtureRequest) -> str | None:
    """Program of each server that a gateway may be given; None: the embedded one."""
    return None if request.param == "valkey" else request.getfixturevalue("redis_program")


@pytest.fixture
async def server(short_dir: Path, binary: str | None) -> AsyncIterator[SnapshotServer]:
    async with SnapshotServer(short_dir, binary) as server:
        yield server


@pytest.fixture
async def aged(server: SnapshotServer) -> AsyncIterator[Cache]:
    cache = await Cache.connect(server.url, deadline_s=30)
    yield cache
    await cache.aclose()


@pytest.fixture
def account(customer_id: str) -> Account:
    return Account(customer_id=customer_id, user_id="u", version=1, created_at=0)


async def publish(cache: Cache, account: Account, used: int = 0, seq: int = 0, *, replaces: bool = False) -> bool:
    counters = {QUOTA.field: (0, used)} if used else {}
    return await cache.publish(account, counters=counters, seq_floor=seq, replaces=replaces)


async def charge(cache: Cache, account: Account, *claims: QuotaClaim | RateClaim) -> object:
    return await cache.charge(ChargeRequest(customer_id=account.customer_id, version=account.version, claims=claims))


async def counted(cache: Cache, account: Account) -> tuple[int, int]:
    reading = await cache.read_usage(account.customer_id)
    assert reading is not None
    return reading.quotas[QUOTA.field][1], reading.seq


async def ready_again(cache: Cache) -> None:
    await asyncio.sleep(0.02)
    assert await cache.wait_ready(30)


@pytest.mark.parametrize("version", [0, 1, 2], ids=["nobody", "what is there", "what was there"])
async def test_after_a_fall_back_a_customer_is_missing_whatever_is_there_of_it(
    server: SnapshotServer, aged: Cache, account: Account, version: int
) -> None:
    await publish(aged, account)
    await charge(aged, account, QUOTA)
    await server.client.save()
    await publish(aged, replace(account, version=2))
    await server.fall_back()
    await ready_again(aged)
    assert isinstance(await charge(aged, replace(account, version=version), QUOTA), AccountMissing)


@pytest.mark.slow
async def test_a_fall_back_under_a_living_connection_is_noticed(
    server: SnapshotServer, aged: Cache, account: Account, short_dir: Path, binary: str | None
) -> None:
    await publish(aged, account)
    assert isinstance(await charge(aged, account, QUOTA), Charged)
    port = free_port()
    async with SnapshotServer(short_dir / "replica", binary) as behind:
        await server.client.save()
        (short_dir / "dump.rdb").rename(short_dir / "replica" / "dump.rdb")
        await behind.fall_back()
        await behind.listen(port)
        await server.become_copy_of(port)
    trips = aged.round_trips
    assert isinstance(await charge(aged, account, QUOTA), AccountMissing)
    assert aged.round_trips == trips + 1, "it was not connected again"


async def test_what_the_ledger_knows_better_is_raised_once(
    server: SnapshotServer, aged: Cache, account: Account
) -> None:
    await publish(aged, account)
    await charge(aged, account, QUOTA, RATE)
    await server.client.save()
    await server.fall_back()
    await ready_again(aged)
    assert await publish(aged, account, 43, LEFT_AT)
    assert await counted(aged, account) == (43, 2**33)
    answer = await charge(aged, account, QUOTA, RATE)
    assert isinstance(answer, Charged)
    assert [state.remaining for state in answer.states] == [1000 - 44, 98], "the rate kept its debt"
    assert not await publish(aged, account, 90, 2**33 + 9)
    assert await counted(aged, account) == (44, 2**33 + 1)


async def test_what_the_cache_knows_better_is_kept(server: SnapshotServer, aged: Cache, account: Account) -> None:
    await publish(aged, account, 40, LEFT_AT)
    await charge(aged, account, replace(QUOTA, cost=5))
    await server.client.save()
    await server.fall_back()
    await ready_again(aged)
    assert await publish(aged, account, 47, 2**33)  # the ledger's number is older: two units were given back since
    assert await counted(aged, account) == (45, 3 * 2**32)


async def test_a_window_that_only_the_ledger_knows_is_taken_over(
    server: SnapshotServer, aged: Cache, account: Account
) -> None:
    await publish(aged, account)
    await charge(aged, account, QUOTA)
    await server.client.save()
    await server.fall_back()
    await ready_again(aged)
    later = {QUOTA.field: (86_400, 7)}
    assert await aged.publish(account, counters=later, seq_floor=LEFT_AT)
    reading = await aged.read_usage(account.customer_id)
    assert reading is not None
    assert reading.quotas == later


async def test_an_older_account_is_written_over_a_newer_one_of_another_history(
    server: SnapshotServer, aged: Cache, account: Account
) -> None:
    await publish(aged, replace(account, version=9))
    await server.client.save()
    await server.fall_back()
    await ready_again(aged)
    assert await publish(aged, replace(account, version=2)), "the ledger is the record"
    assert not await publish(aged, account), "but within one history no version is lowered"


async def test_an_account_can_be_replaced_by_one_of_the_same_version(cache: Cache, account: Account) -> None:
    await publish(cache, account, 5, LEFT_AT)
    assert not await publish(cache, account, 9, LEFT_AT)
    assert await publish(cache, account, 9, 2**33 + 1, replaces=True)
    assert await counted(cache, account) == (9, 3 * 2**32)


async def test_a_server_that_hides_its_history_is_used_as_it_is(server: SnapshotServer, account: Account) -> None:
    await server.client.acl_setuser("tiergate", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
    path = server.url.removeprefix("unix://")
    cache = await Cache.connect(f"unix://tiergate:x@{path}", deadline_s=30)
    await publish(cache, account)
    assert isinstance(await charge(cache, account, QUOTA), Charged)
    stored = await server.client.hgetall(f"tg:{{{account.customer_id}}}:use")
    assert stored["e"] == ""
    await cache.aclose()


async def test_who_is_told_the_history_and_who_is_not_do_not_believe_what_the_other_published(
    server: SnapshotServer, aged: Cache, account: Account
) -> None:
    await server.client.acl_setuser("tiergate", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
    path = server.url.removeprefix("unix://")
    blind = await Cache.connect(f"unix://tiergate:x@{path}", deadline_s=30)
    await publish(blind, account)
    assert isinstance(await charge(aged, account, QUOTA), AccountMissing)
    assert await publish(aged, account)
    assert isinstance(await charge(blind, account, QUOTA), AccountMissing)
    await blind.aclose()


async def test_what_was_let_in_is_not_counted_in_what_another_history_left(
    server: SnapshotServer, aged: Cache, account: Account
) -> None:
    await publish(aged, account, 40, LEFT_AT)
    await server.client.save()
    await server.fall_back()
    await ready_again(aged)
    receipt = Receipt(customer_id=account.customer_id, receipt_id="r1", parts=((QUOTA.field, 0, 3),))
    assert await aged.charge_back(receipt) is None
    await publish(aged, account, 45, LEFT_AT + 2**32)
    assert await aged.charge_back(receipt) == (3, 3 * 2**32 + 1)
    assert await aged.charge_back(receipt) == (0, 0)
    assert (await counted(aged, account))[0] == 48
