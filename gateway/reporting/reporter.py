"""USE CASE: overage in the ledger -> Stripe's Billing Meters.

Works from the ledger alone, so whichever worker is there goes on where another stopped. Per customer and meter one
worker has the turn; it sends what waits, then looks at what was settled since. A report is written before Stripe is
told, and tried with the same words until Stripe has it: a process that stops anywhere loses nothing and reports
nothing twice. Steps, between any two of which it may stop:

    take the turn, look, write the report, note the try, tell Stripe, note the answer, give the turn up

Stripe is told nothing under a key that is not of the ledger's account (`sync.account`). That is asked once a run, by
the first report that is to be sent, and waited for like an outage, and so is a refused key. A report is given up
(dead), and somebody must look, where Stripe keeps refusing the report, where it is too old for Stripe, or where nobody
could tell for a day whether Stripe took it: then Stripe may not know its identifier any more, and sending it again
might bill it twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import structlog

from gateway.core.errors import (
    BillingKeyRefused,
    BillingRefused,
    BillingUnavailable,
    StripeAccountWrong,
    TiergateError,
)
from gateway.core.metering import KNOWN_FOR_S, Running, happened_at, is_too_old, look, report_identifier
from gateway.ledger import MeterReportRow
from gateway.reporting.describing import describe
from gateway.reporting.lost import finish
from gateway.reporting.options import ReportingOptions
from gateway.reporting.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.billing import Billing
    from gateway.clock import Clock
    from gateway.core.account import Account
    from gateway.core.policy import Policy
    from gateway.ledger import Ledger, MeteredWindowRow, MeterTurn
    from gateway.reporting.proof import Trouble
    from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)


class HoldsPolicy(Protocol):
    """Where the running policy is found."""

    @property
    def current(self) -> Policy:
        """The policy in force now."""
        ...


class Reporter:
    """Reports what is due.

    Args:
        ledger: What was used, and the reports.
        billing: Who is told.
        check_account: Returns if the key is of the ledger's account; else it raises what `sync.account` does.
        policy: What is billed by which meter.
        clock: Unix seconds.
        metrics: What was reported, and what waits.
        options: How it paces itself.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        billing: Billing,
        check_account: Callable[[], Awaitable[None]],
        policy: HoldsPolicy,
        clock: Clock,
        metrics: Metrics,
        options: ReportingOptions | None = None,
    ) -> None:
        self._ledger = ledger
        self._billing = billing
        self._check_account = check_account
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
        options, done, proof = self._options, 0, Proof(self._check_account)
        seen: set[tuple[str, str]] = set()
        while True:
            turns = await self._ledger.claim_meters(
                worker=self._worker, now=self._now(), lease_s=options.lease_s, limit=options.batch
            )
            for start in range(0, len(turns), options.at_once):
                done += sum(
                    await asyncio.gather(*(self._work(turn, proof) for turn in turns[start : start + options.at_once]))
                )
            whose = {(turn.customer_id, turn.meter) for turn in turns}
            if len(turns) < options.batch or whose <= seen:
                break
            seen |= whose
        counts, look_at = await self._ledger.report_counts()
        for status, reports in counts.items():
            self._metrics.meter_reports_waiting.labels(status).set(reports)
        for meter, units in (await self._ledger.count_unbilled()).items():
            self._metrics.meter_units_unbilled.labels(meter).set(units)
        self._metrics.meter_late_seconds.set(0 if look_at is None else max(0, self._now() - look_at))
        return done

    async def _work(self, turn: MeterTurn, proof: Proof) -> int:
        """What is due of one customer and meter. How many reports are done; a turn that fails runs out by itself."""
        try:
            done = await self._report(turn, proof)
            await self._ledger.release_meter(turn)
        except TiergateError:
            raise
        except Exception:  # a defect with one customer must not keep others from being billed
            log.exception("overage could not be reported", customer_id=turn.customer_id, meter=turn.meter)
            return 0
        return done

    async def _report(self, turn: MeterTurn, proof: Proof) -> int:
        """In order: a report that cannot be sent holds up what comes after it."""
        done = 0
        while (waiting := await self._ledger.find_open_report(turn)) is not None:
            if waiting.due_at > self._now() or not await self._send(waiting, proof):
                return done
            done += 1
        account = await self._ledger.load_account(turn.customer_id)
        for window in await self._ledger.list_unreported(turn):
            report = await self._look(window, account)
            if report is None:
                continue
            is_ours = await self._ledger.begin_report(turn, window, report, self._now())
            if not is_ours or not await self._send(report, proof):
                break
            done += 1
        return done

    async def _look(self, window: MeteredWindowRow, account: Account | None) -> MeterReportRow | None:
        """Note what is seen of a window; the report that is to be made of it now, if one is."""
        now = self._now()
        known = describe(window, self._policy.current, account, now)
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

    async def _send(self, report: MeterReportRow, proof: Proof) -> bool:
        """Whether Stripe has it now, or it is given up, so that what comes after it may go on."""
        if (trouble := await proof.find_trouble()) is None:
            return await self._tell(report)
        await self._wait(report, trouble)
        return False

    async def _tell(self, report: MeterReportRow) -> bool:
        now = self._now()
        customer = await self._ledger.find_customer(report.customer_id)
        stripe_customer_id = None if customer is None else customer.stripe_customer_id
        hopeless = _why_hopeless(report, now)
        if hopeless is not None or stripe_customer_id is None:
            return await self._give_up(report, hopeless or "the customer has no account at Stripe")
        pause_s = self._pause_s(report)
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
            self._metrics.meter_reports.labels("refused").inc()
            await self._wait(report, error)
            return False
        except BillingRefused as error:
            if report.attempts + 1 >= self._options.refusals:
                return await self._give_up(report, str(error))
            await self._not_sent(report, error, pause_s, is_unknown=False)
            return False
        await finish(self._ledger, self._policy.current, self._metrics, report, self._now())
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

    async def _wait(self, report: MeterReportRow, trouble: Trouble) -> None:
        """The report is as before: it is not to blame for the trouble with the key, or with Stripe."""
        is_outage = isinstance(trouble, BillingUnavailable) and not isinstance(trouble, StripeAccountWrong)
        pause_s = self._pause_s(report) if is_outage else self._options.pauses_s[-1]
        reason = trouble.what if isinstance(trouble, StripeAccountWrong) else str(trouble)
        await self._delay(report, reason, pause_s, is_unknown=False, counts=False)

    async def _not_sent(
        self, report: MeterReportRow, error: BillingRefused | BillingUnavailable, pause_s: int, *, is_unknown: bool
    ) -> None:
        self._metrics.meter_reports.labels("unanswered" if is_unknown else "refused").inc()
        await self._delay(report, str(error), pause_s, is_unknown=is_unknown, counts=True)

    async def _delay(
        self, report: MeterReportRow, reason: str, pause_s: int, *, is_unknown: bool, counts: bool
    ) -> None:
        log.warning("overage not reported yet", identifier=report.identifier, next_try_s=pause_s, reason=reason)
        until = self._now() + pause_s
        await self._ledger.delay_report(report, until=until, error=reason, is_unknown=is_unknown, counts=counts)

    def _pause_s(self, report: MeterReportRow) -> int:
        return self._options.pauses_s[min(report.attempts, len(self._options.pauses_s) - 1)]

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
