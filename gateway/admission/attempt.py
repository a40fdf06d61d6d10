"""One request on its way through admission: what was found out of it so far, and what it was charged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

from gateway.admission.ready import Ready
from gateway.cache import Receipt, charge_answer
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRefused, LimitState, QuotaClaim
from gateway.core.decision import plan_request
from gateway.core.errors import TiergateError
from gateway.core.once import OnceCall
from gateway.core.planned import Plan
from gateway.core.policy import Policy
from gateway.core.route import Route
from gateway.outages import Passed

Settled: TypeAlias = Literal["settled", "nothing", "uncounted", "lost"]
"""What became of a settlement. `nothing`: there was nothing to correct, because the reservation was right or no quota
was charged. `uncounted`: the cache has no count of it any more, or never had one, as of a call that passed without
it. `lost`: the cache did not answer, so the reservation stands."""

Returned: TypeAlias = Literal["given-back", "nothing", "lost"]
"""What became of a refund. `nothing`: no quota was charged, or none of it counts any more (its window ended
long ago, the cache lost the customer, it was given back before). `lost`: the cache did not answer, so the units stay
spent; never the other way round."""


class PolicySource(Protocol):
    """Holds the policy in force."""

    @property
    def current(self) -> Policy:
        """The running policy; replaced as a whole, never changed."""
        ...


class Attempt:
    """One request on its way through admission, and what was found out so far.

    It is evidence: whatever the verdict, `explaining` records it.

    Args:
        address: The client's, without port; None if it is not known.
        gate: Called with account and plan before anything is charged; raises to refuse. May set `once`.
    """

    __slots__ = (
        "_seq",
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
        """Its Idempotency-Key, while the charge under it is this attempt's, or may be: the cache knows."""
        self.is_repeat = False
        """It was charged before under that key: its plan takes nothing from quotas."""
        self.outage: Passed | None = None
        """What policy said, if the cache could not decide."""
        self.holds_places = False
        """Whether it counts among calls in progress that are held in the cache, for the places that they have or for
        their Idempotency-Keys: `LiveCalls.end` is to be told of its end."""
        self._states: tuple[LimitState, ...] = ()
        self._taken: tuple[int, ...] = ()
        self._seq = 0

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

    @property
    def seq(self) -> int:
        """What `Receipt.seq` is of its charge."""
        if self.outage is not None:
            return 0 if self.outage.batch is None else self.outage.batch.seq
        seq: int = self._seq if self.reply is None else self.reply[-1]
        return seq

    def take(self, answer: Charged | ChargeRefused | None) -> None:
        """Remember what the limits said; None: nothing that holds."""
        self._states = () if answer is None else answer.states
        self._taken, self._seq = (answer.taken, answer.seq) if isinstance(answer, Charged) else ((), 0)

    def make_plan(self, digest: str) -> TiergateError | None:
        """Plan it by its account, for the key of this digest; without an account it has no plan.

        Returns:
            Why there is none, as a caller is told if the account turns out to be the current one.
        """
        self.plan = None
        if self.account is None:
            return None
        try:
            self.plan = plan_request(
                policy=self.policy,
                account=self.account,
                digest=digest,
                route=self.route,
                method=self.method,
                path=self.path,
                now=self.now,
                address=self.address,
            )
        except TiergateError as error:
            return error
        return None


def receipt_of(attempt: Attempt) -> Receipt:
    """The proof of what an admitted attempt took from quotas. It has no parts if it took nothing from them."""
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
        seq=attempt.seq,
        charged_at=int(attempt.now),
    )
