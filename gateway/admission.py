"""USE CASE: one request of one key -> a receipt, or the reason why not.

A rate counts attempts and is never given back; quotas count what is billed, and are.

The worker decides on the snapshot it holds; the charge script refuses a decision made on
an old one and hands back the current one. So a decision takes one round trip when nothing
changed, and can never outlive a revocation, a downgrade or a policy edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from cachetools import LRUCache

from gateway.cache import Cache, CacheUnavailable, Receipt, decode_account
from gateway.clock import Clock
from gateway.core.account import Account
from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    Charged,
    ChargeRefused,
    ChargeRequest,
    LimitState,
    QuotaClaim,
)
from gateway.core.decision import Plan, charge_denied, find_key, plan_request
from gateway.core.errors import CapacityReduced, InvalidKey, LedgerUnavailable, TiergateError
from gateway.core.keys import KeyCodec
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.publishing import Publisher

Returned: TypeAlias = Literal["given-back", "nothing", "lost"]
"""What became of a refund. `nothing`: no quota was charged, or none of it counts any more (its window ended,
the cache lost the customer, it was given back before). `lost`: the cache did not answer, so the units stay
spent; never the other way round."""

_ROUNDS = 6
"""How often a decision is taken anew because the account, the window or the cache changed under it."""


class PolicySource(Protocol):
    """Holds the policy in force."""

    @property
    def current(self) -> Policy:
        """The running policy; replaced as a whole, never changed."""
        ...


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request on its way through admission, and what was found out so far.

    It is evidence: whatever the verdict, `explaining` records it.
    """

    decision_id: str
    method: str
    path: str
    policy: Policy
    route: Route | None = None
    account: Account | None = None
    plan: Plan | None = None
    states: tuple[LimitState, ...] = ()
    now: float = 0.0


class Admission:
    """Decides and charges."""

    def __init__(
        self,
        cache: Cache,
        publisher: Publisher,
        policy: PolicySource,
        codec: KeyCodec,
        clock: Clock,
        entries: int,
    ) -> None:
        self._cache = cache
        self._publisher = publisher
        self._policy = policy
        self._codec = codec
        self._clock = clock
        self._skew_s = 0.0
        self._accounts: LRUCache[str, Account] = LRUCache(entries)

    def attempt(self, decision_id: str, method: str, path: str) -> Attempt:
        """Start a decision under the policy in force now; it keeps that policy to its end."""
        return Attempt(decision_id=decision_id, method=method, path=path, policy=self._policy.current)

    async def admit(self, attempt: Attempt, presented: bytes | None) -> Receipt:
        """Decide and charge.

        Args:
            attempt: Filled with what was found on the way.
            presented: The key as sent, or None.

        Returns:
            The receipt to refund if the outcome turns out not to be billable.

        Raises:
            Rejected, Denied: With nothing charged.
            CapacityReduced: The cache or the ledger cannot answer; nothing was let through.
        """
        if presented is None:
            raise InvalidKey
        key = self._codec.parse(presented)
        attempt.route = attempt.policy.find_route(attempt.method, attempt.path)
        attempt.now = self._clock.now() + self._skew_s
        attempt.account = self._accounts.get(key.customer_id)
        for _ in range(_ROUNDS):
            refusal = self._plan(attempt, key.digest)
            answer = await self._cache.charge(
                ChargeRequest(
                    customer_id=key.customer_id,
                    version=attempt.account.version if attempt.account is not None else 0,
                    claims=attempt.plan.claims if attempt.plan is not None else (),
                    now_ms=self._clock.cache_now_ms(),
                )
            )
            match answer:
                case Charged(states=states) if attempt.account is not None:
                    if refusal is not None:
                        raise refusal
                    attempt.states = states
                    return self._receipt(attempt)
                case ChargeRefused(states=states) if attempt.plan is not None:
                    attempt.states = states
                    raise charge_denied(attempt.plan, states)
                case AccountStale():
                    await self._take(attempt, key.customer_id, answer)
                case AccountMissing():
                    await self._load(attempt, key.customer_id)
                case _:
                    self._skew_s = answer.now_ms / 1000 - self._clock.now()
                    attempt.now = answer.now_ms / 1000
        raise CapacityReduced("The account kept changing while this call was decided.")

    async def refund(self, receipt: Receipt) -> Returned:
        """Give back to quotas what a receipt charged, once."""
        if not receipt.parts:
            return "nothing"
        try:
            units = await self._cache.refund(receipt)
        except CapacityReduced:
            return "lost"
        return "given-back" if units else "nothing"

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

    async def current_account(self, customer_id: str) -> Account | None:
        """The account as of now: the worker's snapshot if the cache says that it is current.

        Raises:
            CapacityReduced: The cache or the ledger cannot answer.
        """
        attempt = self.attempt("", "GET", "/")
        attempt.account = self._accounts.get(customer_id)
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
            await self._load(attempt, customer_id, replaces=True)
        elif attempt.account is not None and account.version < attempt.account.version:
            await self._load(attempt, customer_id)
        else:
            self._remember(attempt, account)

    def _remember(self, attempt: Attempt, account: Account) -> None:
        self._accounts[account.customer_id] = account
        attempt.account = account

    async def _load(self, attempt: Attempt, customer_id: str, *, replaces: bool = False) -> None:
        try:
            account = await self._publisher.load(customer_id, replaces=replaces)
        except LedgerUnavailable as error:
            raise CapacityReduced("The account could not be loaded.") from error
        if account is None:
            self._accounts.pop(customer_id, None)
            raise InvalidKey
        self._remember(attempt, account)

    def _receipt(self, attempt: Attempt) -> Receipt:
        if attempt.account is None or attempt.plan is None:
            raise AssertionError("a receipt needs a plan")
        return Receipt(
            customer_id=attempt.account.customer_id,
            receipt_id=attempt.decision_id,
            parts=tuple(
                (claim.field, claim.starts_at, claim.cost)
                for claim in attempt.plan.claims
                if isinstance(claim, QuotaClaim) and claim.cost
            ),
        )
