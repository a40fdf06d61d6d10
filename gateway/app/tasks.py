"""What goes on beside requests in one worker: the tasks, and how often each runs."""

from __future__ import annotations

import os
import signal

import structlog

from gateway.app.opening import bring_up_to_date
from gateway.background import Background
from gateway.explaining import FLUSH_S
from gateway.ledger import ALERTS_KEPT_S, CHECKOUTS_KEPT_S, DAY_S, EVENTS_KEPT_S, REPORTS_KEPT_S
from gateway.live_calls import RENEW_S as HOLD_S
from gateway.supervised import parent_pid
from gateway.upstream import HealthChecker
from gateway.web.billing_watch import watch_account, watch_billing
from gateway.web.health import watch_dependencies, watch_stripe
from gateway.web.runtime import Runtime

log = structlog.get_logger(__name__)

_REPAIR_S = 2.0
_CHARGE_BACK_S = 1.0
_SHOW_S = 1.0
_ALERTS_S = 2.0
_RENEW_S = 10.0
_REPORTS_S = 2.0
_PARENT_CHECK_S = 0.2
_DEPENDENCY_CHECK_S = 5.0
_PLAN_CHECK_S = 5.0
_FORGET_S = 600.0
_RECONCILE_CHECK_S = 60.0


def start_tasks(background: Background, runtime: Runtime) -> None:
    """Everything that goes on beside requests in one worker."""
    settings = runtime.settings
    background.run("policy watch", runtime.policy.watch)
    if runtime.leasing is not None:
        background.run("news of accounts", runtime.cache.news(runtime.leasing.drop, runtime.leasing.inform).run)
    background.every(settings.settle_interval_s, "settlement", runtime.settlement.settle)
    background.every(settings.settle_interval_s, "usage history", runtime.tallies.flush)
    background.every(FLUSH_S, "decision records", runtime.decisions.flush)
    background.every(HOLD_S, "calls in progress", runtime.admission.live.renew)
    background.every(_REPAIR_S, "cache repair", runtime.publisher.repair)
    background.every(_CHARGE_BACK_S, "charge-back", lambda: charge_back(runtime))
    if runtime.leasing is not None:
        background.every(_CHARGE_BACK_S, "leases without an answer", runtime.leasing.give_back)
    background.every(_CHARGE_BACK_S, "accounts without a cache", runtime.admission.follow_ledger)
    background.every(_SHOW_S, "metrics", lambda: _show_metrics(runtime))
    background.run("upstream checks", HealthChecker(runtime.groups).run)
    background.every(_RENEW_S, "upstream groups", lambda: _renew_groups(runtime))
    if runtime.billing.is_configured:
        _start_billing(background, runtime)
    elif runtime.policy.current.plans:
        log.warning("the policy sells plans, and Stripe is not configured", plans=list(runtime.policy.current.plans))
    background.every(_DEPENDENCY_CHECK_S, "dependency checks", lambda: watch_dependencies(runtime))
    background.once("the ledger's tables", lambda: bring_up_to_date(runtime.ledger, settings))
    background.every(_FORGET_S, "old events", lambda: _forget_old_events(runtime))
    background.every(_FORGET_S, "old checkouts", lambda: _forget_old_checkouts(runtime))
    background.every(_FORGET_S, "old reports of overage", lambda: _forget_old_reports(runtime))
    if settings.alert_url is not None or settings.smtp_host is not None:
        background.every(_ALERTS_S, "alerts", runtime.alerts.send_due)
    background.every(_FORGET_S, "old usage", lambda: _roll_old_usage(runtime))
    background.once("settlement of what was left", runtime.settlement.settle_all)
    parent = parent_pid()
    if parent is not None:
        background.every(_PARENT_CHECK_S, "parent watch", lambda: _stop_without_parent(parent))


def _start_billing(background: Background, runtime: Runtime) -> None:
    """What keeps in step with Stripe, and tells it of overage."""
    background.every(_PLAN_CHECK_S, "plans of records", runtime.plan_checking.check_if_due)
    background.run("stripe events", runtime.events.run)
    background.every(_REPORTS_S, "overage", runtime.reporter.report_due)
    background.every(_FORGET_S, "overage that is not billed", runtime.unbilled.find)
    background.every(runtime.settings.event_sweep_interval_s, "undelivered events", runtime.events.sweep)
    background.every(_RECONCILE_CHECK_S, "reconciliation", runtime.reconciler.run_if_due)
    background.every(_RECONCILE_CHECK_S, "billing watch", lambda: watch_billing(runtime))
    background.every(_DEPENDENCY_CHECK_S, "refused deliveries", lambda: _say_refused(runtime))
    background.every(_DEPENDENCY_CHECK_S, "stripe check", lambda: watch_stripe(runtime))
    background.every(_DEPENDENCY_CHECK_S, "account check", lambda: watch_account(runtime))


async def _say_refused(runtime: Runtime) -> None:
    runtime.refused_deliveries.say_if_due()


async def charge_back(runtime: Runtime) -> None:
    """Count what was let in while the cache could not decide, and have it settled."""
    for customer_id in await runtime.outages.charge_back():
        runtime.settlement.note_moved(customer_id)


async def _show_metrics(runtime: Runtime) -> None:
    metrics = runtime.metrics
    metrics.places.set(runtime.admission.live.places)
    metrics.stripe_limited.inc(runtime.billing.pace.take_limited())
    if runtime.leasing is not None:
        metrics.lease_calls_left.set(runtime.leasing.calls_left)
    metrics.flush()


async def _renew_groups(runtime: Runtime) -> None:
    """Take a policy edit although nobody calls, and certificates that were replaced in place."""
    runtime.groups.update(runtime.policy.current.upstreams)
    runtime.groups.renew()


async def _forget_old_events(runtime: Runtime) -> None:
    forgotten = await runtime.ledger.forget_events(int(runtime.clock.now()) - EVENTS_KEPT_S)
    if forgotten:
        log.info("old events deleted", events=forgotten)


async def _forget_old_checkouts(runtime: Runtime) -> None:
    forgotten = await runtime.ledger.forget_checkouts(int(runtime.clock.now()) - CHECKOUTS_KEPT_S)
    if forgotten:
        log.info("old checkouts deleted", checkouts=forgotten)


async def _forget_old_reports(runtime: Runtime) -> None:
    forgotten = await runtime.ledger.forget_reports(int(runtime.clock.now()) - REPORTS_KEPT_S)
    if forgotten:
        log.info("old reports of overage deleted", reports=forgotten)
    await runtime.ledger.forget_ended_periods(int(runtime.clock.now()) - REPORTS_KEPT_S)


async def _roll_old_usage(runtime: Runtime) -> None:
    """Days of old hours, no more of the oldest days, and no more of what was told long ago."""
    settings = runtime.settings
    today = int(runtime.clock.now()) // DAY_S * DAY_S
    await runtime.ledger.roll_usage(today - settings.usage_hours_kept_days * DAY_S)
    forgotten = await runtime.ledger.forget_usage(today - settings.usage_kept_days * DAY_S)
    if forgotten:
        log.info("old usage deleted", rows=forgotten)
    await runtime.ledger.forget_alerts(int(runtime.clock.now()) - ALERTS_KEPT_S)


async def _stop_without_parent(parent_pid: int) -> None:
    if os.getppid() != parent_pid:
        log.warning("the parent process has gone; stopping")
        signal.raise_signal(signal.SIGTERM)
