"""Charges, refunds, settlements, charge-backs, losses, fall-backs and publications in any order, against a plain model.

The model is written with Python's integers and no regard for speed. After every step, the
answer and everything that is stored must equal it. What was admitted, given back or not, is also
held against the promise itself, without any model of buckets: over every interval, no more than
the burst and what the pace gains.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
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

from gateway.cache import Cache, Receipt, prepare_settlement
from gateway.core.account import Account
from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    Charged,
    ChargeRefused,
    ChargeRequest,
    LimitState,
    QuotaClaim,
    RateClaim,
    WindowMoved,
)
from tests.cache.ends import refund
from tests.fakes.raw import everywhere, history_at, open_raw

if TYPE_CHECKING:
    from collections.abc import Coroutine


EPOCH = 2**32
OTHER = "0" * 40
"""Another history than the server's."""
TOLERANCE_MS = 5000
START_MS = 1_700_000_000_000
FAST = RateClaim(field="r:m:1000", cost=0, units=4, window_ms=1000, burst=6)
SLOW = RateClaim(field="r:m:30000", cost=0, units=7, window_ms=30_000, burst=9)
LOWER = RateClaim(field="r:m:30000", cost=0, units=3, window_ms=30_000, burst=4)
QUOTAS = {"q:m:10": (10, 7), "q:m:60": (60, 16)}
RATES = {"fast": FAST, "slow": SLOW, "lower": LOWER}


@dataclass
class Model:
    version: int = 0
    is_believed: bool = True
    """Its history is the server's: it was held against the ledger since."""
    kept: int = 0
    """The last sequence number that is in what was restored."""
    seq: int = 0
    seen_ms: int = 0
    taken_back_ms: int = 0
    """By how much time was set back: added to it, time is what has passed, and never runs back."""
    rates: dict[str, tuple[int, int]] = field(default_factory=dict)
    quotas: dict[str, tuple[int, int]] = field(default_factory=dict)
    ended: dict[str, tuple[int, int]] = field(default_factory=dict)
    ended_receipts: set[str] = field(default_factory=set)
    charged_more: Counter[str] = field(default_factory=Counter)
    """By settlements and charge-backs, which ask no limit, and by a clock that was in another window."""
    charged_back: set[str] = field(default_factory=set)

    def stored(self, history: str) -> dict[str, str]:
        if not self.version:
            return {}
        fields = {"v": str(self.version), "s": str(self.seq), "e": history if self.is_believed else OTHER}
        if self.kept:
            fields["k"] = str(self.kept)
        if self.seen_ms:
            fields["t"] = str(self.seen_ms)
        ended = {f"p{name[1:]}": value for name, value in self.ended.items()}
        return fields | {name: f"{a}|{b}" for name, (a, b) in (self.rates | self.quotas | ended).items()}

    def now_of(self, now_ms: int) -> int:
        return now_ms if self.seen_ms - now_ms > TOLERANCE_MS else max(now_ms, self.seen_ms)

    def charge(self, request: ChargeRequest) -> object:
        now_ms = self.now_of(request.now_ms)
        if not self.version or not self.is_believed:
            return AccountMissing(now_ms=now_ms)
        if self.version != request.version:
            return "stale"
        if (moved := self._moved(request.claims, now_ms)) is not None:
            return moved
        self._set_right(request.claims, now_ms)
        is_recounted = [self._recount(claim, now_ms) for claim in request.claims if isinstance(claim, QuotaClaim)]
        looks = [self._look(claim, now_ms) for claim in request.claims]
        if not all(need <= room for room, need, _ in looks):
            states = tuple(
                self._state(claim, room, 0 if need <= room else need, owed, now_ms, allowed=need <= room)
                for claim, (room, need, owed) in zip(request.claims, looks, strict=True)
            )
            self.seq += any(is_recounted)
            return ChargeRefused(now_ms=now_ms, states=states)
        for claim, (_, need, owed) in zip(request.claims, looks, strict=True):
            if claim.cost:
                self._spend(claim, owed + need, now_ms)
        is_spent = any(claim.cost for claim in request.claims)
        self.seq += is_spent or any(is_recounted)
        if is_spent:
            self.seen_ms = now_ms
        states = tuple(
            self._state(claim, room - need, 0, owed + need, now_ms, allowed=True)
            for claim, (room, need, owed) in zip(request.claims, looks, strict=True)
        )
        return Charged(now_ms=now_ms, states=states, seq=self.seq if any(claim.cost for claim in request.claims) else 0)

    def _moved(self, claims: tuple[RateClaim | QuotaClaim, ...], now_ms: int) -> WindowMoved | None:
        for claim in claims:
            if not isinstance(claim, QuotaClaim):
                continue
            if not claim.starts_at * 1000 <= now_ms < claim.ends_at * 1000:
                return WindowMoved(now_ms=now_ms)
            begins_ms = self.quotas.get(claim.field, (0, 0))[0] * 1000
            if now_ms < begins_ms <= now_ms + TOLERANCE_MS:
                self.taken_back_ms += max(0, self.seen_ms - begins_ms)
                self.seen_ms = begins_ms
                return WindowMoved(now_ms=begins_ms)
        return None

    def settle(self, receipt: Receipt, costs: list[int]) -> list[int]:
        if not self.version or not self.is_believed:
            return [0, 0, -1]
        given, taken, missed = 0, 0, 0
        if receipt.receipt_id in self.ended_receipts:
            return [0, 0, 0]
        self.ended_receipts.add(receipt.receipt_id)
        for (name, starts_at, charged), cost in zip(receipt.parts, costs, strict=True):
            windows = [counts for counts in (self.quotas, self.ended) if counts.get(name, (None, 0))[0] == starts_at]
            if not windows and starts_at < self.quotas.get(name, (0, 0))[0] <= receipt.charged_at:
                windows = [self.quotas]
            if not windows or (cost < charged and not self._has(receipt)):
                missed += abs(cost - charged)
                continue
            since, used = windows[0][name]
            after = max(0, used + cost - charged)
            windows[0][name] = (since, after)
            given, taken = given + max(0, used - after), taken + max(0, after - used)
            self.charged_more[name] += max(0, after - used)
        self.seq += bool(given or taken)
        return [given, taken, missed]

    def _has(self, receipt: Receipt) -> bool:
        """Whether what is counted has the charge: it was counted since it was restored, or is in what was restored."""
        since = self.seq // EPOCH * EPOCH
        return receipt.seq >= since or self.kept // EPOCH * EPOCH <= receipt.seq <= self.kept

    def charge_back(self, receipt: Receipt) -> tuple[int, int] | None:
        if not self.version or not self.is_believed:
            return None
        if receipt.receipt_id in self.charged_back:
            return 0, 0
        self.charged_back.add(receipt.receipt_id)
        counted = sum(self._put(*part, receipt.charged_at) for part in receipt.parts)
        self.seq += bool(counted)
        return counted, self.seq if counted else 0

    def restore(self, version: int, ledger: Ledger) -> None:
        """What is here, and is not believed or is nothing, is held against the ledger."""
        newest, before, seq = ledger.kept()
        for counts, known in ((self.quotas, newest), (self.ended, before)):
            for name, (starts_at, used) in known.items():
                here = counts.get(name, (-1, 0))
                if here[0] < starts_at or (here[0] == starts_at and self.seq < seq and here[1] < used):
                    counts[name] = (starts_at, used)
        latest = max(self.seq, seq)
        self.version, self.is_believed, self.seq = version, True, (latest // EPOCH + 1) * EPOCH
        self.kept = latest if latest >= EPOCH else 0

    def _put(self, name: str, starts_at: int, units: int, charged_at: int) -> int:
        since, used = self.quotas.get(name, (0, 0))
        if starts_at < since <= charged_at:
            starts_at = since
        if since <= starts_at:
            if name in self.quotas and since < starts_at:
                self.ended[name] = (since, used)
            self.quotas[name] = (starts_at, units + (used if since == starts_at else 0))
            self.charged_more[name] += units
            return units
        before, ended = self.ended.get(name, (0, 0))
        if before > starts_at:
            return 0
        self.ended[name] = (starts_at, units + (ended if before == starts_at else 0))
        return units

    def _set_right(self, claims: tuple[RateClaim | QuotaClaim, ...], now_ms: int) -> None:
        if claims and self.seen_ms > now_ms:
            self.taken_back_ms += self.seen_ms - now_ms
            self.seen_ms = now_ms
        for claim in claims:
            at_ms, debt = self.rates.get(claim.field, (0, 0))
            if at_ms > now_ms:
                self.rates[claim.field] = (now_ms, debt)

    def _recount(self, claim: QuotaClaim, now_ms: int) -> bool:
        """What a clock that was wrong counted in a window ahead was spent in that of now."""
        since, used = self.quotas.get(claim.field, (0, 0))
        if since * 1000 <= now_ms:
            return False
        before, ended = self.ended.get(claim.field, (0, 0))
        starts_at = claim.starts_at
        if starts_at <= before <= now_ms // 1000:
            starts_at = before
            used += ended
            self.charged_more[claim.field] += ended
            del self.ended[claim.field]
        self.quotas[claim.field] = (starts_at, used)
        return True

    def _spend(self, claim: RateClaim | QuotaClaim, total: int, now_ms: int) -> None:
        if isinstance(claim, RateClaim):
            self.rates[claim.field] = (now_ms, total)
            return
        before = self.quotas.get(claim.field)
        if before is not None and before[0] < claim.starts_at:
            self.ended[claim.field] = before
        self.quotas[claim.field] = (self._window(claim), total)

    def _window(self, claim: QuotaClaim) -> int:
        return max(claim.starts_at, self.quotas.get(claim.field, (0, 0))[0])

    def _look(self, claim: RateClaim | QuotaClaim, now_ms: int) -> tuple[int, int, int]:
        if isinstance(claim, RateClaim):
            at_ms, debt = self.rates.get(claim.field, (now_ms, 0))
            owed = max(0, debt - (now_ms - at_ms) * claim.units)
            return claim.burst * claim.window_ms - owed, claim.cost * claim.window_ms, owed
        starts_at, used = self.quotas.get(claim.field, (0, 0))
        owed = used if starts_at >= claim.starts_at else 0
        return claim.limit - owed, claim.cost, owed

    def _state(
        self, claim: RateClaim | QuotaClaim, left: int, lacking: int, owed: int, now_ms: int, *, allowed: bool
    ) -> LimitState:
        if isinstance(claim, QuotaClaim):
            return LimitState(remaining=max(0, left), reset_ms=claim.ends_at * 1000 - now_ms, allowed=allowed)
        if allowed:
            reset_ms = -(-owed // claim.units)
        elif claim.cost > claim.burst:
            reset_ms = max(claim.window_ms, -(-owed // claim.units))
        else:
            reset_ms = -(-(lacking - left) // claim.units)
        return LimitState(remaining=max(0, left) // claim.window_ms, reset_ms=reset_ms, allowed=allowed)


class Ledger:
    """Its totals, and the number of each; a reading is taken where it is later."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, int], tuple[int, int]] = {}

    def settle(self, readings: dict[str, tuple[int, int]], seq: int) -> None:
        for name, (starts_at, used) in readings.items():
            if seq > self.totals.get((name, starts_at), (0, 0))[1]:
                self.totals[name, starts_at] = (used, seq)

    def kept(self) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]], int]:
        """The newest window of each counter, the one before, and the highest number."""
        ranked: dict[str, list[tuple[int, int]]] = {}
        for (name, starts_at), (used, _) in sorted(self.totals.items(), key=lambda one: (one[1][1], one[0][1])):
            ranked.setdefault(name, []).insert(0, (starts_at, used))
        newest = {name: windows[0] for name, windows in ranked.items()}
        before = {name: windows[1] for name, windows in ranked.items() if windows[1:] and windows[1][0] < windows[0][0]}
        return newest, before, max((seq for _, seq in self.totals.values()), default=0)


def quota_claim(name: str, cost: int, now_ms: int) -> QuotaClaim:
    length_s, limit = QUOTAS[name]
    starts_at = now_ms // 1000 // length_s * length_s
    return QuotaClaim(field=name, cost=cost, limit=limit, starts_at=starts_at, ends_at=starts_at + length_s)


class Life(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.customer_id = secrets.token_hex(6)
        self.model = Model()
        self.ledger_version = 1
        self.ledger = Ledger()
        self.copies: list[tuple[dict[str, str], Model]] = []
        """What replicas have, that may take over."""
        self.now_ms = START_MS
        self.receipts: list[Receipt] = []
        self.charged_back: list[Receipt] = []
        self.admitted: dict[str, list[tuple[int, int]]] = {}
        self.cache, self.raw = self.runner.run(self._connect())
        self.history = self.do(history_at(self.raw, f"tg:{{{self.customer_id}}}:use"))

    async def _connect(self) -> tuple[Cache, Redis]:
        return await Cache.connect(self.url, deadline_s=30), open_raw(self.url)

    def teardown(self) -> None:
        self.do(self.cache.aclose())
        self.do(self.raw.aclose())
        self.runner.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def decide(self, request: ChargeRequest) -> object:
        answer = self.do(self.cache.charge(request))
        expected = self.model.charge(request)
        if expected == "stale":
            assert isinstance(answer, AccountStale)
            assert answer.version == self.model.version
        else:
            assert answer == expected
        if isinstance(answer, Charged):
            assert isinstance(expected, Charged)
            assert answer.seq == expected.seq
            for claim in request.claims:
                if isinstance(claim, RateClaim) and claim.cost:  # what costs nothing leaves no trace, not even t
                    spent = claim.cost * claim.window_ms
                    self.admitted.setdefault(claim.field, []).append((answer.now_ms + self.model.taken_back_ms, spent))
        return answer

    def claims(
        self, rates: set[str], quotas: set[str], cost: int, earlier_s: int = 0
    ) -> tuple[RateClaim | QuotaClaim, ...]:
        paced = [replace(RATES[name], cost=cost) for name in sorted(rates)]
        if {"slow", "lower"} <= rates:  # one tier or the other: they share the bucket
            paced = [claim for claim in paced if claim.burst != LOWER.burst]
        now_ms = self.model.now_of(self.now_ms)
        wanted = [quota_claim(name, cost, now_ms) for name in sorted(quotas)]
        claims = [*paced, *(replace(claim, starts_at=claim.starts_at - earlier_s) for claim in wanted)]
        return tuple(reversed(claims)) if self.now_ms % 2 else tuple(claims)

    @rule(step_ms=st.integers(0, 400) | st.integers(0, 40_000))
    def time_passes(self, step_ms: int) -> None:
        self.now_ms += step_ms

    @rule(step_ms=st.integers(1, 5_000))
    def a_failover_sets_the_clock_back(self, step_ms: int) -> None:
        self.now_ms -= step_ms

    @rule(step_ms=st.integers(TOLERANCE_MS + 1, 100_000))
    def a_clock_that_was_far_ahead_is_set_right(self, step_ms: int) -> None:
        self.now_ms -= step_ms

    @rule(
        rates=st.sets(st.sampled_from(sorted(RATES))),
        quotas=st.sets(st.sampled_from(sorted(QUOTAS))),
        cost=st.integers(0, 4) | st.sampled_from([7, 10]),
        times=st.integers(1, 6),
        earlier_s=st.just(0) | st.integers(1, 20),
    )
    def charge(self, rates: set[str], quotas: set[str], cost: int, times: int, earlier_s: int) -> None:
        """Of an account whose dates may have been moved back."""
        for _ in range(times):
            request = ChargeRequest(
                customer_id=self.customer_id,
                version=self.ledger_version,
                claims=self.claims(rates, quotas, cost, earlier_s),
                now_ms=self.now_ms,
            )
            answer = self.decide(request)
            if isinstance(answer, Charged):
                self.receipts.append(
                    Receipt(
                        customer_id=self.customer_id,
                        receipt_id=secrets.token_hex(4),
                        parts=tuple(
                            (claim.field, claim.starts_at, claim.cost)
                            for claim in request.claims
                            if isinstance(claim, QuotaClaim)
                        ),
                        seq=answer.seq,
                        charged_at=answer.now_ms // 1000,
                    )
                )

    @rule(cost=st.integers(1, 4), rates=st.sets(st.sampled_from(sorted(RATES)), min_size=1))
    def honour_what_a_refusal_says(self, cost: int, rates: set[str]) -> None:
        request = ChargeRequest(
            customer_id=self.customer_id,
            version=self.ledger_version,
            claims=self.claims(rates, set(QUOTAS), cost),
            now_ms=self.now_ms,
        )
        answer = self.decide(request)
        if isinstance(answer, ChargeRefused):
            wait_ms = max(state.reset_ms for state in answer.states if not state.allowed)
            self.now_ms = answer.now_ms + wait_ms
            later = replace(request, claims=self.claims(rates, set(QUOTAS), cost), now_ms=self.now_ms)
            assert isinstance(self.decide(later), Charged)

    @rule(behind=st.integers(1, 2))
    def decide_on_an_old_version(self, behind: int) -> None:
        request = ChargeRequest(
            customer_id=self.customer_id,
            version=max(0, self.ledger_version - behind),
            claims=self.claims({"fast"}, set(QUOTAS), 1),
            now_ms=self.now_ms,
        )
        assert isinstance(self.decide(request), AccountStale | AccountMissing)

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        receipt = data.draw(st.sampled_from(self.receipts))
        given, *_ = self.model.settle(receipt, [0] * len(receipt.parts))
        assert self.do(refund(self.cache, receipt)) == given

    @precondition(lambda self: self.receipts)
    @rule(data=st.data())
    def settle_a_receipt(self, data: st.DataObject) -> None:
        receipt = data.draw(st.sampled_from(self.receipts))
        costs = [data.draw(st.integers(0, 12)) for _ in receipt.parts]
        answer = self.do(self._settle(receipt, costs))
        assert answer == self.model.settle(receipt, costs)

    async def _settle(self, receipt: Receipt, costs: list[int]) -> list[int]:
        return await self.cache.settle_packed(prepare_settlement(receipt, costs))

    @rule(
        parts=st.lists(st.tuples(st.sampled_from(sorted(QUOTAS)), st.integers(-2, 1), st.integers(1, 9)), max_size=3),
        ago_s=st.integers(0, 70),
    )
    def charge_back_what_was_let_in(self, parts: list[tuple[str, int, int]], ago_s: int) -> None:
        owed = []
        for name, windows, units in parts:
            claim = quota_claim(name, units, self.model.now_of(self.now_ms))
            owed.append((name, claim.starts_at + windows * QUOTAS[name][0], units))
        receipt = Receipt(
            customer_id=self.customer_id,
            receipt_id=secrets.token_hex(4),
            parts=tuple(owed),
            charged_at=self.model.now_of(self.now_ms) // 1000 - ago_s,
        )
        self.charged_back.append(receipt)
        self.charge_back(receipt)

    @precondition(lambda self: self.charged_back)
    @rule(data=st.data())
    def charge_back_once_more(self, data: st.DataObject) -> None:
        self.charge_back(data.draw(st.sampled_from(self.charged_back)))

    def charge_back(self, receipt: Receipt) -> None:
        assert self.do(self.cache.charge_back(receipt)) == self.model.charge_back(receipt)

    @initialize()
    def begin(self) -> None:
        self.publish_version(self.ledger_version)

    @rule(is_changed=st.booleans())
    def publish(self, is_changed: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.ledger_version += is_changed
        self.publish_version(self.ledger_version)

    @rule(behind=st.integers(1, 3))
    def publish_late(self, behind: int) -> None:
        if self.model.version and self.ledger_version > behind:
            self.publish_version(self.ledger_version - behind)

    def publish_version(self, version: int) -> None:
        account = Account(customer_id=self.customer_id, user_id="u", version=version, created_at=0)
        counters, ended, seq = self.ledger.kept()
        work = self.cache.publish(account, counters=counters, ended=ended, seq_floor=seq, expires_s=600)
        assert self.do(work) == (version > self.model.version or not self.model.is_believed)
        if not self.model.version or not self.model.is_believed:
            self.model.restore(version, self.ledger)
        self.model.version = max(version, self.model.version)

    @rule()
    def settle(self) -> None:
        reading = self.do(self.cache.read_usage(self.customer_id))
        if not self.model.version:
            assert reading is None
            return
        assert (reading.version, reading.seq, reading.quotas, reading.ended) == (
            self.model.version,
            self.model.seq,
            self.model.quotas,
            self.model.ended,
        )
        assert reading.seq >= self.ledger.kept()[2] or not self.model.is_believed
        self.ledger.settle(reading.ended, reading.seq)
        self.ledger.settle(reading.quotas, reading.seq)

    @rule(is_repaired=st.booleans())
    def lose_everything(self, is_repaired: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        self.do(self.raw.flushall())
        self.model = Model(charged_more=self.model.charged_more)
        self.admitted.clear()
        if is_repaired:
            self.publish_version(self.ledger_version)

    @rule()
    def a_replica_stays_behind(self) -> None:
        stored = self.do(self.raw.hgetall(f"tg:{{{self.customer_id}}}:use"))
        if stored:
            self.copies.append((stored, copy.deepcopy(self.model)))

    @precondition(lambda self: self.copies)
    @rule(data=st.data(), is_repaired=st.booleans())
    def a_replica_takes_over(self, data: st.DataObject, is_repaired: bool) -> None:  # noqa: FBT001 - hypothesis draws it
        stored, model = data.draw(st.sampled_from(self.copies))
        self.do(self._replace({**stored, "e": OTHER}))
        now = self.model
        self.model = replace(copy.deepcopy(model), is_believed=False, charged_more=now.charged_more)
        self.model.ended_receipts, self.model.charged_back = now.ended_receipts, now.charged_back
        self.admitted.clear()
        if is_repaired:
            self.publish_version(self.ledger_version)

    async def _replace(self, stored: dict[str, str]) -> None:
        key = f"tg:{{{self.customer_id}}}:use"
        await self.raw.delete(key)
        await self.raw.hset(key, mapping=stored)

    @rule()
    def forget_the_scripts(self) -> None:
        self.do(self.raw.execute_command("SCRIPT FLUSH", **everywhere(self.raw)))

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        assert self.do(self.raw.hgetall(f"tg:{{{self.customer_id}}}:use")) == self.model.stored(self.history)

    @invariant()
    def nothing_is_negative_and_only_what_asks_no_limit_exceeds_a_quota(self) -> None:
        assert all(debt >= 0 for _, debt in self.model.rates.values())
        for name, (_, used) in self.model.quotas.items():
            assert 0 <= used <= QUOTAS[name][1] + self.model.charged_more[name]

    @invariant()
    def no_interval_admits_more_than_the_burst_and_its_gain(self) -> None:
        fastest = {"r:m:1000": FAST, "r:m:30000": SLOW}
        for name, events in self.admitted.items():
            rate = fastest[name]
            for first in range(len(events)):
                spent = accumulate(amount for _, amount in events[first:])
                for (at_ms, _), total in zip(events[first:], spent, strict=True):
                    gained = rate.units * (at_ms - events[first][0])
                    assert total <= rate.burst * rate.window_ms + gained


def test_any_history_matches_the_model(cache_url: str) -> None:
    class LifeHere(Life):
        url = cache_url

    run_state_machine_as_test(
        LifeHere,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
