"""Metrics: what a running gateway counts.

They never carry a customer id as a label: their number is bounded by policy (routes, tiers, verdicts),
not by customers.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess

from gateway.supervised import METRICS_VARIABLE
from gateway.telemetry.counting import Count, Durations
from gateway.telemetry.metric_files import files_at_rest


class Metrics:
    """Every metric of the process, in one registry of its own.

    What is counted on every call is added up here and shown after `flush`, which a background task
    calls every second: the metrics themselves take a lock, and with several workers a shared file.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "tier", "verdict")
        self.decisions = Counter(
            "tiergate_decisions",
            "Decisions by route pattern, tier and verdict (admitted, or a problem code).",
            labels,
            registry=self.registry,
        )
        self.responses = Counter(
            "tiergate_responses",
            "Responses sent to callers, by status class.",
            ("status",),
            registry=self.registry,
        )
        self.decision_seconds = Durations(
            "tiergate_decision_seconds",
            "Seconds from the request's arrival to the decision: the latency that enforcement adds.",
            self.registry,
        )
        self.upstream_seconds = Durations(
            "tiergate_upstream_seconds",
            "Seconds from the decision to the first byte of the upstream's response.",
            self.registry,
        )
        self._counts: dict[tuple[str, ...], Count] = {}
        self.refunds = Counter("tiergate_refunds", "Charges given back.", ("result",), registry=self.registry)
        self.settled = Counter(
            "tiergate_charges_settled",
            "Charges corrected to what the call cost (settled), right (nothing), not counted any more, or lost.",
            ("result",),
            registry=self.registry,
        )
        self.cost_faults = Counter(
            "tiergate_cost_faults",
            "Responses whose cost could not be taken as told (missing, malformed, above the cap, left by its caller).",
            ("route", "fault"),
            registry=self.registry,
        )
        self.leases = Counter(
            "tiergate_leases",
            "Leases that workers asked for, by result (granted, refused, unknown).",
            ("result",),
            registry=self.registry,
        )
        self.lease_calls = Counter(
            "tiergate_lease_calls",
            "Calls that leases were granted for, and what became of them: admitted, returned (to quotas), "
            "lapsed (rates only: nothing to return), lost. Told when a lease ends.",
            ("fate",),
            registry=self.registry,
        )
        self.lease_calls_left = Gauge(
            "tiergate_lease_calls_left",
            "Calls that leases hold: counted in the cache, and not let through yet.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.places = Gauge(
            "tiergate_calls_at_once_places",
            "Places that calls in progress have in limits on calls at once; a call has one in each of its limits.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.events = Counter(
            "tiergate_stripe_events", "Webhook deliveries by result.", ("result",), registry=self.registry
        )
        self.stripe_limited = Counter(
            "tiergate_stripe_limited",
            "Answers of Stripe that said there were too many requests.",
            registry=self.registry,
        )
        self.signups_refused = Counter(
            "tiergate_signups_refused",
            "Sign-ups refused because too many came, by whose pace it was (network, all).",
            ("pace",),
            registry=self.registry,
        )
        self.policy_reloads = Counter(
            "tiergate_policy_reloads", "Policy edits by result (taken, refused).", ("result",), registry=self.registry
        )
        self.inbox = Gauge(
            "tiergate_inbox_events",
            "Stripe events in the ledger's inbox, by status.",
            ("status",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.inbox_oldest_seconds = Gauge(
            "tiergate_inbox_oldest_pending_seconds",
            "Age of the oldest event not yet worked on.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.oldest_sync_seconds = Gauge(
            "tiergate_sync_oldest_seconds",
            "Age of the oldest read of Stripe among customers that Stripe knows.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.reconciled_at = Gauge(
            "tiergate_reconciliation_finished_timestamp_seconds",
            "When the last complete reconciliation of all customers ended; 0: none has.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.held_since = Gauge(
            "tiergate_reconciliation_held_since_timestamp_seconds",
            "Since when no reconciliation ends customers that Stripe does not have, until somebody says how many may "
            "be ended; 0: it is not so.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.account_wrong = Gauge(
            "tiergate_stripe_account_wrong",
            "1: the Stripe key is not of the account that the ledger belongs to; nothing is sold or ended.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.drift = Counter(
            "tiergate_reconciliation_drift",
            "Customers that a reconciliation found not to be as Stripe had them, and repaired.",
            registry=self.registry,
        )
        self.findings = Counter(
            "tiergate_sync_findings",
            "Reads of a customer that came upon something that the seller should know, by what it is.",
            ["code"],
            registry=self.registry,
        )
        self.strangers = Counter(
            "tiergate_stranger_events",
            "Events about Stripe customers that are not in the ledger, by what became of them: lost (set aside), "
            "another-ledger, not-in-this-ledger (whose is not known), not-ours, no-customer.",
            ["verdict"],
            registry=self.registry,
        )
        self.undelivered = Counter(
            "tiergate_undelivered_events",
            "Events that Stripe could not deliver, found by a sweep and stored.",
            registry=self.registry,
        )
        self.up = Gauge(
            "tiergate_dependency_up",
            "1 if the dependency answered its last check (cache, ledger, stripe).",
            ("dependency",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.upstream_healthy = Gauge(
            "tiergate_upstream_healthy",
            "1 if the server is in; 0 if a worker leaves it alone because it fails requests or its checks.",
            ("group", "server"),
            registry=self.registry,
            multiprocess_mode="min",
        )
        self.websockets = Gauge(
            "tiergate_websockets_open",
            "WebSockets that are open.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.websocket_messages = Counter(
            "tiergate_websocket_messages",
            "Messages relayed, by whom they are from (caller, upstream): told once a minute, and at a WebSocket's end.",
            ("sender",),
            registry=self.registry,
        )
        self.cache_servers_down = Gauge(
            "tiergate_cache_servers_down",
            "Masters of a cache cluster that do not answer; their customers are refused.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.unpublished = Gauge(
            "tiergate_unpublished_accounts",
            "Customers whose last change is in the ledger and not yet in the cache.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.settled_seconds = Gauge(
            "tiergate_last_settlement_timestamp_seconds",
            "When counters were last written to the ledger.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.alerts = Counter(
            "tiergate_alert_deliveries",
            "Tries to send an alert, by way (webhook, email) and result (taken, not-taken, dead).",
            ("channel", "result"),
            registry=self.registry,
        )
        self.meter_units = Counter(
            "tiergate_overage_units",
            "Units beyond quotas that Stripe's Billing Meters were told of, by meter.",
            ("meter",),
            registry=self.registry,
        )
        self.meter_reports = Counter(
            "tiergate_meter_reports",
            "Reports to Stripe's Billing Meters: sent, known to it, unanswered, refused or dead.",
            ("result",),
            registry=self.registry,
        )
        self.meter_reports_waiting = Gauge(
            "tiergate_meter_reports_waiting",
            "Reports in the ledger that Stripe does not have, by status (pending, dead).",
            ("status",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.meter_units_unbilled = Gauge(
            "tiergate_overage_unbilled_units",
            "Units beyond quotas that no invoice asks for and nobody has acknowledged, by meter.",
            ("meter",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.meter_late_seconds = Gauge(
            "tiergate_meter_late_seconds",
            "For how long the oldest overage that is due has not been reported.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.alerts_waiting = Gauge(
            "tiergate_alerts",
            "Alerts in the ledger that are not sent, by status (pending, claimed, dead).",
            ("status",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.usage_history_dropped = Counter(
            "tiergate_usage_history_dropped_requests",
            "Calls that the usage history lacks because the ledger was away for too long. No quota counter lacks them.",
            registry=self.registry,
        )
        self.outage_admitted = Counter(
            "tiergate_outage_admitted",
            "Calls let in although the cache could not decide, by what policy said (allow, local).",
            ("mode",),
            registry=self.registry,
        )
        self.outage_owed = Gauge(
            "tiergate_outage_owed_units",
            "Units of such calls that are not charged back yet.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.outage_charged_back = Counter(
            "tiergate_outage_charged_back_units",
            "Units of such calls that were counted when the cache was back.",
            registry=self.registry,
        )
        self.decisions_dropped = Counter(
            "tiergate_decision_records_dropped",
            "Decision records dropped because the cache did not take them in time: nobody can ask why.",
            registry=self.registry,
        )
        self.background_failures = Counter(
            "tiergate_background_failures",
            "Failed runs of a background task.",
            ("task",),
            registry=self.registry,
        )

    def decided(self, route: str, tier: str, verdict: str) -> Count:
        """Decisions of one kind. The same for the same labels: keep it, and add to its `n`."""
        return self._count(self.decisions, route, tier, verdict)

    def responded(self, status: int) -> Count:
        """Responses of one class."""
        return self._count(self.responses, f"{status // 100}xx")

    def flush(self) -> None:
        """Show what was added up."""
        for count in self._counts.values():
            count.flush()
        self.decision_seconds.flush()
        self.upstream_seconds.flush()

    def _count(self, counter: Counter, *labels: str) -> Count:
        count = self._counts.get(labels)
        if count is None:
            count = self._counts[labels] = Count(counter.labels(*labels))
        return count

    def render(self) -> bytes:
        """The Prometheus text format, over all workers of this machine."""
        self.flush()
        if METRICS_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library's class has no annotations
        with files_at_rest(Path(os.environ[METRICS_VARIABLE]), fcntl.LOCK_SH):
            return generate_latest(registry)
