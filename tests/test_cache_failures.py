"""Every way in which a cache fails: no limit is exceeded beyond what policy allows, and nobody loses access.

Each failure begins in the middle of traffic and ends again. The claims are the same for all of them, and
docs/operations.md has a line for each.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from gateway.cache import Cache, CacheUnavailable, explain_trouble
from gateway.core.errors import CapacityReduced, InvalidKey, QuotaExceeded
from gateway.core.keys import KeyCodec
from gateway.settlement import Settlement
from tests.conftest import PATIENT_S, PEPPER, Parts
from tests.fakes.cache_failures import FAILURES, LOSSES, PASSWORD, World, true_of
from tests.fakes.line import Line
from tests.fakes.snapshot_server import SnapshotServer
from tests.patience import SHORT_S, impatient
from tests.steps import admit, admitted, pro, subscribe

QUOTA, LOCAL = 50, 10
AOF = ("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local")
PERIOD = "q:requests:period"

pytestmark = pytest.mark.not_on(
    "cluster", because="takes one server through failures of its own: its file, its memory, its scripts"
)


@contextlib.asynccontextmanager
async def opened(parts, user=""):
    """A server that keeps an append-only file, a line to it, and a gateway's parts at its end."""
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    async with SnapshotServer(folder, options=AOF) as server, Line(str(folder / "s")) as line:
        await server.client.acl_setuser(
            "tiergate", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], commands=["+@all"]
        )
        cache = await Cache.connect(f"redis://{user}127.0.0.1:{line.port}/0", deadline_s=PATIENT_S)
        codec = KeyCodec(PEPPER, "test")
        yield World(Parts(parts.ledger, cache, parts.clock, parts.policy_dir, codec, server.url), server, line)
        await cache.aclose()
    shutil.rmtree(folder, ignore_errors=True)


SLOW = {"Loading", "StaleReplica"}


def cases(kinds):
    return [
        pytest.param(kind, id=kind.__name__, marks=[pytest.mark.slow] if kind.__name__ in SLOW else [])
        for kind in kinds
    ]


@pytest.fixture(params=cases(FAILURES))
def failure(request):
    return request.param()


@pytest.fixture
async def world(parts, failure):
    async with opened(parts, getattr(failure, "user", "")) as world:
        yield world


async def trouble_of(cache):
    """What an operator is told."""
    try:
        taken_ms = await cache.try_write()
    except CacheUnavailable as error:
        return explain_trouble(error.reason).what
    if taken_ms > SHORT_S * 1000:
        return f"It took {taken_ms} ms"
    return explain_trouble(await cache.find_trouble()).what


async def paying(parts):
    """A customer on `pro`, with 5 of its 50 used and settled: customer id, key."""
    assert await parts.cache.wait_ready(20)
    customer_id, key, _ = await parts.customer()
    await subscribe(parts, customer_id, pro(parts.clock))
    assert await admitted(parts.admission, key, 5) == 5
    await settle(parts, customer_id)
    return customer_id, key


async def settle(parts, customer_id):
    parts.settlement.note_moved(customer_id)
    await parts.settlement.settle()
    return await recorded(parts, customer_id)


async def recorded(parts, customer_id):
    return {row.field: row.used for row in await parts.ledger.list_usage(customer_id, since=0)}[PERIOD]


def after_a_restart(parts):
    """A settlement that remembers nobody."""
    return Settlement(parts.ledger, parts.cache, parts.publisher, parts.clock, parts.metrics)


async def recovered(parts):
    """Wait until charges pass and nothing is owed: by itself, as the background tasks do it."""

    async def nothing_is_owed():
        if await parts.cache.wait_ready(10):
            await parts.outages.charge_back()
        return parts.cache.is_ready and not parts.outages.owed_units

    await true_of(nothing_is_owed)


async def test_no_limit_is_exceeded_beyond_the_allowance_and_nobody_loses_access(world, failure):
    parts = world.parts
    customer_id, key = await paying(parts)
    await failure.begin(world)
    try:
        with impatient(parts.cache):
            local = await admitted(parts.admission, key, LOCAL + 5)
            with pytest.raises(CapacityReduced):
                await admit(parts.admission, key)
            assert await parts.outages.charge_back() == []
            with contextlib.suppress(CapacityReduced):  # some of them still let it read
                await settle(parts, customer_id)
            assert await recorded(parts, customer_id) in {5, 6}, "the record never goes back"
            assert re.search(failure.words, await trouble_of(parts.cache))
    finally:
        await failure.end(world)
    assert local == LOCAL
    await recovered(parts)
    counted = (await parts.cache.read_usage(customer_id)).quotas[PERIOD][1]
    assert 5 <= counted <= 5 + LOCAL + 6, "what was sent and not answered may have counted, once"
    rest = await admitted(parts.admission, key, QUOTA, error=QuotaExceeded)
    assert rest == QUOTA - counted, "whoever has a quota left goes on, to its end exactly"
    assert 5 + local + rest <= QUOTA + LOCAL
    assert await settle(parts, customer_id) == QUOTA
    await after_a_restart(parts).settle_all()
    assert await recorded(parts, customer_id) == QUOTA, "to settle again changes nothing"


# What comes back with less than it had.


UNSETTLED = 3


@pytest.mark.parametrize("loss", cases(LOSSES))
async def test_what_a_cache_loses_is_restored_from_the_ledger_but_for_what_was_not_settled(parts, loss):
    async with opened(parts) as world:
        parts, loss = world.parts, loss()
        customer_id, key = await paying(parts)
        _, revoked, revoked_id = await parts.customer("bob")
        await admit(parts.admission, revoked)
        if hasattr(loss, "prepare"):
            await loss.prepare(world)
        assert await admitted(parts.admission, key, 10) == 10
        assert await settle(parts, customer_id) == 15
        await parts.provisioning.revoke(parts.codec.parse(revoked).customer_id, revoked_id, actor="test")
        assert await admitted(parts.admission, key, UNSETTLED) == UNSETTLED
        await loss.happen(world)
        await recovered(parts)
        with pytest.raises(InvalidKey):
            await admit(parts.admission, revoked)
        rest = await admitted(parts.admission, key, QUOTA, error=QuotaExceeded)
        assert QUOTA - 18 <= rest <= QUOTA - 18 + UNSETTLED
        await after_a_restart(parts).settle_all()
        assert await recorded(parts, customer_id) == QUOTA, "whoever comes next settles what was left"
        assert await settle(parts, customer_id) == QUOTA
        assert not parts.outages.owed_units
