"""Calls with an Idempotency-Key: charged once, in any order of repeats, endings, losses and time."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.cache import (
    Cache,
    OnceBusy,
    OnceReused,
    Receipt,
    Repeated,
    once_answer,
    prepare_once,
    prepare_once_end,
    prepare_once_refund,
    prepare_once_renewal,
)
from gateway.cache.keyspace import acct_key, once_key, onces_key, use_key
from gateway.core.account import Account
from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    Charged,
    ChargeRefused,
    ChargeRequest,
    QuotaClaim,
    RateClaim,
    WindowMoved,
)
from gateway.core.once import BUSY_S, OnceCall, OnceTerms

NOW_MS = 1_700_000_000_000
BUSY_MS = BUSY_S * 1000
WINDOW_S = 600
TERMS = OnceTerms(window_s=WINDOW_S, repeats=3)
QUOTA = QuotaClaim(field="q:requests:period", cost=1, limit=3, starts_at=0, ends_at=2**33)
RATE = RateClaim(field="r:requests:1000", cost=1, units=10, window_ms=1000, burst=5)


def call(key="key", fingerprint="print", terms=TERMS):
    return OnceCall(digest=key, fingerprint=fingerprint, terms=terms)


@dataclass
class Customer:
    """One customer of a worker's."""

    cache: Cache
    account: Account
    claims: tuple[RateClaim | QuotaClaim, ...] = (RATE, QUOTA)
    now_ms: int = NOW_MS
    most_keys: int = 10_000

    async def ask(self, receipt, once=None, **changes):
        once = once or call()
        request = ChargeRequest(
            **{
                "customer_id": self.account.customer_id,
                "version": self.account.version,
                "claims": self.claims,
                "now_ms": self.now_ms,
            }
            | changes
        )
        repeat = tuple(replace(claim, cost=0) if isinstance(claim, QuotaClaim) else claim for claim in request.claims)
        reply = await self.cache.charge_packed(prepare_once(request, repeat, once, receipt, most_keys=self.most_keys))
        return once_answer(request.claims, repeat, reply)

    async def end(self, receipt, once=None):
        return await self.cache.charge_packed(prepare_once_end(self.account.customer_id, once or call(), receipt))

    async def go_on(self, receipt, once=None):
        command = prepare_once_renewal(self.account.customer_id, once or call(), receipt, self.now_ms)
        return await self.cache.charge_packed(command)

    async def refund(self, receipt, once=None):
        parts = tuple((claim.field, claim.starts_at, claim.cost) for claim in self.claims if claim is QUOTA)
        given_up = Receipt(customer_id=self.account.customer_id, receipt_id=receipt, parts=parts)
        given, *_ = await self.cache.settle_packed(prepare_once_refund(given_up, once or call()))
        return given

    async def used(self):
        reading = await self.cache.read_usage(self.account.customer_id)
        return reading.quotas.get(QUOTA.field, (0, 0))[1]


async def publish(cache: Cache) -> Account:
    account = Account(customer_id=secrets.token_hex(6), user_id="u-1", version=4, created_at=0)
    await cache.publish(account, counters={}, seq_floor=0, expires_s=600)
    return account


@pytest.fixture
async def customer(cache: Cache) -> Customer:
    return Customer(cache, await publish(cache))


async def everything(raw: Redis, customer: Customer) -> dict[str, object]:
    """What is stored of a customer, by name: a cluster lists the keys of one server only."""
    customer_id = customer.account.customer_id
    found: dict[str, object] = {}
    names = [make(customer_id) for make in (use_key, acct_key, onces_key)]
    names += [once_key(customer_id, digest) for digest in ("key", "other", "a", "b", "c")]
    for key in names:
        match await raw.type(key):
            case "hash":
                found[key] = await raw.hgetall(key)
            case "zset":
                found[key] = await raw.zrange(key, 0, -1, withscores=True)
            case "string":
                found[key] = await raw.get(key)
    return found


async def test_a_repeat_of_a_call_that_has_ended_passes_and_takes_nothing_from_quotas(customer):
    assert isinstance(await customer.ask("r1"), Charged)
    assert await customer.end("r1") == 1
    again = await customer.ask("r2")
    assert isinstance(again, Repeated)
    assert isinstance(again.answer, Charged)
    assert [state.remaining for state in again.answer.states] == [3, 2]
    assert await customer.used() == 1


async def test_a_repeat_counts_in_rates_because_it_is_forwarded(customer):
    customer.claims = (replace(RATE, burst=2), QUOTA)
    await customer.ask("r1")
    await customer.end("r1")
    assert isinstance((await customer.ask("r2")).answer, Charged)
    refused = await customer.ask("r3")
    assert isinstance(refused.answer, ChargeRefused)
    assert [state.allowed for state in refused.answer.states] == [False, True]


async def test_a_call_in_flight_and_another_call_under_its_key_are_refused_and_change_nothing(customer, raw):
    await customer.ask("r1")
    before = await everything(raw, customer)
    assert await customer.ask("r2") == OnceBusy(wait_ms=BUSY_MS)
    assert await customer.ask("r3", call(fingerprint="other")) == OnceReused()
    assert await everything(raw, customer) == before


async def test_a_quota_that_is_used_up_or_overdrawn_refuses_no_repeat(customer):
    customer.claims = (RATE, replace(QUOTA, cost=3))
    await customer.ask("r1")
    await customer.end("r1")
    assert isinstance(await customer.ask("r2", call(key="next")), ChargeRefused)
    assert isinstance((await customer.ask("r3")).answer, Charged)
    customer.claims = (RATE, replace(QUOTA, limit=1))
    again = await customer.ask("r4")
    assert [(state.remaining, state.allowed) for state in again.answer.states] == [(2, True), (0, True)]


async def test_a_refused_call_does_not_take_the_key(customer, raw):
    customer.claims = (replace(RATE, cost=5), QUOTA)
    await customer.ask("r1", call(key="other"))
    before = await everything(raw, customer)
    assert isinstance(await customer.ask("r2"), ChargeRefused)
    assert await everything(raw, customer) == before


async def test_a_call_that_is_given_back_frees_the_key_and_the_next_one_is_charged(customer):
    await customer.ask("r1")
    assert await customer.refund("r1") == 1
    assert await customer.used() == 0
    assert isinstance(await customer.ask("r2"), Charged)
    assert await customer.used() == 1


async def test_a_call_of_a_worker_that_died_stays_charged_and_its_repeats_pass_after_a_minute(customer):
    await customer.ask("r1")
    customer.now_ms += BUSY_MS - 1
    assert await customer.ask("r2") == OnceBusy(wait_ms=1)
    customer.now_ms += 1
    assert isinstance(await customer.ask("r3"), Repeated)
    assert await customer.used() == 1


async def test_what_a_repeat_was_let_through_on_is_not_given_back(customer):
    await customer.ask("r1")
    customer.now_ms += BUSY_MS
    await customer.ask("r2")
    assert await customer.refund("r1") == 0
    assert isinstance(await customer.ask("r3"), Repeated)
    assert await customer.used() == 1


async def test_an_ending_of_another_charge_touches_nothing(customer, raw):
    await customer.ask("r1")
    before = await everything(raw, customer)
    assert await customer.end("r0") == 0
    assert await everything(raw, customer) == before
    await customer.refund("r0")
    assert await customer.ask("r2") == OnceBusy(wait_ms=BUSY_MS)


async def test_more_repeats_than_one_charge_pays_for_are_charged(customer):
    customer.claims = (QUOTA,)
    for number in range(1 + TERMS.repeats):
        await customer.ask(f"r{number}")
        await customer.end("r0")
    assert await customer.used() == 1
    assert isinstance(await customer.ask("again"), Charged)
    assert await customer.used() == 2


async def test_after_the_window_the_key_is_new_also_where_the_server_still_has_it(customer, raw):
    await customer.ask("r1")
    await customer.end("r1")
    key = f"tg:{{{customer.account.customer_id}}}:once:key"
    assert WINDOW_S - 60 < await raw.ttl(key) <= WINDOW_S
    await customer.ask("r2")
    assert WINDOW_S - 60 < await raw.ttl(key) <= WINDOW_S
    customer.now_ms += WINDOW_S * 1000 - 1
    assert isinstance(await customer.ask("r3"), Repeated)
    customer.now_ms += 1
    assert isinstance(await customer.ask("r4", call(fingerprint="other")), Charged)


async def test_who_asks_is_told_about_a_key_only_with_the_current_account(customer):
    await customer.ask("r1")
    assert isinstance(await customer.ask("r2", version=3), AccountStale)
    assert isinstance(await customer.ask("r3", call(fingerprint="other"), version=3), AccountStale)
    assert isinstance(await customer.ask("r4", customer_id="nobody"), AccountMissing)
    moved = (replace(QUOTA, ends_at=1),)
    assert isinstance(await customer.ask("r5", call(key="next"), claims=moved), WindowMoved)


async def test_a_call_that_costs_nothing_keeps_its_key_all_the_same(customer):
    customer.claims = ()
    assert isinstance(await customer.ask("r1"), Charged)
    assert isinstance(await customer.ask("r2"), OnceBusy)


async def test_a_key_takes_less_than_300_bytes_of_the_cache(customer, raw):
    await customer.ask("dec_0123456789abcdef", call(key="k" * 20, fingerprint="f" * 20))
    assert await raw.memory_usage(f"tg:{{{customer.account.customer_id}}}:once:{'k' * 20}") < 300


async def test_of_200_keys_each_takes_less_than_150_bytes_of_their_list(customer, raw):
    customer.claims = ()
    for number in range(200):
        await customer.ask("dec_0123456789abcdef", call(key=f"{number:020}"))
    assert await raw.memory_usage(onces_key(customer.account.customer_id), samples=0) < 200 * 150


async def test_beyond_the_most_keys_a_call_is_charged_and_nothing_is_kept_of_it(customer, raw):
    customer.claims, customer.most_keys = (replace(QUOTA, limit=100),), 2
    for key in "abcc":
        assert isinstance(await customer.ask(f"r{key}", call(key=key)), Charged)
    assert await customer.used() == 4
    kept = {key.rpartition(":")[2] for key in await everything(raw, customer)}
    assert kept == {"acct", "use", "onces", "a", "b"}
    await customer.end("rc", call(key="c"))
    await customer.end("ra", call(key="a"))
    assert isinstance(await customer.ask("again", call(key="a")), Repeated)
    assert await raw.zcard(onces_key(customer.account.customer_id)) == 2


async def test_a_known_key_is_charged_again_and_kept_also_where_there_are_as_many_as_are_kept(customer):
    customer.claims, customer.most_keys = (replace(QUOTA, limit=100),), 1
    for number in range(2 + TERMS.repeats):
        await customer.ask(f"r{number}")
        await customer.end(f"r{number}")
    assert await customer.used() == 2
    assert isinstance(await customer.ask("again"), Repeated)


async def test_a_key_that_was_given_back_or_has_ended_makes_room_for_another(customer, raw):
    customer.claims, customer.most_keys = (QUOTA,), 1
    await customer.ask("r1", call(key="a"))
    await customer.refund("r1", call(key="a"))
    await customer.ask("r2", call(key="b"))
    assert isinstance(await customer.ask("r3", call(key="b")), OnceBusy)
    customer.now_ms += WINDOW_S * 1000
    await customer.ask("r4", call(key="c"))
    assert isinstance(await customer.ask("r5", call(key="c")), OnceBusy)
    assert await raw.zrange(onces_key(customer.account.customer_id), 0, -1) == ["c"]


async def test_the_list_of_keys_lives_as_long_as_the_longest_of_them(customer, raw):
    name = onces_key(customer.account.customer_id)
    for window_s, expected in ((WINDOW_S, WINDOW_S), (9000, 9000), (60, 9000)):
        await customer.ask(f"r{window_s}", call(key=f"k{window_s}", terms=replace(TERMS, window_s=window_s)))
        assert expected - 60 < await raw.ttl(name) <= expected


async def test_of_many_at_the_same_moment_one_is_charged(cache_url, customer):
    workers = [await Cache.connect(cache_url, deadline_s=30) for _ in range(3)]
    others = [Customer(worker, customer.account) for worker in workers]
    answers = await asyncio.gather(*(each.ask(f"r{n}") for n, each in enumerate(others * 20)))
    assert sorted(type(answer).__name__ for answer in answers) == ["Charged"] + ["OnceBusy"] * 59
    assert await customer.used() == 1
    for worker in workers:
        await worker.aclose()


# In any order, against an oracle.


@dataclass
class Kept:
    fingerprint: str
    receipt: int
    busy_until: int
    ends_at: int
    repeats: int = 0


@dataclass
class Oracle:
    """Of one quota, in Python."""

    used: int = 0
    keys: dict[str, Kept] = field(default_factory=dict)

    def ask(self, key: str, fingerprint: str, receipt: int, now_ms: int) -> str:
        kept = self.keys.get(key)
        if kept is not None and now_ms < kept.ends_at:
            if kept.fingerprint != fingerprint:
                return "OnceReused"
            if now_ms < kept.busy_until:
                return "OnceBusy"
            if kept.repeats < TERMS.repeats:
                kept.repeats += 1
                return "Repeated"
        if self.used >= QUOTA.limit:
            return "ChargeRefused"
        self.used += 1
        self.keys[key] = Kept(fingerprint, receipt, now_ms + BUSY_MS, now_ms + WINDOW_S * 1000)
        return "Charged"

    def end(self, key: str, receipt: int) -> None:
        kept = self.keys.get(key)
        if kept is not None and kept.receipt == receipt:
            kept.busy_until = 0

    def refund(self, key: str, receipt: int) -> None:
        kept = self.keys.get(key)
        if kept is not None and kept.receipt == receipt and kept.repeats:
            kept.busy_until = 0
            return
        if kept is not None and kept.receipt == receipt:
            del self.keys[key]
        self.used -= 1


ASK = st.tuples(st.just("ask"), st.sampled_from("ab"), st.sampled_from(["x", "x", "x", "y"]))
CONCLUDE = st.tuples(st.sampled_from(["end", "refund"]), st.integers(0, 3), st.none())
WAIT = st.tuples(st.just("wait"), st.sampled_from([1, BUSY_MS - 1, BUSY_MS, WINDOW_S * 1000 - BUSY_MS]), st.none())


@given(steps=st.lists(st.one_of(ASK, ASK, CONCLUDE, WAIT), max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_every_answer_and_the_count_are_the_oracles(cache_url, steps):
    asyncio.run(play(cache_url, steps))


async def play(url, steps):
    cache = await Cache.connect(url, deadline_s=30)
    customer, oracle = Customer(cache, await publish(cache), (QUOTA,)), Oracle()
    open_calls: list[tuple[str, str, int]] = []
    for number, (what, first, second) in enumerate(steps):
        if what == "ask":
            answer = await customer.ask(f"r{number}", call(first, second))
            assert type(answer).__name__ == oracle.ask(first, second, number, customer.now_ms)
            if isinstance(answer, Charged):
                open_calls.append((first, second, number))
        elif what == "wait":
            customer.now_ms += first
        elif first < len(open_calls):
            key, fingerprint, receipt = open_calls.pop(first)
            await getattr(customer, what)(f"r{receipt}", call(key, fingerprint))
            getattr(oracle, what)(key, receipt)
        assert await customer.used() == oracle.used
    await cache.aclose()


async def test_a_call_that_goes_on_is_in_flight_for_another_while_and_its_key_ends_when_it_would(raw, customer):
    await customer.ask("r1")
    ends_in_ms = await raw.pttl(once_key(customer.account.customer_id, "key"))
    customer.now_ms += BUSY_MS - 1
    assert await customer.go_on("r1") == 1
    customer.now_ms += BUSY_MS - 1
    assert await customer.ask("r2") == OnceBusy(wait_ms=1)
    assert 0 < await raw.pttl(once_key(customer.account.customer_id, "key")) <= ends_in_ms
    customer.now_ms += 1
    assert isinstance(await customer.ask("r2"), Repeated)


async def test_what_has_ended_or_is_anothers_does_not_go_on(raw, customer):
    assert await customer.go_on("r1") == 0, "there is none"
    await customer.ask("r1")
    before = await everything(raw, customer)
    assert await customer.go_on("r2") == 0
    assert await everything(raw, customer) == before
    await customer.end("r1")
    before = await everything(raw, customer)
    assert await customer.go_on("r1") == 0
    assert await everything(raw, customer) == before
    assert isinstance(await customer.ask("r3"), Repeated)


async def test_a_key_lives_as_long_as_the_call_that_goes_on_under_it(raw, customer):
    short = call(terms=OnceTerms(window_s=20))
    await customer.ask("r1", once=short)
    customer.now_ms += 19_999
    assert await customer.go_on("r1", short) == 1
    assert await raw.pttl(once_key(customer.account.customer_id, "key")) > BUSY_MS // 2
    customer.now_ms += BUSY_MS - 1
    assert await customer.ask("r2", once=short) == OnceBusy(wait_ms=1)
