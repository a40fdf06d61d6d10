"""USE CASE: one request of one key -> a receipt, or the reason why not.

A rate counts attempts and is never given back; quotas count what is billed, and are.

The worker decides on the snapshot it holds; the charge script refuses a decision made on
an old one and hands back the current one. So a decision takes one round trip when nothing
changed, and can never outlive a revocation, a downgrade or a policy edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any, Literal, Protocol, TypeAlias

from cachetools import LRUCache

from gateway.cache import (
    CHARGED,
    REPEATED,
    Cache,
    CacheUnavailable,
    OnceBusy,
    OnceReused,
    Receipt,
    Repeated,
    charge_answer,
    decode_account,
    once_answer,
    prepare_charge,
    prepare_once,
    prepare_once_end,
    prepare_once_refund,
    with_call,
)
from gateway.clock import Clock
from gateway.core.account import Account
from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    ChargeAnswer,
    Charged,
    ChargeRefused,
    ChargeRequest,
    LimitState,
    QuotaClaim,
)
from gateway.core.decision import Plan, charge_denied, find_key, plan_request
from gateway.core.errors import (
    CapacityReduced,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InvalidKey,
    LedgerUnavailable,
    TiergateError,
)
from gateway.core.keys import KeyCodec, PresentedKey
from gateway.core.once import OnceCall, unpaid
from gateway.core.policy import Policy
from gateway.core.ratelimit_fields import seconds_up
from gateway.core.route import Route
from gateway.core.settle import real_costs
from gateway.leasing import Leasing, Lessee
from gateway.live_calls import LiveCalls
from gateway.outages import Held, Outages, Passed
from gateway.publishing import Publisher

Settled: TypeAlias = Literal["settled", "nothing", "lost"]
"""What became of a settlement. `nothing`: the reservation was right or is not counted any more, or
the cache never had it, as a call that passed without it. `lost`: the
cache did not answer, so the reservation stands."""

Returned: TypeAlias = Literal["given-back", "nothing", "lost"]
"""What became of a refund. `nothing`: no quota was charged, or none of it counts any more (its window ended,
the cache lost the customer, it was given back before). `lost`: the cache did not answer, so the units stay
spent; never the other way round."""

_PASSED = (CHARGED, REPEATED)
_ROUNDS = 6
"""How often a decision is taken anew because the account, the window or the cache changed under it."""


_NOT_SEEN = "The limits cannot be checked right now, and this key was not seen here in the last 15 minutes."
_NOT_ALLOWED = "The limits cannot be checked right now, and when they last were, this call was not allowed."
"""No word of why not: what an account allowed minutes ago may be wrong by now."""


class PolicySource(Protocol):
    """Holds the policy in force."""

    @property
    def current(self) -> Policy:
        """The running policy; replaced as a whole, never changed."""
        ...


class Ready:
    """A plan, and the charge that goes with it, good until something they were made of changes.

    One for each key and route. The charge script refuses it when the account has changed; a policy edit and
    an instant (a window's end, a grace period's, a key's expiry) are looked at here.
    """

    __slots__ = ("account", "command", "edge", "held", "lessee", "plan", "policy", "until")

    def __init__(self, policy: Policy, held: Held, plan: Plan, command: bytes, lessee: Lessee | None) -> None:
        self.policy = policy
        self.held = held
        self.account = held.account
        self.plan = plan
        self.command = command
        """The packed charge, for the cache server's own clock."""
        self.until = _holds_until(plan)
        """Unix seconds."""
        self.edge: object = None
        """Whatever else is made once of this plan. The edge's."""
        self.lessee = lessee
        """Who may have a lease of it. None: each call is charged by itself."""


class Attempt:
    """One request on its way through admission, and what was found out so far.

    It is evidence: whatever the verdict, `explaining` records it.

    Args:
        address: The client's, without port; None if it is not known.
        gate: Called with account and plan before anything is charged; raises to refuse. May set `once`.
    """

    __slots__ = (
        "_states",
        "_taken",
        "account",
        "address",
        "decision_id",
        "gate",
        "holds_places",
        "is_leased",
        "is_repeat",
        "method",
        "now",
        "once",
        "outage",
        "path",
        "plan",
        "policy",
        "ready",
        "reply",
        "route",
    )

    def __init__(
        self,
        decision_id: str,
        method: str,
        path: str,
        policy: Policy,
        address: str | None = None,
        gate: Callable[[Account, Plan], None] | None = None,
    ) -> None:
        self.decision_id = decision_id
        self.method = method
        self.path = path
        self.policy = policy
        self.address = address
        self.gate = gate
        self.route: Route | None = None
        self.account: Account | None = None
        self.plan: Plan | None = None
        self.ready: Ready | None = None
        self.reply: list[Any] | None = None
        """What the charge script answered to a charge that passed; `states` reads it. A lease answers alike."""
        self.is_leased = False
        """Whether it was let through by a lease."""
        self.now = 0.0
        self.once: OnceCall | None = None
        """Its Idempotency-Key, while the charge under it is this attempt's."""
        self.is_repeat = False
        """It was charged before under that key: its plan takes nothing from quotas."""
        self.outage: Passed | None = None
        """What policy said, if the cache could not decide."""
        self.holds_places = False
        """Whether it counts among calls in progress that are limited: `LiveCalls.end` is to be told of its end."""
        self._states: tuple[LimitState, ...] = ()
        self._taken: tuple[int, ...] = ()

    @property
    def states(self) -> tuple[LimitState, ...]:
        """The limits after the decision, in the plan's order; empty if none was asked."""
        if not self._states and self.reply is not None:
            answer = charge_answer(self.plan.claims, self.reply) if self.plan is not None else None
            if isinstance(answer, Charged):
                self.take(answer)
        return self._states

    @property
    def taken(self) -> tuple[int, ...]:
        """Units that each claim of the plan took; empty: its cost, because no credits were asked."""
        return self._taken if self.states else ()

    def take(self, answer: Charged | ChargeRefused | None) -> None:
        """Remember what the limits said; None: nothing that holds."""
        self._states = () if answer is None else answer.states
        self._taken = answer.taken if isinstance(answer, Charged) else ()


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
        self._cache = cache
        self._publisher = publisher
        self._policy = policy
        self._codec = codec
        self._clock = clock
        self._outages = outages
        self.live = LiveCalls(cache, clock)
        """The calls in progress that hold places; tell of their ends."""
        self._skew_s = 0.0
        self._accounts: LRUCache[str, Held] = LRUCache(entries)
        self._ready: dict[tuple[bytes, int], Ready] = {}
        self._ready_under: Policy | None = None
        """The policy of all of them; their keys hold ids of its routes."""
        self._entries = entries
        self._leasing = leasing

    @property
    def holds_accounts(self) -> bool:
        """Whether there is anybody whom this worker could let in while the cache cannot decide."""
        return bool(self._accounts)

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
        attempt.now = self._clock.now() + self._skew_s
        route = attempt.route = route or policy.find_route(attempt.method, attempt.path)
        ready = self._ready.get((presented, id(route)))
        try:
            if ready is not None and ready.policy is policy and attempt.now < ready.until:
                attempt.account, attempt.plan, attempt.ready = ready.account, ready.plan, ready
                if attempt.gate is not None:
                    attempt.gate(ready.account, ready.plan)
                if attempt.once is not None:
                    await self._admit_once(attempt, ready, presented)
                    return
                lessee = ready.lessee
                if lessee is not None and (leased := lessee.take()) is not None:
                    attempt.reply, attempt.is_leased = leased, True
                    return
                reply = await self._charge_ready(attempt, ready)
                if reply[0] == CHARGED:
                    attempt.reply = reply
                    if lessee is not None:
                        lessee.charged()
                    ready.held.confirmed_at = attempt.now
                    return
                attempt.ready = None
                await self._decide(attempt, self._codec.parse(presented), charge_answer(ready.plan.claims, reply))
            else:
                await self._decide(attempt, self._codec.parse(presented), None)
        except CacheUnavailable as error:
            self._go_without(attempt, self._codec.parse(presented), error)
        else:
            self._keep_ready(attempt, presented)

    def _charge_ready(self, attempt: Attempt, ready: Ready) -> Awaitable[list[Any]]:
        now_ms = self._clock.cache_now_ms()
        command = ready.command if not now_ms else self._command(attempt, now_ms)
        if ready.plan.live:
            return self._charge_places(attempt, with_call(command, attempt.decision_id))
        return self._cache.charge_packed(command)

    def _go_without(self, attempt: Attempt, key: PresentedKey, error: CacheUnavailable) -> None:
        """The cache cannot decide: go by the account that this worker holds, as the tier's policy says.

        Raises:
            CacheUnavailable: It is not let in.
        """
        held, ready = self._accounts.get(key.customer_id), attempt.ready
        attempt.take(None)
        if held is not None:
            self._outages.note_asked(key.customer_id)
        if held is None or not held.is_fresh(attempt.now):
            attempt.account = attempt.plan = attempt.ready = None
            raise CacheUnavailable(_NOT_SEEN, reason=error.reason) from error
        attempt.account = held.account
        if ready is None or ready.held is not held:
            attempt.ready = None
            if (refusal := self._plan(attempt, key.digest)) is not None:
                words = _NOT_SEEN if isinstance(refusal, InvalidKey) else _NOT_ALLOWED
                raise CacheUnavailable(words, reason=error.reason) from error
        if attempt.plan is None:
            raise AssertionError("an account makes a plan or a refusal")
        if attempt.gate is not None:
            attempt.gate(held.account, attempt.plan)
        attempt.once = None  # nobody knows what was charged under its Idempotency-Key
        attempt.outage = self._outages.judge(held.account, attempt.plan, _receipt(attempt).parts, error)
        if attempt.outage.refusal is not None:
            raise CacheUnavailable(attempt.outage.refusal, reason=error.reason) from error

    async def follow_ledger(self) -> None:
        """While the cache cannot decide, take what the ledger knows of those who call; run it every moment.

        So a key that is revoked meanwhile, a block and an upgrade are known here soon after, and an account that
        has not changed counts as confirmed.

        Raises:
            LedgerUnavailable: Accounts grow old.
        """
        now = self._clock.now() + self._skew_s
        asked = {name: held for name in self._outages.take_asked() if (held := self._accounts.get(name)) is not None}
        if not asked:
            return
        newer = await self._publisher.load_newer({name: held.account.version for name, held in asked.items()})
        for held in asked.values():
            held.confirmed_at = max(held.confirmed_at, now)
        for account in newer:
            held = self._accounts.get(account.customer_id)
            if held is None or held.account.version < account.version:
                self._hold(account, now)

    async def _admit_once(self, attempt: Attempt, ready: Ready, presented: bytes) -> None:
        """As `admit`, of a call with an Idempotency-Key whose plan is ready."""
        answer = await self._charge(attempt, ready.account.customer_id)
        await self._decide(attempt, self._codec.parse(presented), answer)
        if attempt.plan is not ready.plan:
            attempt.ready = None

    async def _decide(self, attempt: Attempt, key: PresentedKey, answer: ChargeAnswer | None) -> None:
        """Plan and charge until both are of the same account; `answer` is that to a charge of the plan so far."""
        refusal: TiergateError | None = None
        if answer is None:
            held = self._accounts.get(key.customer_id)
            attempt.account = held.account if held is not None else None
            refusal = self._plan(attempt, key.digest)
            answer = await self._charge(attempt, key.customer_id)
        for _ in range(_ROUNDS):
            match answer:
                case Charged() if attempt.account is not None:
                    self._confirm(attempt.account, attempt.now)
                    if refusal is not None:
                        raise refusal
                    attempt.take(answer)
                    return
                case ChargeRefused() if attempt.plan is not None and attempt.account is not None:
                    self._confirm(attempt.account, attempt.now)
                    self._outages.note_refused(key.customer_id, attempt.plan, answer.states)
                    attempt.take(answer)
                    raise charge_denied(attempt.plan, answer.states)
                case AccountStale():
                    await self._take(attempt, key.customer_id, answer)
                case AccountMissing():
                    await self._load(attempt, key.customer_id)
                case _:
                    self._skew_s = answer.now_ms / 1000 - self._clock.now()
                    attempt.now = answer.now_ms / 1000
            refusal = self._plan(attempt, key.digest)
            answer = await self._charge(attempt, key.customer_id)
        raise CapacityReduced("The account kept changing while this call was decided.")

    async def _charge(self, attempt: Attempt, customer_id: str) -> ChargeAnswer:
        account, plan = attempt.account, attempt.plan
        if account is not None and plan is not None and attempt.gate is not None:
            attempt.gate(account, plan)
        request = ChargeRequest(
            customer_id=customer_id,
            version=account.version if account is not None else 0,
            claims=plan.claims if plan is not None else (),
            now_ms=self._clock.cache_now_ms(),
            call_id=attempt.decision_id,
        )
        if plan is None:
            return await self._cache.charge(request)
        if attempt.once is not None:
            return await self._charge_once(attempt, request, plan, attempt.once)
        if plan.live:
            return charge_answer(plan.claims, await self._charge_places(attempt, prepare_charge(request)))
        return await self._cache.charge(request)

    async def _charge_places(self, attempt: Attempt, command: bytes) -> list[Any]:
        """Charge a call that counts among those in progress. If it may have been charged unheard, its places are freed.

        Args:
            attempt: With a plan that has limits on calls at once.
            command: For this call.
        """
        account, plan = attempt.account, attempt.plan
        if account is None or plan is None:
            raise AssertionError("a place needs a plan")
        try:
            reply = await self._cache.charge_packed(command)
        except BaseException:
            self.live.give_back(attempt.decision_id, account.customer_id, plan.live)
            raise
        if reply[0] in _PASSED:
            self.live.begin(attempt.decision_id, account.customer_id, plan.live)
            attempt.holds_places = True
        return reply

    async def _charge_once(self, attempt: Attempt, request: ChargeRequest, plan: Plan, call: OnceCall) -> ChargeAnswer:
        """Charge what was not charged before under the same Idempotency-Key."""
        repeat = unpaid(plan)
        command = prepare_once(request, repeat.claims, call, attempt.decision_id)
        if plan.live:
            reply = await self._charge_places(attempt, command)
        else:
            reply = await self._cache.charge_packed(command)
        answer = once_answer(plan.claims, repeat.claims, reply)
        match answer:
            case Repeated():
                attempt.plan, attempt.once, attempt.is_repeat = repeat, None, True
                return answer.answer
            case OnceBusy(wait_ms=wait_ms):
                raise IdempotencyKeyInFlight(max(1, seconds_up(wait_ms)))
            case OnceReused():
                raise IdempotencyKeyReused
        return answer

    def end_once(self, attempt: Attempt) -> None:
        """The call was charged under its Idempotency-Key and has ended: repeats may pass.

        Nobody waits for it. If it is lost, they pass when the call is taken for lost.
        """
        if attempt.once is not None and attempt.account is not None:
            command = prepare_once_end(attempt.account.customer_id, attempt.once, attempt.decision_id)
            self._cache.charge_packed(command).add_done_callback(_ignore)

    def _command(self, attempt: Attempt, now_ms: int) -> bytes:
        account, plan = attempt.account, attempt.plan
        if account is None or plan is None:
            raise AssertionError("a charge needs a plan")
        return prepare_charge(
            ChargeRequest(customer_id=account.customer_id, version=account.version, claims=plan.claims, now_ms=now_ms)
        )

    def _keep_ready(self, attempt: Attempt, presented: bytes) -> None:
        """Remember what was decided, unless it depends on more than key and route."""
        account, plan = attempt.account, attempt.plan
        if account is None or plan is None or plan.key.scopes or plan.key.allow or attempt.is_repeat:
            return
        if plan.route.is_priced:
            return
        if attempt.policy is not self._ready_under:
            if attempt.policy is not self._policy.current:
                return
            self._ready.clear()
            self._ready_under = attempt.policy
        if len(self._ready) >= self._entries:
            self._ready.pop(next(iter(self._ready)))
        held = self._accounts.get(account.customer_id)
        if held is None or held.account is not account:
            return  # another call has just brought a newer one
        lessee = self._leasing.lessee(account, plan) if self._leasing is not None else None
        attempt.ready = Ready(attempt.policy, held, plan, self._command(attempt, 0), lessee)
        self._ready[presented, id(attempt.route)] = attempt.ready

    async def refund(self, attempt: Attempt) -> Returned:
        """Give back to quotas what an admitted attempt was charged, once, and free its Idempotency-Key."""
        receipt, call = _receipt(attempt), attempt.once
        if attempt.outage is not None:
            if not attempt.outage.parts:
                return "nothing"
            if self._outages.correct(attempt.outage, [0] * len(receipt.parts)):
                return "given-back"
        if not receipt.parts and call is None:
            return "nothing"
        try:
            if call is None:
                units = await self._cache.refund(receipt)
            else:
                units, _ = await self._cache.settle_packed(prepare_once_refund(receipt, call))
        except CapacityReduced:
            return "lost"
        attempt.once = None
        return "given-back" if units else "nothing"

    async def settle(self, attempt: Attempt, costs: Mapping[str, int]) -> Settled:
        """Correct what an admitted attempt was charged to what it cost, once. Quotas only; no limit is asked.

        Args:
            attempt: Not refunded; whichever comes first counts.
            costs: Units by meter. In a meter that is not there it cost what was charged.
        """
        plan = attempt.plan
        if plan is None:
            raise AssertionError("what is settled was admitted")
        receipt = _receipt(attempt)
        if not receipt.parts or (attempt.outage is not None and not attempt.outage.parts):
            return "nothing"
        real = real_costs(plan, attempt.taken or plan.costs, costs)
        if attempt.outage is not None and self._outages.correct(attempt.outage, real):
            return "settled"
        try:
            given, taken = await self._cache.settle(receipt, real)
        except CapacityReduced:
            return "lost"
        return "settled" if given or taken else "nothing"

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
        return account, find_key(account, key.digest, self._clock.now()).key_id

    def known_account(self, customer_id: str) -> Account | None:
        """The worker's own snapshot, not asked for; it may be behind."""
        held = self._accounts.get(customer_id)
        return None if held is None else held.account

    async def current_account(self, customer_id: str) -> Account | None:
        """The account as of now: the worker's snapshot if the cache says that it is current.

        Raises:
            CapacityReduced: The cache or the ledger cannot answer.
        """
        attempt = self.attempt("", "GET", "/")
        attempt.now = self._clock.now() + self._skew_s
        held = self._accounts.get(customer_id)
        attempt.account = held.account if held is not None else None
        for _ in range(_ROUNDS):
            version = attempt.account.version if attempt.account is not None else 0
            answer = await self._cache.charge(ChargeRequest(customer_id=customer_id, version=version, claims=()))
            match answer:
                case Charged():
                    return attempt.account
                case AccountStale():
                    await self._take(attempt, customer_id, answer)
                case _:
                    try:
                        await self._load(attempt, customer_id)
                    except InvalidKey:
                        return None
        raise CapacityReduced("The account kept changing while it was read.")

    def _plan(self, attempt: Attempt, digest: str) -> TiergateError | None:
        attempt.plan = None
        if attempt.account is None:
            return None
        try:
            attempt.plan = plan_request(
                policy=attempt.policy,
                account=attempt.account,
                digest=digest,
                route=attempt.route,
                method=attempt.method,
                path=attempt.path,
                now=attempt.now,
                address=attempt.address,
            )
        except TiergateError as error:
            return error
        return None

    async def _take(self, attempt: Attempt, customer_id: str, stale: AccountStale) -> None:
        """Go on with the cache's account, or with the ledger's where the cache's cannot be believed.

        It is not readable, it is not the one its counters belong to, or it is older than one that this
        worker has seen.
        """
        try:
            account = decode_account(stale.account)
        except CacheUnavailable:
            account = None
        if account is None or account.version != stale.version:
            self._accounts.pop(customer_id, None)  # there is a newer one, whoever can read it
            await self._load(attempt, customer_id, replaces=True)
        elif attempt.account is not None and account.version < attempt.account.version:
            await self._load(attempt, customer_id)
        else:
            self._remember(attempt, account)

    def _remember(self, attempt: Attempt, account: Account) -> None:
        self._hold(account, attempt.now)
        attempt.account = account

    def _hold(self, account: Account, now: float) -> None:
        if self._leasing is not None:
            self._leasing.drop(account.customer_id)
        self._accounts[account.customer_id] = Held(account, now)

    def _confirm(self, account: Account, now: float) -> None:
        held = self._accounts.get(account.customer_id)
        if held is not None and held.account is account:
            held.confirmed_at = now

    async def _load(self, attempt: Attempt, customer_id: str, *, replaces: bool = False) -> None:
        try:
            account = await self._publisher.load(customer_id, replaces=replaces)
        except LedgerUnavailable as error:
            raise CacheUnavailable("The account could not be loaded.", reason=str(error)) from error
        except CacheUnavailable as error:
            raise CacheUnavailable(reason=error.reason) from error  # an account may be there now; nothing was charged
        if account is None:
            self._accounts.pop(customer_id, None)
            raise InvalidKey
        self._remember(attempt, account)


def _ignore(reply: asyncio.Future[Any]) -> None:
    if not reply.cancelled():
        reply.exception()


def _receipt(attempt: Attempt) -> Receipt:
    account, plan = attempt.account, attempt.plan
    if account is None or plan is None:
        raise AssertionError("a receipt needs a plan")
    return Receipt(
        customer_id=account.customer_id,
        receipt_id=attempt.decision_id,
        parts=tuple(
            (claim.field, claim.starts_at, units)
            for claim, units in zip(plan.claims, attempt.taken or plan.costs, strict=True)
            if isinstance(claim, QuotaClaim) and units
        ),
    )


def _holds_until(plan: Plan) -> float:
    """The instant at which a plan has to be made anew although nothing was changed."""
    ends = [float(claim.ends_at) for claim in plan.claims if isinstance(claim, QuotaClaim)]
    ends += [float(end) for end in (plan.access.grace_until, plan.key.expires_at, plan.until) if end is not None]
    return min(ends, default=inf)
