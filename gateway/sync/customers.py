"""One customer, read from Stripe and recorded.

The order is the point: a fence is taken before anything else, then it is looked up which customer
of Stripe to read, and the ledger refuses what was read under an older fence than the one it has
applied, or of another customer of Stripe than it has by then. So however slowly an answer travels,
no older state ever replaces a newer one, and repeating a sync is harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, Protocol, TypeAlias

import structlog

from gateway.billing import Billing
from gateway.clock import Clock
from gateway.core.access import is_suspended
from gateway.core.account import Account, Subscription
from gateway.core.audited import assess_by
from gateway.core.billing_facts import CustomerFacts
from gateway.core.candidate import Candidate
from gateway.core.ended_periods import ended_periods
from gateway.core.errors import CapacityReduced
from gateway.core.findings import NEEDS_ATTENTION, Finding
from gateway.core.ours import is_ours
from gateway.core.plan_map import ENDED_STATUSES, IDLE_STATUSES, MONEYLESS_STATUSES
from gateway.core.policy import Policy
from gateway.core.projection import choose_running, project
from gateway.ledger import CustomerRow, CustomerUnknown, Ledger
from gateway.sync.account import LedgerAccount
from gateway.sync.attention import Attention
from gateway.sync.closing_pages import close_pages
from gateway.sync.facts import read_facts
from gateway.sync.given_up import remove_given_up, used_left
from gateway.sync.restoring import is_lost, is_outdated, is_spent
from gateway.sync.turns import Turns

log = structlog.get_logger(__name__)

Result: TypeAlias = Literal["applied", "superseded", "missing", "unbound"]


class HoldsPolicy(Protocol):
    """Where the running policy is found."""

    @property
    def current(self) -> Policy:
        """The policy in force now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """What one sync did."""

    result: Result
    """`applied`; `superseded`: a later read was recorded first, or the customer has another one of Stripe by now;
    `missing`: Stripe has no such customer, and nothing was recorded because that was asked; `unbound`: the customer
    never came near Stripe."""
    subscription: Subscription | None = None
    changed: bool = False
    findings: tuple[Finding, ...] = ()
    requests: int = 0
    """How many requests of Stripe it took."""
    has_plan_to_mend: bool = False
    """What was planned was lost, would bring back what was replaced, or is made (`gateway.sync.restoring`)."""
    has_used_left: bool = False
    """A change gave items up that bill usage, and they are still there (`gateway.sync.letting_go`)."""
    takes_money: tuple[str, ...] = ()
    """Statuses of all subscriptions of ours, as they were read, that take money or may again; recorded or not."""
    idle: tuple[str, ...] = ()
    """Ids of those that do not run and may begin to."""
    ended: tuple[tuple[str, int], ...] = ()
    """Ids of those that are over, and when they ended."""

    @property
    def needs_attention(self) -> tuple[Finding, ...]:
        """The findings after which somebody must act, or the customer loses its tier."""
        return tuple(finding for finding in self.findings if finding.code in NEEDS_ATTENTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a customer is read, for the audit log."""

    because: str
    actor: str = "stripe"
    event_id: str | None = None


class Sync:
    """Reads customers from Stripe and records what they may do.

    Args:
        ledger: Where it is recorded.
        billing: Where it is read.
        policy: Maps prices to plans.
        publish: Carries one customer from ledger to cache. A cache that is down is not a
            failure: the ledger knows what was not published, and it is published later.
        clock: Unix seconds.
        settle: Has the ledger know all that one customer has used, and says whether it does. By default nothing is
            counted elsewhere.
        channels: Ways on which the seller is told of what was found, as the ledger calls them.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        billing: Billing,
        policy: HoldsPolicy,
        publish: Callable[[str], Awaitable[object]],
        clock: Clock,
        settle: Callable[[str], Awaitable[bool]] | None = None,
        channels: Sequence[str] = (),
    ) -> None:
        self.billing = billing
        self.settle = settle or _nothing_counted
        """Has the ledger know all that one customer has used."""
        self.turns = Turns(ledger=ledger, clock=clock)
        """At changing one customer's subscription."""
        self.account = LedgerAccount(ledger=ledger, billing=billing, clock=clock)
        """Whether the key is of the ledger's account: asked before anybody is ended, bound or sold to."""
        self.attention = Attention(ledger=ledger, channels=channels)
        """Where what was found is counted and told."""
        self._ledger = ledger
        self._policy = policy
        self._publish = publish
        self._clock = clock
        self.applied = 0
        """Syncs that were recorded."""
        self.superseded = 0
        """Syncs that came too late to be recorded."""

    @property
    def ledger(self) -> Ledger:
        """Where it is recorded."""
        return self._ledger

    @property
    def clock(self) -> Clock:
        """Unix seconds."""
        return self._clock

    @property
    def policy(self) -> Policy:
        """The policy in force now."""
        return self._policy.current

    async def sync_customer(
        self,
        customer_id: str,
        because: str,
        *,
        actor: str = "stripe",
        end_if_missing: bool = True,
        event_id: str | None = None,
    ) -> SyncOutcome:
        """Read one customer's subscriptions and record them, unless a later read was recorded meanwhile.

        Args:
            customer_id: Ours.
            because: For the audit log: the event, the person, the schedule.
            actor: For the audit log.
            end_if_missing: Whether a customer that Stripe does not have loses its subscription.
            event_id: Stripe's, if an event asks for it. For the audit log.

        Raises:
            StripeAccountWrong: Stripe does not have it, and the key is not of the ledger's account.
            BillingUnavailable, BillingRefused: Stripe did not say; access stays as it was.
            CustomerUnknown: No such customer in the ledger.
            LedgerUnavailable: Nothing was recorded, or nobody knows.
        """
        fence = await self._ledger.take_fence(customer_id)
        row = await self._ledger.find_customer(customer_id)
        if row is None:
            raise CustomerUnknown(customer_id)
        if row.stripe_customer_id is None:
            return SyncOutcome(result="unbound")
        facts = await read_facts(self.billing, self._ledger, self.policy, customer_id, row.stripe_customer_id)
        if not facts.of_customer.exists:
            if not end_if_missing:
                return SyncOutcome(result="missing", requests=facts.requests)
            await self.account.check()
        outcome = await self._record(
            row, fence, facts.of_customer, Cause(because=because, actor=actor, event_id=event_id)
        )
        if facts.closed_disputes:
            await self._ledger.forget_disputes(facts.closed_disputes)
        ours = [one for one in facts.of_customer.subscriptions if is_ours(one, self.policy, outcome.subscription)]
        with self.billing.pace.counted() as sent:
            await remove_given_up(self.billing, facts.of_customer)
            if facts.of_customer.exists and self._is_suspended(row, outcome.subscription):
                await close_pages(self.billing, row)
        return replace(
            outcome,
            requests=facts.requests + sent.requests,
            takes_money=tuple(one.status for one in ours if one.status not in MONEYLESS_STATUSES),
            idle=tuple(one.subscription_id for one in ours if one.status in IDLE_STATUSES),
            ended=tuple((one.subscription_id, one.ended_at or 0) for one in ours if one.status in ENDED_STATUSES),
            has_plan_to_mend=self.has_plan_to_mend(facts.of_customer) or any(map(is_spent, ours)),
            has_used_left=any(used_left(one) for one in facts.of_customer.subscriptions),
        )

    def _is_suspended(self, row: CustomerRow, subscription: Subscription | None) -> bool:
        account = Account(
            customer_id=row.customer_id,
            user_id=row.user_id,
            version=row.version,
            created_at=row.created_at,
            blocked=row.blocked,
            subscription=subscription,
        )
        return is_suspended(account, self.policy, self._clock.now())

    def has_plan_to_mend(self, facts: CustomerFacts) -> bool:
        """Whether something was planned that was lost, or would bring back what was replaced."""
        now = int(self._clock.now())
        return any(is_lost(one) or is_outdated(one, now) for one in facts.subscriptions)

    async def fetch_current(self, customer_id: str) -> Candidate | None:
        """The subscription of ours that can be changed, as Stripe has it now, with the item that decides its plan.

        Records nothing.

        Raises:
            BillingUnavailable, BillingRefused, CustomerUnknown, LedgerUnavailable: As `sync_customer`.
        """
        row = await self._ledger.find_customer(customer_id)
        if row is None:
            raise CustomerUnknown(customer_id)
        if row.stripe_customer_id is None:
            return None
        facts = await read_facts(self.billing, self._ledger, self.policy, customer_id, row.stripe_customer_id)
        previous = await self._ledger.load_subscription(customer_id)
        return choose_running(facts.of_customer, self.policy, previous, int(self._clock.now()))

    async def _record(self, row: CustomerRow, fence: int, facts: CustomerFacts, cause: Cause) -> SyncOutcome:
        now, policy = int(self._clock.now()), self.policy
        findings: tuple[Finding, ...] = ()

        def of_previous(previous: Subscription | None) -> Subscription | None:
            nonlocal findings
            subscription, findings = project(facts, policy, previous, now)
            return subscription

        recorded = await self._ledger.apply_subscription(
            row.customer_id,
            fence,
            of_previous,
            now=now,
            assess=assess_by(policy, now),
            read_of=facts.stripe_customer_id,
            ended=lambda record: ended_periods(facts, record, now),
            **asdict(cause),
        )
        for finding in findings:
            log.warning("sync finding", customer_id=row.customer_id, code=finding.code, detail=finding.detail)
        changed = recorded is not None and recorded.after != recorded.before
        await self._carry_to_cache(row.customer_id, is_behind=changed)
        await self.attention.tell(row, findings, now)
        if recorded is None:
            self.superseded += 1
            return SyncOutcome(result="superseded", subscription=await self._ledger.load_subscription(row.customer_id))
        self.applied += 1
        subscription = recorded.after
        if changed:
            log.info(
                "subscription changed", customer_id=row.customer_id, because=cause.because, **_in_short(subscription)
            )
        return SyncOutcome(result="applied", subscription=subscription, changed=changed, findings=findings)

    async def _carry_to_cache(self, customer_id: str, *, is_behind: bool) -> None:
        """Have the cache know what the ledger knows, also if another sync recorded it a moment ago and is on its way.

        Whoever waited for this sync, the buyer at the success page or of an upgrade, calls next.
        """
        if not is_behind:
            row = await self._ledger.find_customer(customer_id)
            if row is None or row.published_version >= row.version:
                return
        try:
            await self._publish(customer_id)
        except CapacityReduced:
            log.warning("change not in the cache yet", customer_id=customer_id)


async def _nothing_counted(_customer_id: str) -> bool:
    return True


def _in_short(subscription: Subscription | None) -> dict[str, str | None]:
    if subscription is None:
        return {"status": None, "plan_id": None}
    return {"status": subscription.status, "plan_id": subscription.plan_id}
