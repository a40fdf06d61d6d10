"""USE CASE: overage in the ledger -> Stripe's Billing Meters.

Works from the ledger alone, so whichever worker is there goes on where another stopped. Per customer and meter one
worker has the turn; it sends what waits, then looks at what was settled since. A report is written before Stripe is
told, and tried with the same words until Stripe has it: a process that stops anywhere loses nothing and reports
nothing twice. Steps, between any two of which it may stop:

    take the turn, look, write the report, note the try, tell Stripe, note the answer, give the turn up

A refused key is waited for like an outage. A report is given up (dead), and somebody must look, where Stripe keeps
refusing the report, where it is too old for Stripe, or where nobody could tell for a day whether Stripe took it: then
Stripe may not know its identifier any more, and sending it again might bill it twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import structlog

from gateway.core.access import decide_access
from gateway.core.allowance import carried_item
from gateway.core.errors import BillingKeyRefused, BillingRefused, BillingUnavailable, TiergateError
from gateway.core.limits import Quota
from gateway.core.metering import KNOWN_FOR_S, Running, happened_at, is_too_old, look, report_identifier
from gateway.core.window import month_window, quota_window
from gateway.ledger import MeterReportRow

if TYPE_CHECKING:
    from gateway.billing import Billing
    from gateway.clock import Clock
    from gateway.core.account import Account
    from gateway.core.policy import Policy
    from gateway.ledger import Ledger, MeteredWindowRow, MeterTurn
    from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingOptions:
    """How reporting paces itself."""

    hold_s: int = 60
    """How long a total must have stood while its window is open; and at most one report in so long."""
    pauses_s: tuple[int, ...] = (5, 15, 60, 180, 300)
    """Seconds after each try that failed; the last one is repeated. An invoice waits for an hour."""
    refusals: int = 8
    """A report that Stripe refuses so often is dead: some 20 minutes."""
    lease_s: int = 120
    """How long a turn lasts: longer than a try, which has its own deadline."""
    batch: int = 20
    """Turns that one worker takes at once."""
    at_once: int = 4
    """Calls to Stripe at once."""


class HoldsPolicy(Protocol):
    """Where the running policy is found."""

    @property
    def current(self) -> Policy:
        """The policy in force now."""
        ...


class Reporter:
    """Reports what is due."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        billing: Billing,
        policy: HoldsPolicy,
        clock: Clock,
        metrics: Metrics,
        options: ReportingOptions | None = None,
    ) -> None:
        self._ledger = ledger
        self._billing = billing
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._options = options or ReportingOptions()
        self._worker = uuid4().hex

    async def report_due(self) -> int:
        """Report everything that is due once, and show how much waits. It ends where only what it saw is due.

        Returns:
            How many reports are done: Stripe has them, or they were given up.

        Raises:
            LedgerUnavailable: Turns that were taken run out by themselves.
        """
        options, done = self._options, 0
        seen: set[tuple[str, str]] = set()
        while True:
            turns = await self._ledger.claim_meters(
                worker=self._worker, now=self._now(), lease_s=options.lease_s, limit=options.batch
            )
            for start in range(0, len(turns), options.at_once):
                done += sum(
                    await asyncio.gather(*(self._work(turn) for turn in turns[start : start + options.at_once]))
                )
            whose = {(turn.customer_id, turn.meter) for turn in turns}
            if len(turns) < options.batch or whose <= seen:
                break
            seen |= whose
        counts, look_at = await self._ledger.report_counts()
        for status, reports in counts.items():
            self._metrics.meter_reports_waiting.labels(status).set(reports)
        self._metrics.meter_late_seconds.set(0 if look_at is None else max(0, self._now() - look_at))
        return done

    async def _work(self, turn: MeterTurn) -> int:
        """What is due of one customer and meter. How many reports are done; a turn that fails runs out by itself."""
        try:
            done = await self._report(turn)
            await self._ledger.release_meter(turn)
        except TiergateError:
            raise
        except Exception:  # a defect with one customer must not keep others from being billed
            log.exception("overage could not be reported", customer_id=turn.customer_id, meter=turn.meter)
            return 0
        return done

    async def _report(self, turn: MeterTurn) -> int:
        """In order: a report that cannot be sent holds up what comes after it."""
        done = 0
        while (waiting := await self._ledger.find_open_report(turn)) is not None:
            if waiting.due_at > self._now() or not await self._send(waiting):
                return done
            done += 1
        account = await self._ledger.load_account(turn.customer_id)
        for window in await self._ledger.list_unreported(turn):
            report = await self._look(window, account)
            if report is None:
                continue
            is_ours = await self._ledger.begin_report(turn, window, report, self._now())
            if not is_ours or not await self._send(report):
                break
            done += 1
        return done

    async def _look(self, window: MeteredWindowRow, account: Account | None) -> MeterReportRow | None:
        """Note what is seen of a window; the report that is to be made of it now, if one is."""
        now = self._now()
        known = self._describe(window, account, now)
        if known.window_ends_at is None or known.stripe_meter is None:
            log.error("no tier bills this overage any more", customer_id=window.customer_id, meter=window.meter)
            await self._ledger.note_window(replace(known, look_at=now + self._options.hold_s))
            return None
        seen = look(
            Running(
                starts_at=window.window_starts_at,
                ends_at=known.window_ends_at,
                total=window.total,
                reported=window.reported,
                stood=window.stood,
                stood_at=window.stood_at,
            ),
            now,
            self._options.hold_s,
        )
        noted = replace(known, stood=seen.stood, stood_at=seen.stood_at, look_at=seen.look_at)
        if noted != window:
            await self._ledger.note_window(noted)
        if seen.report_to <= window.reported:
            return None
        return MeterReportRow(
            identifier=report_identifier(window.customer_id, window.meter, window.window_starts_at, seen.report_to),
            customer_id=window.customer_id,
            meter=window.meter,
            stripe_meter=known.stripe_meter,
            window_starts_at=window.window_starts_at,
            total=seen.report_to,
            units=seen.report_to - window.reported,
            happened_at=happened_at(window.window_starts_at, known.window_ends_at, now),
            made_at=now,
            due_at=now,
        )

    def _describe(self, window: MeteredWindowRow, account: Account | None, now: int) -> MeteredWindowRow:
        """The window with its end, what it includes, and Stripe's meter: of the tier in force, else as it was known."""
        policy, starts_at = self._policy.current, window.window_starts_at
        ends_at, included, stripe_meter = window.window_ends_at, window.included, window.stripe_meter
        if ends_at is None:
            ends_at = month_window(starts_at, starts_at)[1]
            if account is not None and quota_window(account, starts_at, None)[0] == starts_at:
                ends_at = quota_window(account, starts_at, None)[1]
        if account is not None and starts_at < (next_at := quota_window(account, now, None)[0]):
            ends_at = min(ends_at, next_at)  # another subscription began before this one's period was over
        access = None if account is None else decide_access(account, policy, now)
        if account is not None and access is not None and access.tier is not None and now < ends_at:
            for limit in access.tier.limits:
                if isinstance(limit, Quota) and (limit.meter, limit.window_s, limit.group) == (
                    window.meter,
                    None,
                    None,
                ):
                    included = limit.units
            for overage in access.tier.overages:
                if overage.meter == window.meter and carried_item(policy, account, access, overage) is not None:
                    stripe_meter = overage.stripe_meter
        if stripe_meter is None:
            any_tier = (one for tier in policy.tiers.values() for one in tier.overages if one.meter == window.meter)
            stripe_meter = next((one.stripe_meter for one in any_tier), None)
        return replace(window, window_ends_at=ends_at, included=included or 0, stripe_meter=stripe_meter)

    async def _send(self, report: MeterReportRow) -> bool:
        """Whether Stripe has it now, or it is given up, so that what comes after it may go on."""
        now = self._now()
        customer = await self._ledger.find_customer(report.customer_id)
        stripe_customer_id = None if customer is None else customer.stripe_customer_id
        hopeless = _why_hopeless(report, now)
        if hopeless is not None or stripe_customer_id is None:
            return await self._give_up(report, hopeless or "the customer has no account at Stripe")
        pause_s = self._options.pauses_s[min(report.attempts, len(self._options.pauses_s) - 1)]
        await self._ledger.try_report(report, now=now, due_at=now + pause_s)
        try:
            is_new = await self._billing.meter_events.send(
                event_name=report.stripe_meter,
                stripe_customer_id=stripe_customer_id,
                identifier=report.identifier,
                units=report.units,
                at=report.happened_at,
                tried_at=now,
            )
        except BillingUnavailable as error:
            await self._not_sent(report, error, pause_s, is_unknown=True)
            return False
        except BillingKeyRefused as error:
            await self._not_sent(report, error, self._options.pauses_s[-1], is_unknown=False, counts=False)
            return False
        except BillingRefused as error:
            if report.attempts + 1 >= self._options.refusals:
                return await self._give_up(report, str(error))
            await self._not_sent(report, error, pause_s, is_unknown=False)
            return False
        await self._ledger.finish_report(report, now=self._now())
        self._metrics.meter_reports.labels("sent" if is_new else "known").inc()
        self._metrics.meter_units.labels(report.meter).inc(report.units)
        log.info(
            "overage reported",
            customer_id=report.customer_id,
            meter=report.meter,
            units=report.units,
            total=report.total,
            identifier=report.identifier,
        )
        return True

    async def _not_sent(
        self,
        report: MeterReportRow,
        error: BillingRefused | BillingUnavailable,
        pause_s: int,
        *,
        is_unknown: bool,
        counts: bool = True,
    ) -> None:
        self._metrics.meter_reports.labels("unanswered" if is_unknown else "refused").inc()
        log.warning("overage not reported yet", identifier=report.identifier, next_try_s=pause_s, reason=str(error))
        until = self._now() + pause_s
        await self._ledger.delay_report(report, until=until, error=str(error), is_unknown=is_unknown, counts=counts)

    async def _give_up(self, report: MeterReportRow, error: str) -> bool:
        self._metrics.meter_reports.labels("dead").inc()
        log.error(
            "overage report given up",
            customer_id=report.customer_id,
            meter=report.meter,
            units=report.units,
            identifier=report.identifier,
            reason=error,
        )
        await self._ledger.bury_report(report, error=error)
        return True

    def _now(self) -> int:
        return int(self._clock.now())


def _why_hopeless(report: MeterReportRow, now: int) -> str | None:
    if is_too_old(report.happened_at, now):
        return "happened more than 35 days ago, which Stripe does not take any more"
    if report.tried_at is not None and now - report.tried_at > KNOWN_FOR_S:
        return "for a day nobody could tell whether Stripe took it: compare with what its meter counts"
    return None
