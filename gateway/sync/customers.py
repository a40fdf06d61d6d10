"""One customer, or all of them, read from Stripe and recorded.

The order is the point: a fence is taken before anything else, then it is looked up which customer
of Stripe to read, and the ledger refuses what was read under an older fence than the one it has
applied, or of another customer of Stripe than it has by then. So however slowly an answer travels,
no older state ever replaces a newer one, and repeating a sync is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal, Protocol, TypeAlias

import structlog

from gateway.billing import Billing
from gateway.clock import Clock
from gateway.core.access import CUSTOMER_DELETED
from gateway.core.account import Subscription
from gateway.core.audited import assess_by
from gateway.core.billing_facts import CustomerFacts
from gateway.core.errors import (
    BillingKeyRefused,
    BillingRefused,
    BillingUnavailable,
    CapacityReduced,
    LedgerUnavailable,
    StripeAccountWrong,
)
from gateway.core.plan_map import IDLE_STATUSES, MONEYLESS_STATUSES
from gateway.core.policy import Policy
from gateway.core.projection import NEEDS_ATTENTION, Candidate, Finding, choose_running, project
from gateway.ledger import CustomerRow, CustomerUnknown, Ledger
from gateway.sync.account import LedgerAccount
from gateway.sync.disputes import list_open_disputes
from gateway.sync.ending import TOO_MANY_MISSING, may_end
from gateway.sync.facts import read_facts
from gateway.sync.given_up import remove_given_up
from gateway.sync.reporting import MAX_PER_SECOND, PAGE, Pace, SyncReport
from gateway.sync.restoring import is_lost
from gateway.sync.turns import Turns

log = structlog.get_logger(__name__)

_REFUSED_AT_MOST = 10
"""If the key may not read the first so many customers, it may read none. One may fail by what few others have."""
_OUTAGE_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

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
    has_lost_plan: bool = False
    """Something was planned, and what took its place was not made (`gateway.sync.restoring`)."""
    takes_money: tuple[str, ...] = ()
    """Statuses of all subscriptions, as they were read, that take money or may again; recorded or not."""
    idle: tuple[str, ...] = ()
    """Ids of those that do not run and may begin to."""

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
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        billing: Billing,
        policy: HoldsPolicy,
        publish: Callable[[str], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self.billing = billing
        self.turns = Turns(ledger=ledger, clock=clock)
        """At changing one customer's subscription."""
        self.account = LedgerAccount(ledger=ledger, billing=billing, clock=clock)
        """Whether the key is of the ledger's account: asked before anybody is ended, bound or sold to."""
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
        takes_money = tuple(
            one.status for one in facts.of_customer.subscriptions if one.status not in MONEYLESS_STATUSES
        )
        removals = await remove_given_up(self.billing, self.policy, facts.of_customer)
        return replace(
            outcome,
            requests=facts.requests + removals,
            takes_money=takes_money,
            idle=tuple(one.subscription_id for one in facts.of_customer.subscriptions if one.status in IDLE_STATUSES),
            has_lost_plan=any(is_lost(one) for one in facts.of_customer.subscriptions),
        )

    async def sync_all(
        self,
        progress: Callable[[SyncReport], None] | None = None,
        *,
        after: str = "",
        ends_all: bool = False,
        per_second: float = MAX_PER_SECOND,
        because: str = "reconciliation",
        actor: str = "reconciliation",
        keep: Callable[[SyncReport], Awaitable[bool]] | None = None,
    ) -> SyncReport:
        """Read every customer again, in the order of their ids.

        Customers whom Stripe does not have are ended before it is written down that their page is
        done, unless they are so many that it may be a mistake (`sync.ending`).

        Args:
            progress: Called after each customer.
            after: Go on behind this customer: `cursor` of the report that stopped.
            ends_all: End whomever Stripe does not have, however many.
            per_second: At most so many requests a second.
            because: For the audit log.
            actor: For the audit log.
            keep: Called after each page, to write down how far it is. False: another goes on with it.

        Returns:
            The report. `stopped_because` says whether it is complete.
        """
        report = SyncReport(cursor=after)
        pace = Pace(per_second)
        try:
            await self.account.check()
            if not after:
                await self._note_disputes(pace)
            while page := await self._ledger.list_customers(after=report.cursor, limit=PAGE):
                gone = len(report.missing)
                for row in page:
                    await self._sync_one(row, report, pace, because, actor)
                    report.cursor = row.customer_id
                    if progress is not None:
                        progress(report)
                for customer_id in report.missing[gone:]:
                    await self._end_one(customer_id, report, pace, because, actor, is_meant=ends_all)
                if keep is not None and not await keep(report):
                    report.stopped_because = "another program has taken over"
                    return report
        except StripeAccountWrong as error:
            report.stopped_because = error.what
            return report
        except (BillingUnavailable, BillingRefused, LedgerUnavailable) as error:
            report.stopped_because = str(error)
            return report
        if report.held:
            report.stopped_because = TOO_MANY_MISSING
        return report

    async def _note_disputes(self, pace: Pace) -> None:
        """Find disputes whose event never came. A key that may not read them reconciles everything else."""
        now = int(self._clock.now())
        try:
            async for dispute in list_open_disputes(self.billing, now, pace):
                row = await self._ledger.find_customer_by_stripe(dispute.stripe_customer_id or "")
                if row is not None:
                    await self._ledger.note_dispute(dispute.dispute_id, row.customer_id, now)
        except BillingRefused as error:
            log.warning("disputes were not reconciled", reason=str(error))

    async def fetch_current(self, customer_id: str) -> Candidate | None:
        """The subscription that can be changed, as Stripe has it now, with the item that decides its plan.

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
            **asdict(cause),
        )
        for finding in findings:
            log.warning("sync finding", customer_id=row.customer_id, code=finding.code, detail=finding.detail)
        await self._carry_to_cache(row.customer_id)
        if recorded is None:
            self.superseded += 1
            return SyncOutcome(result="superseded", subscription=await self._ledger.load_subscription(row.customer_id))
        self.applied += 1
        subscription, changed = recorded.after, recorded.after != recorded.before
        if changed:
            log.info(
                "subscription changed", customer_id=row.customer_id, because=cause.because, **_in_short(subscription)
            )
        return SyncOutcome(result="applied", subscription=subscription, changed=changed, findings=findings)

    async def _carry_to_cache(self, customer_id: str) -> None:
        """Have the cache know what the ledger knows, also if another sync recorded it a moment ago and is on its way.

        Whoever waited for this sync, the buyer at the success page or of an upgrade, calls next.
        """
        row = await self._ledger.find_customer(customer_id)
        if row is None or row.published_version >= row.version:
            return
        try:
            await self._publish(customer_id)
        except CapacityReduced:
            log.warning("change not in the cache yet", customer_id=customer_id)

    async def _sync_one(self, row: CustomerRow, report: SyncReport, pace: Pace, because: str, actor: str) -> None:
        if row.stripe_customer_id is None:
            report.unbound += 1
            return
        for pause_s in (*_OUTAGE_PAUSES_S, None):
            await pace.wait()
            try:
                async with self.billing.pace.turn():
                    outcome = await self.sync_customer(row.customer_id, because, actor=actor, end_if_missing=False)
            except BillingUnavailable:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                continue
            except BillingRefused as error:
                report.failed += 1
                if isinstance(error, BillingKeyRefused) and _is_no_key(error, report):
                    raise
                log.warning("customer not synced", customer_id=row.customer_id, reason=str(error))
                return
            pace.took(outcome.requests)
            _count(report, row.customer_id, outcome)
            return

    async def _end_one(
        self, customer_id: str, report: SyncReport, pace: Pace, because: str, actor: str, *, is_meant: bool
    ) -> None:
        """End one whom Stripe does not have. After too many, who has something to lose is held unless it is meant."""
        if not is_meant and not may_end(report.ended, report.checked):
            recorded = await self._ledger.load_subscription(customer_id)
            report.held += recorded is not None and recorded.status != CUSTOMER_DELETED
            return
        await pace.wait()
        try:
            outcome = await self.sync_customer(customer_id, because, actor=actor)
        except BillingRefused as error:
            report.failed += 1
            log.warning("customer not ended", customer_id=customer_id, reason=str(error))
        else:
            pace.took(outcome.requests)
            report.changed += outcome.changed
            report.ended += outcome.changed


def _is_no_key(error: BillingKeyRefused, report: SyncReport) -> bool:
    """Whether the key reads nobody: then all would fail, and nothing would have been reconciled."""
    return error.is_whole or (not report.checked and report.failed >= _REFUSED_AT_MOST)


def _count(report: SyncReport, customer_id: str, outcome: SyncOutcome) -> None:
    report.checked += 1
    report.changed += outcome.changed
    report.findings += [(customer_id, finding) for finding in outcome.findings]
    if outcome.result == "missing":
        report.missing.append(customer_id)


def _in_short(subscription: Subscription | None) -> dict[str, str | None]:
    if subscription is None:
        return {"status": None, "plan_id": None}
    return {"status": subscription.status, "plan_id": subscription.plan_id}
