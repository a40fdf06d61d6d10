from __future__ import annotations

import re
from importlib.resources import files

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from gateway.cache import Cache, Receipt, keyspace
from gateway.core.account import Account
from gateway.core.charge import ChargeRequest, QuotaClaim, RateClaim
from tests.cache.ends import refund

CUSTOMER = "8fK2mQ9xLpTa"
CALL = r"\bp?call\('(\w+)'"
"""`redis.call`, `redis.pcall`, and what a script may call the former for short."""
SCRIPTS = [file.name for file in (files("gateway.cache") / "lua").iterdir()]


def test_all_keys_of_a_customer_share_a_slot_and_customers_do_not() -> None:
    keys = [keyspace.use_key(CUSTOMER), keyspace.acct_key(CUSTOMER), keyspace.receipt_key(CUSTOMER, "any/receipt")]
    keys.append(keyspace.once_key(CUSTOMER, "any-digest"))
    keys.append(keyspace.onces_key(CUSTOMER))
    keys.append(keyspace.live_key(CUSTOMER, "live@key_1"))
    keys.append(keyspace.owed_key(CUSTOMER, "any-receipt"))
    assert {key_slot(key.encode()) for key in keys} == {key_slot(CUSTOMER.encode())}
    assert len({key_slot(keyspace.use_key(f"customer{n}").encode()) for n in range(50)}) > 40


@pytest.mark.parametrize("name", ["", "a}b", "{a"])
def test_a_name_that_would_break_the_hash_tag_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="hash tag"):
        keyspace.use_key(name)


def test_a_scanned_key_tells_its_customer() -> None:
    assert keyspace.customer_of(keyspace.use_key(CUSTOMER).encode()) == CUSTOMER


def test_an_address_cannot_be_mistaken_for_a_customer() -> None:
    assert not keyspace.pace_key(CUSTOMER).endswith(":use")


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_touch_declared_keys_only(script: str) -> None:
    source = (files("gateway.cache") / "lua" / script).read_text()
    calls = re.findall(rf"{CALL}(?:, ([^,)]+))?", source)
    assert calls
    keys = {key for command, key in calls if command not in {"TIME", "INFO", "PUBLISH"}}
    if script == "charge.lua":
        keys -= {"live[i]"}
        assert "live[#live + 1] = KEYS[n]" in source
        assert source.count("live[") == 1 + 3  # nothing else is put there
    assert keys <= {"KEYS[1]", "KEYS[2]", "KEYS[n]", "KEYS[i]"}
    assert {key for command, key in calls if command == "PUBLISH"} <= {f"'{keyspace.CHANGED_CHANNEL}'"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_use_commands_of_redis_6_2_only(script: str) -> None:
    source = (files("gateway.cache") / "lua" / script).read_text()
    known = {"TIME", "INFO", "HMGET", "HSET", "HGET", "GET", "SET", "EXISTS", "EXPIRE", "PEXPIRE", "DEL", "HDEL"}
    known |= {"PUBLISH", "ZADD", "ZREM", "ZCOUNT", "ZCARD", "ZSCORE", "ZREMRANGEBYSCORE", "PTTL"}
    assert set(re.findall(CALL, source)) <= known


@pytest.mark.not_on("cluster", because="lists every key of one server that only this test fills")
async def test_nothing_is_stored_that_is_not_declared(cache: Cache, raw: Redis, customer_id: str) -> None:
    await raw.flushall()
    account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
    await cache.publish(account, counters={"q:m:period": (0, 1)}, seq_floor=0)
    rate = RateClaim(field="r:m:1000", cost=1, units=1, window_ms=1000, burst=5)
    quota = QuotaClaim(field="q:m:period", cost=1, limit=5, starts_at=0, ends_at=2**33)
    await cache.charge(ChargeRequest(customer_id=customer_id, version=1, claims=(rate, quota)))
    await refund(cache, Receipt(customer_id=customer_id, receipt_id="r1", parts=(("q:m:period", 0, 1),)))
    await cache.charge_back(Receipt(customer_id=customer_id, receipt_id="r2", parts=(("q:m:period", 0, 1),)))
    await cache.try_write()
    await cache.charge_address("192.0.2.1", rate)
    await cache.put_decisions("boot", {"c3": b"page"}, 60)
    assert set(await raw.keys("*")) == {
        keyspace.use_key(customer_id),
        keyspace.acct_key(customer_id),
        keyspace.receipt_key(customer_id, "r1"),
        keyspace.owed_key(customer_id, "r2"),
        keyspace.probe_key("ready"),
        keyspace.pace_key("192.0.2.1"),
        keyspace.why_key("boot", "c3"),
    }
    assert all([await raw.ttl(key) > 0 for key in await raw.keys("*")])
