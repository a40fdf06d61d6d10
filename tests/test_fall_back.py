"""The cache falls back to older data, and nobody notices: not the revoked, not the new, not the ledger."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cache import Cache, encode_account
from gateway.core.errors import InvalidKey
from gateway.core.key_order import KeyOrder
from gateway.core.keys import KeyCodec
from gateway.publishing import Publisher
from tests.caches import line_to
from tests.conftest import PEPPER, Parts
from tests.fakes.raw import open_raw
from tests.fakes.snapshot_server import SnapshotServer


@pytest.fixture
async def server():
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    async with SnapshotServer(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def aged(parts, server):
    cache = await Cache.connect(server.url, deadline_s=30)
    yield Parts(parts.ledger, cache, parts.clock, parts.policy_dir, KeyCodec(PEPPER, "test"), server.url)
    await cache.aclose()


async def call(parts, key, admission=None):
    attempt = (admission or parts.admission).attempt("dec_1", "GET", "/v1/echo")
    await (admission or parts.admission).admit(attempt, key)
    parts.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)
    return attempt.states[-1].remaining


async def recorded(parts, customer_id):
    return {row.field: row.used for row in await parts.ledger.list_usage(customer_id, since=0)}["q:requests:period"]


async def new_key(parts, customer_id):
    issued = await parts.provisioning.issue(customer_id, KeyOrder(), actor="test")
    return issued.minted.text.encode()


@pytest.mark.not_on("cluster", because="takes one server back to an earlier state of its file")
async def test_after_a_fall_back_the_revoked_stay_out_the_new_come_in_and_no_quota_is_given_back(aged, server):
    customer_id, revoked, key_id = await aged.customer()
    other = aged.another_worker()
    assert await call(aged, revoked) == 9
    await server.client.save()
    for worker in (other, aged.admission, other, aged.admission):
        await call(aged, revoked, worker)
    await aged.settlement.settle()
    assert await aged.provisioning.revoke(customer_id, key_id, actor="test")
    new = await new_key(aged, customer_id)
    await server.fall_back()
    assert await aged.cache.wait_ready(30)
    for worker in (aged.admission, other, aged.another_worker()):
        with pytest.raises(InvalidKey):
            await call(aged, revoked, worker)
    assert [await call(aged, new, worker) for worker in (aged.admission, other)] == [4, 3]
    await aged.settlement.settle()
    assert await recorded(aged, customer_id) == 7


async def hold_older(parts, account):
    """Put an account into the cache that is older than what the cache was given, as nothing of ours does."""
    async with open_raw(parts.cache_url) as raw:
        await raw.hset(f"tg:{{{account.customer_id}}}:use", "v", account.version)
        await raw.set(f"tg:{{{account.customer_id}}}:acct", encode_account(account))


async def test_a_version_lower_than_the_one_a_worker_holds_is_not_believed(parts):
    customer_id, key, key_id = await parts.customer()
    older = await parts.ledger.load_account(customer_id)
    await parts.provisioning.revoke(customer_id, key_id, actor="test")
    with pytest.raises(InvalidKey):
        await call(parts, key)
    await hold_older(parts, older)
    with pytest.raises(InvalidKey):
        await call(parts, key)
    with pytest.raises(InvalidKey):
        await call(parts, key, parts.another_worker())  # the cache has been corrected


async def test_an_old_account_that_nothing_gives_away_is_corrected_by_the_next_settlement(parts):
    customer_id, key, key_id = await parts.customer()
    older = await parts.ledger.load_account(customer_id)
    await parts.provisioning.revoke(customer_id, key_id, actor="test")
    await hold_older(parts, older)
    await call(parts, key)
    await parts.settlement.settle()
    with pytest.raises(InvalidKey):
        await call(parts, key)


async def test_what_is_published_is_not_older_than_what_the_ledger_learnt_meanwhile(parts):
    customer_id, _, key_id = await parts.customer()
    now = int(parts.clock.time)
    async with line_to(parts.cache_url) as line:
        cache = await Cache.connect(line.url, deadline_s=30)
        await cache.ping()
        line.hang()
        publishing = asyncio.create_task(Publisher(parts.ledger, cache, parts.clock).publish(customer_id))
        await asyncio.sleep(0.1)
        await parts.ledger.revoke_key(customer_id, key_id, now=now, actor="test", because="test")
        row = await parts.ledger.find_customer(customer_id)
        await parts.ledger.mark_published(customer_id, row.version)  # to a server that lost it again
        line.heal()
        account = await publishing
        await cache.aclose()
    assert account.version == row.version
    assert (await parts.admission.current_account(customer_id)).keys == {}


@pytest.mark.parametrize("blob", ["", "{}", "not an account"])
async def test_an_account_that_cannot_be_read_is_replaced_by_the_ledgers(parts, blob):
    customer_id, key, _ = await parts.customer()
    await call(parts, key)
    async with open_raw(parts.cache_url) as raw:
        await raw.set(f"tg:{{{customer_id}}}:acct", blob)
    stranger, other = parts.another_worker(), parts.another_worker()
    assert await call(parts, key, stranger) == 8
    assert (await other.current_account(customer_id)).customer_id == customer_id
    assert await call(parts, key, other) == 7


async def test_an_account_of_another_version_than_its_counters_is_replaced_by_the_ledgers(parts):
    customer_id, key, _ = await parts.customer()
    account = await parts.ledger.load_account(customer_id)
    async with open_raw(parts.cache_url) as raw:
        await raw.set(f"tg:{{{customer_id}}}:acct", encode_account(replace(account, version=account.version + 7)))
    assert await call(parts, key, parts.another_worker()) == 9
