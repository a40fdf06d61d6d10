"""Logs and metrics: how a running gateway tells what it does.

One log event is a constant message with fields beside it; keys appear as digests or last
four characters only. Metrics never carry a customer id as a label: their number is bounded
by policy (routes, tiers, verdicts), not by customers.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.mmap_dict import MmapedDict

from gateway.supervised import METRICS_VARIABLE

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def configure_logging(log_format: str, level: str) -> None:
    """Send all logs, ours and the server's, to standard error in one format.

    Args:
        log_format: `json` or `console`.
        level: Least severe level that is written: debug, info, warning or error.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=()),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if log_format == "console"
        else structlog.processors.JSONRenderer()
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for noisy in ("stripe", "httpx", "httpcore", "aiosqlite", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))


class Count:
    """A number of things of one kind since the last `Metrics.flush`. Adding one costs nothing."""

    __slots__ = ("_counter", "n")

    def __init__(self, counter: Counter) -> None:
        self.n = 0
        self._counter = counter

    def flush(self) -> None:
        """Add it to the metric."""
        n, self.n = self.n, 0
        if n:
            self._counter.inc(n)


class Durations(Histogram):
    """A histogram that is fed many observations at once."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        super().__init__(name, documentation, registry=registry, buckets=_SECONDS)
        self._waiting = [0] * (len(_SECONDS) + 1)
        self._waiting_s = 0.0

    def add(self, seconds: float) -> None:
        """One observation; shown after the next `flush`."""
        self._waiting[bisect_left(_SECONDS, seconds)] += 1
        self._waiting_s += seconds

    def flush(self) -> None:
        """Show them."""
        waiting, self._waiting = self._waiting, [0] * (len(_SECONDS) + 1)
        total_s, self._waiting_s = self._waiting_s, 0.0
        self._sum.inc(total_s)
        for bucket, n in zip(self._buckets, waiting, strict=True):
            if n:
                bucket.inc(n)


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
            "Charges corrected to what the call cost (settled), right or not counted any more (nothing), or lost.",
            ("result",),
            registry=self.registry,
        )
        self.cost_faults = Counter(
            "tiergate_cost_faults",
            "Responses whose cost could not be taken as told (missing, malformed, above the cap).",
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
        self.events = Counter(
            "tiergate_stripe_events", "Webhook deliveries by result.", ("result",), registry=self.registry
        )
        self.policy_reloads = Counter(
            "tiergate_policy_reloads",
            "Policy edits by result (taken, refused).",
            ("result",),
            registry=self.registry,
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
        with _files_at_rest(Path(os.environ[METRICS_VARIABLE]), fcntl.LOCK_SH):
            return generate_latest(registry)


def fold_worker(directory: Path, pid: int) -> None:
    """Add what a dead worker has counted to one file for all the dead, so that theirs do not pile up.

    Its gauges are dropped: every other worker sets the same ones within seconds.

    Args:
        directory: Where workers share their metrics.
        pid: Of a process that has ended.

    Raises:
        OSError, RuntimeError: Its files cannot be read, or the sum not written.
    """
    with _files_at_rest(directory, fcntl.LOCK_EX):
        for file in directory.glob(f"*_{pid}.db"):
            kind = file.stem.removesuffix(f"_{pid}")
            if kind in {"counter", "histogram"}:
                _add(file, directory / f"{kind}_dead.db")
            file.unlink()


def _add(file: Path, total: Path) -> None:
    sums = MmapedDict(str(total))  # type: ignore[no-untyped-call]  # the library's class has no annotations
    try:
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]  # as above
            before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]  # as above
            sums.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]  # as above
    finally:
        sums.close()  # type: ignore[no-untyped-call]  # as above


@contextmanager
def _files_at_rest(directory: Path, operation: int) -> Iterator[None]:
    """Nobody reads the files while one is added to another: what moves would be seen twice, or not at all."""
    handle = os.open(directory / "metrics.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, operation)
        yield
    finally:
        os.close(handle)
