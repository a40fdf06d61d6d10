"""One request of one key is decided and charged: it is let through, or refused with the reason why.

The worker decides on the snapshot it holds; the charge script refuses a decision made on
an old one and hands back the current one. So a decision takes one round trip when nothing
changed, and can never outlive a revocation, a downgrade or a policy edit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from gateway.admission.attempt import Attempt, PolicySource, Returned, Settled, receipt_of
from gateway.admission.cache_time import TOLERANCE_MS, CacheTime
from gateway.admission.charging import Charging
from gateway.admission.ending import Ending
from gateway.admission.ready import Ready
from gateway.admission.ready_plans import ReadyPlans
from gateway.admission.snapshots import ROUNDS, Snapshots
from gateway.cache import CHARGED, Cache, CacheUnavailable, charge_answer
from gateway.clock import Clock
from gateway.core.account import Account
from gateway.core.charge import AccountMissing, AccountStale, ChargeAnswer, Charged, ChargeRefused
from gateway.core.decision import find_key
from gateway.core.errors import CapacityReduced, InvalidKey, TiergateError
from gateway.core.keys import KeyCodec, PresentedKey
from gateway.core.refused_charge import charge_denied
from gateway.core.route import Route
from gateway.leasing import Leasing
from gateway.live_calls import LiveCalls
from gateway.outages import Outages
from gateway.publishing import Publisher

_NOT_SEEN = "The limits cannot be checked right now, and this key was not seen here in the last 15 minutes."
_NOT_ALLOWED = "The limits cannot be checked right now, and when they last were, this call was not allowed."
"""No word of why not: what an account allowed minutes ago may be wrong by now."""


class Admission:
    """Decides and charges."""

    def __init__(
        self,
        cache: Cache,
        publisher: Publisher,
        policy: PolicySource,
        codec: KeyCodec,
        clock: Clock,
        outages: Outages,
        *,
        entries: int,
        leasing: Leasing | None = None,
    ) -> None:
        self._policy = policy
        self._codec = codec
        self._time = CacheTime(clock)
        self._outages = outages
        self.live = LiveCalls(cache, clock)
        """The calls in progress that hold places; tell of their ends."""
        self._snapshots = Snapshots(cache, publisher, self._time, entries, leasing)
        self._plans = ReadyPlans(policy, self._snapshots, entries, leasing)
        self._charging = Charging(cache, clock, self.live)
        self._ending = Ending(cache, publisher, outages)
        self._ready = self._plans.by_call
        """Held here too: every call looks there."""

    @property
    def holds_accounts(self) -> bool:
        """Whether there is anybody whom this worker could let in while the cache cannot decide."""
        return bool(self._snapshots)

    def attempt(self, decision_id: str, method: str, path: str, **about: Any) -> Attempt:
        """Start a decision under the policy in force now; it keeps that policy to its end. `about`: as `Attempt`."""
        return Attempt(decision_id, method, path, self._policy.current, **about)

    async def admit(self, attempt: Attempt, presented: bytes | None, route: Route | None = None) -> None:
        """Decide and charge. What was charged can be given back with `refund`.

        Args:
            attempt: Filled with what was found on the way.
            presented: The key as sent, or None.
            route: Charged instead of the policy's own: the same at another price.

        Raises:
            Rejected, Denied: With nothing charged.
            CapacityReduced: The cache or the ledger cannot answer, and policy lets nobody through without.
        """
        if presented is None:
            raise InvalidKey
        policy = attempt.policy
        attempt.now = self._time.now()
        route = attempt.route = route or policy.find_route(attempt.method, attempt.path)
        ready = self._ready.get((presented, id(route)))
        try:
            if ready is not None and ready.policy is policy and attempt.now < ready.until:
                attempt.account, attempt.plan, attempt.ready = ready.account, ready.plan, ready
                if (gate := attempt.gate) is not None:
                    gate(ready.account, ready.plan)
                if attempt.once is not None:
                    await self._admit_once(attempt, ready, presented)
                    return
                lessee = ready.lessee
                if lessee is not None and (leased := lessee.take()) is not None:
                    attempt.reply, attempt.is_leased = leased, True
                    return
                reply = await self._charging.charge_ready(attempt, ready)
                if reply[0] == CHARGED:
                    attempt.reply = reply
                    if lessee is not None:
                        lessee.charged()
                    off_ms = reply[1] - attempt.now * 1000
                    ready.held.confirmed_at = (
                        attempt.now if -TOLERANCE_MS < off_ms < TOLERANCE_MS else self._follow(attempt, reply[1])
                    )
                    return
                attempt.ready = None
                await self._decide(attempt, self._codec.parse(presented), charge_answer(ready.plan.claims, reply))
            else:
                await self._decide(attempt, self._codec.parse(presented), None)
        except CacheUnavailable as error:
            self._go_without(attempt, self._codec.parse(presented), error)
        else:
            self._plans.keep(attempt, presented)

    def _go_without(self, attempt: Attempt, key: PresentedKey, error: CacheUnavailable) -> None:
        """The cache cannot decide: go by the account that this worker holds, as the tier's policy says.

        Raises:
            CacheUnavailable: It is not let in.
            RateLimited: It is too fast for this worker alone.
        """
        held, ready = self._snapshots.find(key.customer_id), attempt.ready
        attempt.take(None)
        if held is not None:
            self._outages.note_asked(key.customer_id)
        if held is None or not held.is_fresh(attempt.now):
            attempt.account = attempt.plan = attempt.ready = None
            raise CacheUnavailable(_NOT_SEEN, reason=error.reason) from error
        attempt.account = held.account
        if ready is None or ready.held is not held:
            attempt.ready = None
            if (refusal := attempt.make_plan(key.digest)) is not None:
                words = _NOT_SEEN if isinstance(refusal, InvalidKey) else _NOT_ALLOWED
                raise CacheUnavailable(words, reason=error.reason) from error
        if attempt.plan is None:
            raise AssertionError("an account makes a plan or a refusal")
        if attempt.gate is not None:
            attempt.gate(held.account, attempt.plan)
        call, attempt.once = attempt.once, None  # nobody knows what was charged under its Idempotency-Key
        attempt.outage = self._outages.judge(held.account, attempt.plan, receipt_of(attempt), error)
        if attempt.outage.too_fast:
            raise charge_denied(attempt.plan, attempt.outage.too_fast) from error
        if attempt.outage.refusal is not None:
            raise CacheUnavailable(attempt.outage.refusal, reason=error.reason) from error
        if call is not None and error.may_have_happened:  # then the key says that this call is in flight
            attempt.once = call
            self._charging.hold_key(attempt, held.account.customer_id)

    async def follow_ledger(self) -> None:
        """While the cache cannot decide, take what the ledger knows of those who call; run it every moment.

        So a key that is revoked meanwhile, a block and an upgrade are known here soon after, and an account that
        has not changed counts as confirmed.

        Raises:
            LedgerUnavailable: Accounts grow old.
        """
        await self._snapshots.follow_ledger(self._outages.take_asked(), self._time.now())

    async def _admit_once(self, attempt: Attempt, ready: Ready, presented: bytes) -> None:
        """As `admit`, of a call with an Idempotency-Key whose plan is ready."""
        answer = await self._charging.charge(attempt, ready.account.customer_id)
        await self._decide(attempt, self._codec.parse(presented), answer)
        if attempt.plan is not ready.plan:
            attempt.ready = None

    async def _decide(self, attempt: Attempt, key: PresentedKey, answer: ChargeAnswer | None) -> None:
        """Plan and charge until both are of the same account; `answer` is that to a charge of the plan so far."""
        refusal: TiergateError | None = None
        if answer is None:
            attempt.account = self._snapshots.find_account(key.customer_id)
            refusal = attempt.make_plan(key.digest)
            answer = await self._charging.charge(attempt, key.customer_id)
        for _ in range(ROUNDS):
            is_off = abs(answer.now_ms - attempt.now * 1000) >= TOLERANCE_MS
            if is_off:
                self._follow(attempt, answer.now_ms)
            match answer:
                case Charged() if attempt.account is not None and not (is_off and refusal is not None):
                    self._snapshots.confirm(attempt.account, attempt.now)
                    if refusal is not None:
                        raise refusal
                    attempt.take(answer)
                    return
                case ChargeRefused() if attempt.plan is not None and attempt.account is not None:
                    self._snapshots.confirm(attempt.account, attempt.now)
                    self._outages.note_refused(key.customer_id, attempt.plan, answer.states, attempt.now)
                    attempt.take(answer)
                    raise charge_denied(attempt.plan, answer.states)
                case AccountStale():
                    account = await self._snapshots.take(key.customer_id, answer, attempt.account, attempt.now)
                    attempt.account = account
                case AccountMissing():
                    attempt.account = await self._snapshots.load(key.customer_id, attempt.now)
                case _:
                    self._time.follow(answer.now_ms, within_ms=0)
                    attempt.now = answer.now_ms / 1000
            refusal = attempt.make_plan(key.digest)
            answer = await self._charging.charge(attempt, key.customer_id)
        raise CapacityReduced("The account kept changing while this call was decided.")

    def _follow(self, attempt: Attempt, now_ms: int) -> float:
        """The cache's answer to an attempt shows that the time it was decided at was not the cache's: the time now."""
        self._time.follow(now_ms)
        attempt.now = now_ms / 1000
        return attempt.now

    def refund(self, attempt: Attempt) -> Awaitable[Returned]:
        """Give back what was charged: see `Ending.refund`."""
        return self._ending.refund(attempt)

    def settle(self, attempt: Attempt, costs: Mapping[str, int]) -> Awaitable[Settled]:
        """Correct what was charged to what it cost: see `Ending.settle`."""
        return self._ending.settle(attempt, costs)

    def owe(self, attempt: Attempt, costs: Mapping[str, int]) -> Awaitable[bool]:
        """Count what was used although nothing could be charged for it: see `Ending.owe`."""
        return self._ending.owe(attempt, costs)

    def end_once(self, attempt: Attempt) -> None:
        """Let repeats of a call pass that has ended: see `Ending.end_once`."""
        self._ending.end_once(attempt)

    async def foresee(self, attempt: Attempt, presented: bytes, *, is_whole: bool) -> None:
        """Refuse what no price could let in, and take its place among the calls in progress, before its body is read.

        Args:
            attempt: With its route; filled with account and plan, at the price that is known so far.
            presented: The key as sent.
            is_whole: The body has come, so nobody is waited for: the account that is held will do, if it says yes.

        Raises:
            Rejected, Denied, CapacityReduced: As `admit`. In an outage of the cache the account that is held decides.
        """
        key = self._codec.parse(presented)
        attempt.now = self._time.now()
        attempt.account = self._snapshots.find_account(key.customer_id)
        refusal = attempt.make_plan(key.digest)
        if not is_whole or attempt.plan is None:
            try:
                attempt.account = await self._snapshots.load_current(key.customer_id, attempt.now)
                attempt.now = self._time.now()
                refusal = attempt.make_plan(key.digest)
            except CapacityReduced:
                if attempt.plan is None:
                    raise
        if attempt.account is None:
            raise InvalidKey
        if attempt.plan is None:
            raise refusal or InvalidKey
        if attempt.gate is not None:
            attempt.gate(attempt.account, attempt.plan)

    def recognise(self, presented: bytes) -> None:
        """Look at a key's form only, without asking anybody.

        Raises:
            InvalidKey: It is none of ours.
        """
        self._codec.parse(presented)

    async def identify(self, presented: bytes | None) -> tuple[Account, str]:
        """The current account and key id behind a key, without charging: for the customer's own pages and API.

        Raises:
            InvalidKey, CapacityReduced: As `admit`.
        """
        if presented is None:
            raise InvalidKey
        key = self._codec.parse(presented)
        account = await self.current_account(key.customer_id)
        if account is None:
            raise InvalidKey
        return account, find_key(account, key.digest, self._time.now()).key_id

    def known_account(self, customer_id: str) -> Account | None:
        """The worker's own snapshot, not asked for; it may be behind."""
        return self._snapshots.find_account(customer_id)

    async def current_account(self, customer_id: str) -> Account | None:
        """The account as of now: the worker's snapshot if the cache says that it is current.

        Raises:
            CapacityReduced: The cache or the ledger cannot answer.
        """
        return await self._snapshots.load_current(customer_id, self._time.now())
