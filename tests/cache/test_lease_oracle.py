"""Several workers with leases, in any order of calls, crashes, losses and clock steps, on the real server.

Nothing here knows how leases are counted. What was let through, and when, is held against the promises:

- a window's quota is never exceeded, and what the cache counted is what was admitted, is still held, or was lost;
- a bucket that is charged when a call is let through never holds more than its burst, so over any interval
  no more than the burst and the gain were admitted; a cache clock that is set forward adds what it skips, until
  that bucket has been empty after every lease of before was over;
- nothing is let through under an account that changed a lease's time ago, although nobody was told;
- who waits for as long as refusals say is admitted, if nobody else calls, no lease is left, and the cache's clock is
  not behind what it was;
- nothing stored is negative.

A history that breaks one is told as it was found: to make it shorter takes longer than a test may, and a test that is
timed out meanwhile looks for a shorter one on and on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from gateway.cache import Cache
from gateway.core.account import Account
from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    Charged,
    ChargeRefused,
    ChargeRequest,
    Claim,
    QuotaClaim,
    RateClaim,
    WindowMoved,
)
from gateway.leasing import Leasing, Lessee
from gateway.telemetry import Metrics
from tests.fakes.raw import open_raw

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

START_MS = 1_700_000_040_000
TTL_MS = 500
WORKERS = 3
PATIENCE_S = 100
"""For one step of a history: thousands of calls."""
MOST_TIMERS = 10_000
"""In one stretch of time."""
COST = 2
WINDOW_S = 20
UNITS, BURST = 160, 240
workers = st.integers(0, WORKERS - 1)
COSTLY = RateClaim(field="r:m:1000", cost=COST, units=UNITS, window_ms=1000, burst=BURST)


@dataclass(eq=False)
class Timer:
    at_ms: int
    call: Callable[[], None]
    worker: Worker
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Plan:
    """As much of a plan as leases look at."""

    def __init__(self, starts_at: int, limit: int) -> None:
        ends_at = starts_at + WINDOW_S
        quota = QuotaClaim(field="q:m:20", cost=COST, limit=limit, starts_at=starts_at, ends_at=ends_at)
        self.claims: tuple[Claim, ...] = (COSTLY, quota) if limit else (COSTLY,)
        self.starts_at = starts_at
        self.route = SimpleNamespace(settle=())


class Worker:
    """One process: what it holds, and what it believes."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.metrics = Metrics()
        self.leasing = Leasing(
            life.cache,
            life,
            self.metrics,
            TTL_MS,
            steady=lambda: life.true_ms / 1000,
            later=lambda delay_s, call: life.later(self, delay_s, call),
        )
        self.leasing.is_informed = True
        self.version = 0
        self.plan = Plan(0, life.limit)
        self.lessee: Lessee | None = None

    def prepare(self) -> Lessee:
        starts_at = self.life.cache_now_ms() // 1000 // WINDOW_S * WINDOW_S
        if self.lessee is None or self.plan.starts_at != starts_at:
            self.plan = Plan(starts_at, self.life.limit)
            self.lessee = self.leasing.lessee(self.life.account(self.version), self.plan)
        assert self.lessee is not None
        return self.lessee

    def learn(self, version: int) -> None:
        self.version = version
        self.lessee = None
        self.leasing.drop(self.life.customer_id)

    def calls(self, fate: str) -> int:
        return int(self.metrics.lease_calls.labels(fate)._value.get())

    def outstanding(self) -> int:
        return self.calls("granted") - sum(self.calls(fate) for fate in ("admitted", "returned", "lapsed", "lost"))


class Life(RuleBasedStateMachine):
    url = ""
    limit = 0
    """0: there is a rate, and no quota."""
    leased_at_all = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.customer_id = secrets.token_hex(6)
        self.true_ms = START_MS
        self.skew_ms = 0
        self.timers: list[Timer] = []
        self.version = 1
        self.superseded_at: dict[int, int] = {}
        self.admitted: dict[int, int] = {}
        """Calls, by the window that they were charged to."""
        self.real = 0.0
        """A bucket that is charged when a call is let through."""
        self.real_at = START_MS
        self.credit = 0
        """What a rate gained by steps of the cache's clock, for as long as it has an effect."""
        self.stepped_at = 0
        self.furthest_ms = 0
        """The cache's clock, before it was set back: as far as that goes, it stands still."""
        self.latest_window = 0
        """The cache had it when it was lost, and with it the time: it counts in no earlier one."""
        self.cache, self.raw = self.do(self._connect())
        self.workers = [Worker(self) for _ in range(WORKERS)]

    async def _connect(self) -> tuple[Cache, Redis]:
        return await Cache.connect(self.url, deadline_s=30), open_raw(self.url)

    def teardown(self) -> None:
        type(self).leased_at_all += sum(worker.calls("admitted") for worker in self.workers)
        self.do(self.cache.aclose())
        self.do(self.raw.aclose())
        self.runner.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(asyncio.wait_for(work, PATIENCE_S))

    def account(self, version: int) -> Account:
        return Account(customer_id=self.customer_id, user_id="u", version=version, created_at=0)

    def now(self) -> float:
        return self.cache_now_ms() / 1000

    def cache_now_ms(self) -> int:
        return self.true_ms + self.skew_ms

    def later(self, worker: Worker, delay_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.true_ms + ceil(delay_s * 1000), call, worker)
        self.timers.append(timer)
        return timer

    # What happens.

    @initialize()
    def publish(self, counters: dict[str, tuple[int, int]] | None = None, seq: int = 0) -> None:
        self.do(self.cache.publish(self.account(self.version), counters=counters or {}, seq_floor=seq, expires_s=600))

    @rule(worker=workers, gap_ms=st.sampled_from([9, 25, 49]), for_ms=st.sampled_from([60, 450, 1200]))
    def call(self, worker: int, gap_ms: int, for_ms: int) -> None:
        self.do(self._calls(self.workers[worker], for_ms // gap_ms, gap_ms))

    @rule(ms=st.sampled_from([1, 90, 300, 374, 494, 500, 1100, 5000, 19_000]))
    def wait(self, ms: int) -> None:
        self.do(self._pass(ms))

    @rule(pace=workers, ms=st.sampled_from([370, 490]))
    def rush(self, pace: int, ms: int) -> None:
        """Every worker has a lease, and all wait until they are nearly over before everybody calls at one moment."""

        async def rush() -> None:
            for worker in self.workers:
                await self._calls(worker, 25, pace)
            await self._pass(ms)
            for worker in self.workers:
                for _ in range(2 * BURST):  # each call costs two, so that more are let in by nobody
                    if isinstance(await self._call(worker), ChargeRefused | WindowMoved):
                        break

        self.do(rush())

    @rule(worker=workers, ms=st.sampled_from([300, 700]))
    def stand_still(self, worker: int, ms: int) -> None:
        """No timer of any worker comes to its turn before its calls do."""

        async def stand_still() -> None:
            await self._calls(self.workers[worker], 25, 9)
            self.true_ms += ms
            await self._calls(self.workers[worker], 1, 0)

        self.do(stand_still())

    @rule(ms=st.sampled_from([-300, -60, 60, 700]))
    def step_the_cache_clock(self, ms: int) -> None:
        self.furthest_ms = max(self.furthest_ms, self.cache_now_ms())
        self.skew_ms += ms
        if ms > 0:  # buckets gained what never passed, with the calls that leases hold in them
            self.credit += ms * UNITS
            self.stepped_at = self.true_ms

    @precondition(lambda self: not self.limit)
    @rule(ms=st.sampled_from([-6000, -5100, 6000]))
    def step_the_cache_clock_far(self, ms: int) -> None:
        """Further than clocks of two servers may differ: what is stored comes from a clock that was wrong."""
        self.step_the_cache_clock(ms)

    @rule(told=st.lists(workers))
    def change_the_account(self, told: list[int]) -> None:
        self.superseded_at[self.version] = self.true_ms
        self.version += 1
        self.publish()
        for index in set(told):
            self.workers[index].leasing.drop(self.customer_id)
        self.do(self._settle())

    @rule(worker=workers)
    def crash(self, worker: int) -> None:
        gone = self.workers[worker]
        self.workers[worker] = Worker(self)
        self.timers = [timer for timer in self.timers if timer.worker is not gone]

    @rule()
    def lose_the_cache(self) -> None:
        """Everything was settled just before: the ledger gives back the count, and buckets begin empty."""
        fields = self.do(self.raw.hgetall(f"tg:{{{self.customer_id}}}:use"))
        starts_at, used = map(int, fields.get("q:m:20", "0|0").split("|"))
        self.latest_window = max(self.latest_window, starts_at)
        self.do(self.raw.delete(f"tg:{{{self.customer_id}}}:use"))
        self.publish({"q:m:20": (starts_at, used)}, int(fields.get("s", 0)))
        self.real = -float("inf")  # what is held counts in no bucket any more

    @rule(worker=workers)
    def be_patient(self, worker: int) -> None:
        """Who was refused and waits as long as told is let in."""
        self.do(self._be_patient(self.workers[worker]))

    @invariant()
    def promises_hold(self) -> None:
        fields = self.do(self.raw.hgetall(f"tg:{{{self.customer_id}}}:use"))
        for starts_at, calls in self.admitted.items():
            assert not self.limit or calls * COST <= self.limit, (starts_at, calls)
        for name in ("q:m:20", "p:m:20"):
            if name in fields:
                starts_at, used = map(int, fields[name].split("|"))
                assert 0 <= self.admitted.get(starts_at, 0) * COST <= used <= self.limit
        for name, value in fields.items():
            assert name in {"e", "l"} or all(int(part) >= 0 for part in value.split("|"))
        assert all(worker.outstanding() >= 0 for worker in self.workers)

    # How.

    async def _calls(self, worker: Worker, calls: int, gap_ms: int) -> None:
        for _ in range(calls):
            await self._call(worker)
            if gap_ms:
                await self._pass(gap_ms)

    async def _call(self, worker: Worker) -> object:
        for _ in range(3):
            lessee = worker.prepare()
            reply = lessee.take()
            await self._settle()
            if reply is not None:
                version, starts_at = worker.version, worker.plan.starts_at
                assert self.true_ms <= self.superseded_at.get(version, self.true_ms) + TTL_MS
                self._admit(starts_at)
                return None
            answer = await self.cache.charge(
                ChargeRequest(
                    customer_id=self.customer_id,
                    version=worker.version,
                    claims=worker.plan.claims,
                    now_ms=self.cache_now_ms(),
                )
            )
            if isinstance(answer, Charged):
                self._admit(worker.plan.starts_at)
                lessee.charged()
                await self._settle()
                return answer
            if not isinstance(answer, AccountStale | AccountMissing):
                return answer
            worker.learn(self.version)
            await self._settle()
        raise AssertionError("the account does not change by itself")

    async def _be_patient(self, worker: Worker) -> None:
        await self._pass(max(0, self.furthest_ms - self.cache_now_ms()))
        for _ in range(4):  # a quota, and then a rate; a lease may be followed once, for calls that do not come
            refused = await self._call(worker)
            if not isinstance(refused, ChargeRefused):
                return
            await self._pass(max(state.reset_ms for state in refused.states if not state.allowed))
            if all(state.allowed for state in refused.states[1:]):
                await self._pass(2 * TTL_MS)
        assert not isinstance(await self._call(worker), ChargeRefused)

    def _admit(self, starts_at: int) -> None:
        starts_at = max(starts_at, self.latest_window)
        self.admitted[starts_at] = self.admitted.get(starts_at, 0) + 1
        gained = (self.true_ms - self.real_at) * UNITS
        if 0 <= self.real <= gained and self.true_ms >= self.stepped_at + TTL_MS:
            self.credit = 0
        self.real = max(0.0, self.real - gained) + COST * 1000 if self.real >= 0 else self.real
        self.real_at = self.true_ms
        assert self.real <= BURST * 1000 + self.credit

    async def _pass(self, ms: int) -> None:
        ends_ms, called = self.true_ms + ms, 0
        while due := [timer for timer in self.timers if timer.at_ms <= ends_ms]:
            timer = min(due, key=lambda timer: timer.at_ms)
            self.timers.remove(timer)
            called += 1
            assert called < MOST_TIMERS
            self.true_ms = max(self.true_ms, timer.at_ms)
            if not timer.is_cancelled:
                timer.call()
                await self._settle()
        self.true_ms = ends_ms
        if self.real < 0 and not any(worker.outstanding() for worker in self.workers):
            self.real, self.real_at = 0.0, self.true_ms

    async def _settle(self) -> None:
        for worker in self.workers:
            while worker.leasing.asking.under_way:
                await asyncio.gather(*worker.leasing.asking.under_way)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [600, 100_000, 0], ids=["a-scarce-quota", "a-quota-that-lasts", "a-rate-alone"])
def test_leases_keep_every_promise_whatever_happens(cache_url: str, limit: int) -> None:
    Life.url, Life.limit = cache_url, limit
    Life.leased_at_all = 0
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Life.leased_at_all > 0


@pytest.fixture
def life(cache_url: str) -> Iterator[Life]:
    Life.url, Life.limit = cache_url, 0
    life = Life()
    life.publish()
    yield life
    life.teardown()


@pytest.mark.slow
@pytest.mark.parametrize("ms", [1500, 6000])
def test_what_a_clock_that_is_set_forward_adds_lasts_until_the_bucket_was_empty(life: Life, ms: int) -> None:
    life.call(0, 9, 450)
    life.rush(2, 370)
    life.step_the_cache_clock(ms)
    for turn in range(14):
        life.call(turn % 2, 9, 1200)
    assert life.real > BURST * 1000
    assert life.credit == ms * UNITS
    life.wait(5000)
    life.rush(2, 370)
    assert life.credit == 0


@pytest.mark.slow
@pytest.mark.parametrize("ms", [-300, -6000])
def test_a_clock_that_is_set_back_adds_nothing(life: Life, ms: int) -> None:
    for step_ms in (ms, 60, ms):
        life.rush(2, 490)
        life.step_the_cache_clock(step_ms)
        life.rush(2, 370)
    assert life.credit == 60 * UNITS
