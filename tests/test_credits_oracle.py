"""Grants, calls, corrections, settlements, lost caches and time in any order, against a plain model of credits.

All parts are the real ones: SQLite, Valkey and its scripts, the use cases. The model is integers in lists. After
every step, what the customer is told is left must equal it.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway.admission import Attempt
from gateway.cache import Cache
from gateway.core.access import decide_access
from gateway.core.errors import CostAboveLimit, QuotaExceeded
from gateway.core.keys import KeyCodec
from gateway.core.pricing import price_call
from gateway.crediting import CreditOrder, GrantNotFound
from gateway.ledger import Ledger, migrate
from gateway.usage import list_credits, list_usage, read_counters
from tests.conftest import PATIENT_S, PEPPER, Parts, TestClock
from tests.fakes.raw import open_raw

HOUR_S = 3600
QUOTA = 6
POLICY = f"""\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second burst 1_000, {QUOTA} requests per hour]
routes:
  - match: GET /v1/one
  - match: GET /v1/four
    cost: 4
  - match: GET /v1/nine
    cost: request header X-Units at most 9
"""
COSTS = {"/v1/one": 1, "/v1/four": 4, "/v1/nine": 9}
EPOCH = 2**32


@dataclass
class Credits:
    units: int
    granted_at: int
    expires_at: int | None
    used: int = 0
    settled: int = 0
    is_revoked: bool = False
    is_dropped: bool = False
    """A settlement found it used up."""
    is_counted: bool = False
    """The cache has a count of it."""

    def is_live(self, now: int) -> bool:
        return not self.is_revoked and not self.is_dropped and (self.expires_at is None or now < self.expires_at)


@dataclass
class Model:
    window: int = 0
    used: int = 0
    ended: tuple[int, int] = (0, 0)
    """The window before, and what was used in it."""
    settled: dict[int, int] = field(default_factory=dict)
    seq: int = EPOCH
    kept: int = 0
    """The last number that is in what was restored."""
    settled_seq: int = 0
    grants: list[Credits] = field(default_factory=list)
    is_lost: bool = False

    def live(self, now: int) -> list[Credits]:
        return sorted((one for one in self.grants if one.is_live(now)), key=lambda one: one.expires_at or 10**12)

    def quota_left(self, now: int) -> int:
        return max(0, QUOTA - (self.used if self.window == now // HOUR_S * HOUR_S else 0))

    def load(self) -> None:
        """The cache has lost the customer, and the ledger knows what was settled."""
        if self.is_lost:
            newest, before, *_ = *sorted(self.settled.items(), reverse=True), (0, 0), (0, 0)
            (self.window, self.used), self.ended = newest, before
            for one in self.grants:
                one.used = one.settled
                one.is_counted = not one.is_revoked and not one.is_dropped
            self.kept, self.seq = self.settled_seq, (self.settled_seq // EPOCH + 1) * EPOCH
            self.is_lost = False

    def charge(self, cost: int, now: int) -> list[tuple[Credits | None, int, int]] | None:
        self.load()
        live, from_quota = self.live(now), min(cost, self.quota_left(now))
        taken: list[tuple[Credits | None, int, int]] = [(None, now // HOUR_S * HOUR_S, from_quota)]
        rest = cost - from_quota
        for one in live:
            took = min(rest, one.units - one.used)
            taken.append((one, 0, took))
            rest -= took
        if rest:
            return None
        self.seq += 1
        if from_quota:
            if self.window not in {0, now // HOUR_S * HOUR_S}:
                self.ended = (self.window, self.used)
            self.window, self.used = now // HOUR_S * HOUR_S, QUOTA - self.quota_left(now) + from_quota
        for one, _, took in taken[1:]:
            one.used += took
            one.is_counted = one.is_counted or took > 0
        return taken

    def could_wait(self, cost: int, now: int) -> bool:
        """Whether the next window and what is left then of the credits would cover it."""
        resets_at = now // HOUR_S * HOUR_S + HOUR_S
        lasting = [one for one in self.live(now) if one.expires_at is None or one.expires_at > resets_at]
        return cost <= QUOTA + sum(one.units - one.used for one in lasting)

    def refund(self, taken: list[tuple[Credits | None, int, int]], seq: int) -> int:
        self.load()
        if seq < self.seq // EPOCH * EPOCH and not self.kept // EPOCH * EPOCH <= seq <= self.kept:
            return 0
        given = 0
        for one, window, took in taken:
            if one is not None:
                back = min(one.used, took) if one.is_counted else 0
                one.used -= back
            elif window == self.window:
                back = min(self.used, took)
                self.used -= back
            else:
                back = min(self.ended[1], took) if window == self.ended[0] else 0
                self.ended = (self.ended[0], self.ended[1] - back)
            given += back
        self.seq += given > 0
        return given

    def correct(self, taken: list[tuple[Credits | None, int, int]], real: int, seq: int) -> tuple[int, int]:
        """What a call cost in the end. Returns how many units moved, and how many had to."""
        self.load()
        rest = real - sum(took for _, _, took in taken)
        if rest <= 0:
            back = []
            for one, window, took in reversed(taken):
                back.append((one, window, min(took, -rest)))
                rest += back[-1][2]
            return self.refund(back, seq), sum(took for _, _, took in back)
        wanted, window = rest, taken[0][1]
        rest -= self._count(window, min(rest, max(0, QUOTA - self._used_in(window))))
        for one, _, _ in taken[1:]:
            if one is not None and (one.is_counted or seq >= self.seq // EPOCH * EPOCH):
                takes = min(rest, max(0, one.units - one.used))
                one.used, rest = one.used + takes, rest - takes
                one.is_counted = one.is_counted or takes > 0
        rest -= self._count(window, rest)
        self.seq += rest < wanted
        return wanted - rest, wanted

    def _used_in(self, window: int) -> int:
        return self.used if window == self.window else self.ended[1]

    def _count(self, window: int, units: int) -> int:
        """In a window of the quota that the cache still has."""
        if window == self.window:
            self.used += units
        elif window == self.ended[0]:
            self.ended = (window, self.ended[1] + units)
        else:
            return 0
        return units

    def settle(self) -> None:
        if self.is_lost:
            return
        self.settled |= {window: used for window, used in (self.ended, (self.window, self.used)) if window}
        self.settled_seq = self.seq if self.settled else 0
        for one in self.grants:
            one.settled = one.used if one.is_counted else one.settled
            one.is_dropped = not one.is_revoked and one.used >= one.units


class Life(RuleBasedStateMachine):
    runner: asyncio.Runner
    parts: Parts
    receipts: Bundle[Any] = Bundle("receipts")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.customer_id, self.key, self.key_id = self.do(self.parts.customer(secrets.token_hex(8)))
        self.workers = [self.parts.another_worker() for _ in range(2)]
        self.do(self.workers[0].current_account(self.customer_id))
        self.grant_ids: list[str] = []

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    @property
    def now(self) -> int:
        return int(self.parts.clock.time)

    @rule(step_s=st.integers(1, 900) | st.integers(1, 3 * HOUR_S))
    def time_passes(self, step_s: int) -> None:
        self.parts.clock.time += step_s

    @rule(units=st.integers(1, 6), lasts_s=st.none() | st.integers(1, 4 * HOUR_S))
    def grant(self, units: int, lasts_s: int | None) -> None:
        expires_at = None if lasts_s is None else self.now + lasts_s
        if len(self.model.live(self.now)) >= 20 or any(one.expires_at == expires_at for one in self.model.grants):
            return  # of two that expire at once, ids decide, which the model does not know
        order = CreditOrder(units=units, expires_at=expires_at, reference=f"order {len(self.grant_ids)}")
        for is_new in (True, False):
            granted = self.do(
                self.parts.crediting.grant(self.customer_id, order, self.parts.policy.current, actor="test")
            )
            assert granted.is_new is is_new
        self.model.load()
        self.model.grants.append(Credits(units=units, granted_at=self.now, expires_at=expires_at))
        self.grant_ids.append(granted.row.grant.grant_id)

    @rule(many=st.integers(8, 12))
    def grant_many_small_ones(self, many: int) -> None:
        for number in range(many):
            self.grant(units=1, lasts_s=HOUR_S + number)

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        if not self.grant_ids:
            return
        place = data.draw(st.integers(0, len(self.grant_ids) - 1))
        one = self.model.grants[place]
        work = self.parts.crediting.revoke(self.customer_id, self.grant_ids[place], actor="test", because="test")
        try:
            self.do(work)
        except GrantNotFound:
            assert one.is_revoked or (one.expires_at is not None and one.expires_at <= self.now)
        else:
            assert not one.is_revoked
        self.model.load()
        one.is_revoked = True

    @rule(target=receipts, path=st.sampled_from(sorted(COSTS)), times=st.integers(1, 4), worker=st.integers(0, 1))
    def call(self, path: str, times: int, worker: int) -> list[tuple[Attempt, Any]]:
        made = []
        route = self.parts.policy.current.find_route("GET", path)
        assert route is not None
        if route.measures:
            route = price_call(route, [(b"x-units", b"%d" % COSTS[path])], None, b"")
        for _ in range(times):
            attempt = self.workers[worker].attempt(f"dec_{secrets.token_hex(6)}", "GET", path)
            expected = self.model.charge(COSTS[path], self.now)
            if expected is None:
                refusal = QuotaExceeded if self.model.could_wait(COSTS[path], self.now) else CostAboveLimit
                with pytest.raises(refusal):
                    self.do(self.workers[worker].admit(attempt, self.key, route))
                continue
            self.do(self.workers[worker].admit(attempt, self.key, route))
            made.append((attempt, expected))
        return made

    @rule(made=receipts, worker=st.integers(0, 1))
    def give_back(self, made: list[tuple[Attempt, Any]], worker: int) -> None:
        while made:
            attempt, taken = made.pop()
            given = self.model.refund(taken, attempt.seq)
            assert self.do(self.workers[worker].refund(attempt)) == ("given-back" if given else "nothing")

    @rule(
        path=st.sampled_from(sorted(COSTS)),
        times=st.integers(1, 4),
        worker=st.integers(0, 1),
        real=st.integers(0, 3) | st.integers(0, 12),
    )
    def call_that_turns_out_otherwise(self, path: str, times: int, worker: int, real: int) -> None:
        self.turn_out(self.call(path, times, worker), worker, real)

    @rule(made=receipts, worker=st.integers(0, 1), real=st.integers(0, 3) | st.integers(0, 12))
    def turn_out(self, made: list[tuple[Attempt, Any]], worker: int, real: int) -> None:
        while made:
            attempt, taken = made.pop()
            moved, wanted = self.model.correct(taken, real, attempt.seq)
            answer = self.do(self.workers[worker].settle(attempt, {"requests": real}))
            assert answer == "settled" if moved else answer in ({"nothing", "uncounted"} if wanted else {"nothing"})

    @rule()
    def settle(self) -> None:
        self.parts.settlement.note(self.customer_id, self.key_id, self.now)
        self.do(self.parts.settlement.settle())
        self.model.settle()

    @rule()
    def the_cache_loses_everything(self) -> None:
        self.do(self._lose())
        self.model.is_lost = True

    async def _lose(self) -> None:
        async with open_raw(self.parts.cache_url) as raw:
            await raw.delete(f"tg:{{{self.customer_id}}}:use", f"tg:{{{self.customer_id}}}:acct")

    @invariant()
    def what_is_left_is_what_the_model_says(self) -> None:
        quota, grants = self.do(self._look())
        model = copy.deepcopy(self.model)
        model.load()
        assert quota == model.quota_left(self.now)
        assert grants == [one.units - one.used for one in model.live(self.now)]

    async def _look(self) -> tuple[int | None, list[int]]:
        parts = self.parts
        reading = await read_counters(self.customer_id, cache=parts.cache, ledger=parts.ledger, clock=parts.clock)
        account = await parts.ledger.load_account(self.customer_id)
        assert account is not None
        limits = list_usage(account, decide_access(account, parts.policy.current, self.now), reading)
        return limits[1].remaining, [one.left for one in list_credits(account, reading)]


@pytest.mark.slow
def test_any_history_of_credits_matches_the_model(shared_cache_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tg") as folder, asyncio.Runner() as runner:
        policies = Path(folder) / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(POLICY)
        url = f"sqlite:///{folder}/ledger.sqlite3"
        migrate(url)
        ledger = runner.run(Ledger.open(url, deadline_s=PATIENT_S))
        cache = runner.run(Cache.connect(shared_cache_url, deadline_s=PATIENT_S, on_reconnect=None))
        parts = Parts(ledger, cache, TestClock(1_800_000_000.0), policies, KeyCodec(PEPPER, "test"), shared_cache_url)

        class LifeHere(Life):
            pass

        LifeHere.runner, LifeHere.parts = runner, parts
        try:
            run_state_machine_as_test(
                LifeHere,
                settings=settings(
                    max_examples=40,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(cache.aclose())
            runner.run(ledger.aclose())
