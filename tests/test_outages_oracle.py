"""Calls, outages, refunds, settlements and losses in any order, against a plain count of what was let in and billed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis

from gateway.cache import Cache
from gateway.core.errors import CapacityReduced, QuotaExceeded
from gateway.core.keys import KeyCodec
from gateway.ledger import Ledger, migrate
from gateway.outages import CALM_S
from tests.caches import line_to
from tests.conftest import PATIENT_S, PEPPER, POLICY, Parts, TestClock
from tests.fakes.cluster_line import ClusterLine
from tests.fakes.line import Line
from tests.fakes.raw import open_raw
from tests.steps import admit, all_back, pro, subscribe

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.admission import Attempt

QUOTA, LOCAL = 50, 10
PATHS = {1: ("GET", "/v1/echo"), 5: ("POST", "/v1/render/a")}


@dataclass
class Call:
    """One that passed."""

    attempt: Attempt
    cost: int
    was_let_in: bool
    """In this outage, and not charged back yet."""
    outage: int
    """Number of the outage in which it was let in; 0: the cache has decided."""
    losses: int
    """Of the cache, before it was counted."""


class Stage:
    """What all histories share: a ledger, a cache, and the line between."""

    def __init__(self, cache_url: str, folder: Any) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.parts, self.line, self.raw = self.do(self._open(cache_url, folder))
        self.users = 0

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def _open(self, cache_url: str, folder: Any) -> tuple[Parts, Line | ClusterLine, Redis]:
        (folder / "policy.yaml").write_text(POLICY)
        url = f"sqlite:///{folder / 'ledger.sqlite3'}"
        await asyncio.to_thread(migrate, url)
        ledger = await Ledger.open(url, deadline_s=PATIENT_S)
        self.stack.push_async_callback(ledger.aclose)
        raw = open_raw(cache_url)
        self.stack.push_async_callback(raw.aclose)
        line = await self.stack.enter_async_context(line_to(cache_url))
        cache = await Cache.connect(line.url, deadline_s=30)
        self.stack.push_async_callback(cache.aclose)
        await all_back(cache)
        return Parts(ledger, cache, TestClock(1_800_000_000.0), folder, KeyCodec(PEPPER, "test"), cache_url), line, raw

    def close(self) -> None:
        self.do(self.stack.aclose())
        self.runner.close()


class Life(RuleBasedStateMachine):
    """One customer and one worker."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.do, self.parts, self.line = self.stage.do, self.stage.parts, self.stage.line
        self.admission = self.parts.another_worker()
        self.outages = self.parts.outages
        self.monotonic_s = 1000.0
        self.outages._monotonic = lambda: self.monotonic_s
        self.is_up, self.used, self.spent, self.let_in, self.above, self.outage = True, 0, 0, 0, 0, 1
        self.losses = 0
        self.exhausted_at: int | None = None
        """The least cost that the quota could not pay."""
        self.calls: list[Call] = []
        self.customer_id, self.key = self.do(self._customer())

    async def _customer(self) -> tuple[str, bytes]:
        self.stage.users += 1
        customer_id, key, _ = await self.parts.customer(f"user{self.stage.users}")
        await subscribe(self.parts, customer_id, pro(self.parts.clock, subscription_id=f"sub_{self.stage.users}"))
        await admit(self.admission, key)
        self.used = 1
        return customer_id, key

    def teardown(self) -> None:
        if not self.is_up:
            self.mend()
        self.the_counter_is_what_was_billed()

    @rule(cost=st.sampled_from(sorted(PATHS)))
    def call(self, cost: int) -> None:
        self.parts.clock.time += 1
        try:
            attempt = self.do(admit(self.admission, self.key, *PATHS[cost]))
        except QuotaExceeded:
            assert self.is_up
            assert self.used + cost > QUOTA
            self.exhausted_at = min(cost, self.exhausted_at or cost)
            return
        except CapacityReduced:
            assert not self.is_up
            was_used_up = self.exhausted_at is not None and cost >= self.exhausted_at
            assert self.spent + cost > LOCAL or was_used_up
            return
        if self.is_up:
            assert self.used + cost <= QUOTA
        else:
            self.spent, self.let_in = self.spent + cost, self.let_in + cost
            assert self.spent <= LOCAL
        self.used += cost
        self.calls.append(Call(attempt, cost, not self.is_up, 0 if self.is_up else self.outage, self.losses))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        answer = self.do(self.admission.refund(call.attempt))
        assert answer in {"given-back" if self._is_counted(call) else "nothing", "lost"}
        assert answer != "lost" or not self.is_up
        assert answer == "lost" or self.is_up or call.was_let_in, "what the cache has counted cannot be given back"
        self.used -= call.cost * (answer == "given-back")

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), real=st.sampled_from([0, 1, 4, 5, 7, 30]))
    def settle(self, data: st.DataObject, real: int) -> None:
        call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        more = max(0, real - call.cost)
        answer = self.do(self.admission.settle(call.attempt, {"requests": real}))
        if call.outage == self.outage:
            self.spent += more
        if answer == "lost":
            assert not self.is_up
            assert not call.was_let_in
            return
        if real < call.cost and not self._is_counted(call):
            assert answer == "uncounted"
            return
        assert answer == "settled" or real == call.cost
        self.used += real - call.cost
        self.above += more

    def _is_counted(self, call: Call) -> bool:
        """Whether what is counted is known to have it: what was restored twice is not."""
        return call.was_let_in or self.losses <= call.losses + 1

    @precondition(lambda self: self.is_up)
    @rule()
    def cut(self) -> None:
        self.do(self.line.close())
        self.is_up = False

    @precondition(lambda self: not self.is_up)
    @rule()
    def charge_back_in_vain(self) -> None:
        assert self.do(self.outages.charge_back()) == []

    @precondition(lambda self: not self.is_up)
    @rule()
    def mend(self) -> None:
        self.do(self.line.open())
        self.do(all_back(self.parts.cache, 30))
        for _ in range(20):  # a connection of before the outage may still be in the pool
            self.do(self.outages.charge_back())
        assert not self.outages.owed_units
        self.is_up = True
        for call in self.calls:
            if call.was_let_in:
                call.was_let_in, call.losses = False, self.losses
        self.the_counter_is_what_was_billed()

    @rule(is_long=st.booleans())
    def time_passes(self, is_long: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.monotonic_s += CALM_S if is_long else CALM_S / 4
        self.do(self.outages.charge_back())  # every moment, so it sees too that the cache is away
        if self.is_up and is_long:
            self.spent = 0
            self.outage += 1

    @precondition(lambda self: self.is_up)
    @rule()
    def lose_the_cache_after_a_settlement(self) -> None:
        self.parts.settlement.note_moved(self.customer_id)
        self.do(self.parts.settlement.settle())
        self.do(self.stage.raw.delete(*(f"tg:{{{self.customer_id}}}:{name}" for name in ("use", "acct"))))
        self.do(self.admission.current_account(self.customer_id))  # loads it
        self.losses += 1

    def the_counter_is_what_was_billed(self) -> None:
        reading = self.do(self.parts.cache.read_usage(self.customer_id))
        counted = reading.quotas.get("q:requests:period", (0, 0))[1]
        assert counted == self.used
        assert counted <= QUOTA + self.let_in + self.above


@pytest.mark.slow
def test_any_history_is_counted_to_the_unit(shared_cache_url, tmp_path):
    class LifeHere(Life):
        stage = Stage(shared_cache_url, tmp_path)

    try:
        run_state_machine_as_test(
            LifeHere,
            settings=settings(
                max_examples=20,
                stateful_step_count=25,
                deadline=None,
                phases=[Phase.reuse, Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        LifeHere.stage.close()
