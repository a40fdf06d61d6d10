"""Opening every part of a worker, in the order they need each other, and closing them in reverse."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from gateway.admission import Admission
from gateway.alerts import Noticing, Sending, open_channels
from gateway.assertions import Assertions
from gateway.billing import SEARCHES_PER_S, Billing, StripeOptions
from gateway.blocking import Blocking
from gateway.cache import Cache, CacheKeeper
from gateway.capping import Capping
from gateway.clock import Clock, SimulatedClock, SystemClock
from gateway.core.errors import LedgerUnavailable
from gateway.core.forwarding import HeaderRules
from gateway.core.keys import KeyCodec
from gateway.core.load import Load
from gateway.crediting import Crediting
from gateway.explaining import DecisionLog
from gateway.granting import Granting
from gateway.installation import check_installation
from gateway.leasing import Leasing
from gateway.ledger import Ledger, migrate
from gateway.outages import Outages
from gateway.pacing import Pacing
from gateway.policyfiles import LastGood, PolicyHolder
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.reporting import Reporter, ReportingOptions
from gateway.settings import Settings
from gateway.settlement import Settlement
from gateway.signups import Signups
from gateway.supervised import run_directory
from gateway.sync import Arrivals, EventWorker, PlanChecking, Reconciler, Schedule, Sync
from gateway.tallies import Tallies
from gateway.telemetry import Metrics
from gateway.unbilled import Unbilled
from gateway.upstream import GroupOptions, Groups, UpstreamTimeouts
from gateway.web.problems import Site
from gateway.web.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = structlog.get_logger(__name__)

_FIRST_CONNECT_S = 5.0


def make_clock(settings: Settings) -> Clock:
    """The system's clock, or the sandbox's if settings name one."""
    return SimulatedClock(settings.simulated_clock) if settings.simulated_clock is not None else SystemClock()


@asynccontextmanager
async def open_runtime(settings: Settings, *, proxies: bool = True) -> AsyncIterator[Runtime]:
    """Open every part, in the order they need each other; close them in reverse.

    A cache, a ledger or a Stripe that is down does not keep a worker from starting: it answers what
    it can and says what is missing on `/_tiergate/ready`.

    Args:
        settings: Of the process.
        proxies: Calls go to upstream servers, so that policy or settings must name some for every route.

    Raises:
        LedgerUrlInvalid, PolicyInvalid: There is nothing to serve from.
        InstallationChanged: The ledger is not to be used with these settings.
    """
    async with AsyncExitStack() as stack:
        clock, metrics = make_clock(settings), Metrics()
        run = run_directory()
        policy = PolicyHolder(
            settings.policy_dir,
            last_good=None if run is None else LastGood(run / "policy.json"),
            has_default_upstream=bool(settings.upstream_url) or not proxies,
        )
        ledger = await Ledger.open(settings.ledger_dsn)
        stack.push_async_callback(ledger.aclose)
        try:
            await bring_up_to_date(ledger, settings)
        except LedgerUnavailable as error:
            log.warning("the ledger is not there; only customers whom the cache knows are served", reason=str(error))
        may_trust_cache = run is not None

        async def repair() -> None:
            try:
                await publisher.repair()
            except LedgerUnavailable:
                if not may_trust_cache:
                    raise
                log.warning("the ledger does not answer; the cache is trusted as the other workers trust it")

        cache_url = await _cache_url(settings, stack)
        cache = await Cache.connect(cache_url, deadline_s=settings.cache_deadline_ms / 1000, on_reconnect=repair)
        stack.push_async_callback(cache.aclose)
        publisher = Publisher(ledger, cache, clock)
        outages = Outages(cache, publisher, metrics, settings.snapshot_entries)
        pacing = Pacing(cache, clock)
        billing = await Billing.open(
            StripeOptions(
                secret_key=settings.stripe_key,
                base_url=settings.stripe_url,
                price_ttl_s=settings.price_ttl_s,
                portal_configuration=settings.portal_configuration,
                searches_per_s=SEARCHES_PER_S / settings.workers,
                background_per_s=settings.stripe_requests_per_s / settings.workers,
            )
        )
        stack.push_async_callback(billing.aclose)
        groups = Groups(_group_options(settings), settings.upstream_url, metrics)
        groups.update(policy.current.upstreams)
        stack.push_async_callback(groups.aclose)
        codec = KeyCodec(settings.key_pepper.get_secret_value().encode(), settings.mode)
        leasing = _leasing(settings, cache, clock, metrics)
        admission = Admission(
            cache, publisher, policy, codec, clock, outages, entries=settings.snapshot_entries, leasing=leasing
        )
        channels = await stack.enter_async_context(open_channels(settings))
        noticing = Noticing(
            ledger=ledger,
            accounts=admission,
            policy=policy,
            clock=clock,
            channels=[channel.name for channel in channels],
        )
        settlement = Settlement(ledger, cache, publisher, clock, metrics, noticing.look)
        if leasing is not None:
            publisher.published, leasing.asking.moved = leasing.drop, settlement.note_moved
        sync = Sync(
            ledger=ledger,
            billing=billing,
            policy=policy,
            publish=publisher.publish_soon,
            clock=clock,
            settle=settlement.settle_one,
            channels=[channel.name for channel in channels],
        )
        await _repair_first(cache)
        may_trust_cache = False  # a cache that comes later may have been away, or be one that was
        provisioning = Provisioning(ledger, publisher, codec, clock)
        yield Runtime(
            settings=settings,
            clock=clock,
            metrics=metrics,
            site=Site(base_url=settings.base_url),
            codec=codec,
            policy=policy,
            cache=cache,
            ledger=ledger,
            billing=billing,
            groups=groups,
            rules=HeaderRules(trusted_proxies=settings.trusted_proxies),
            load=Load(most=settings.max_in_flight, most_per_customer=settings.max_in_flight_per_customer),
            publisher=publisher,
            provisioning=provisioning,
            blocking=Blocking(ledger=ledger, provisioning=provisioning, billing=billing),
            admission=admission,
            crediting=Crediting(ledger, publisher, clock),
            capping=Capping(ledger, publisher, clock),
            granting=Granting(ledger, publisher, clock),
            assertions=Assertions(
                settings.assertion_seeds,
                issuer=settings.base_url,
                audience=settings.assertion_audience,
                entries=settings.snapshot_entries,
            ),
            outages=outages,
            pacing=pacing,
            signups=Signups(pacing, metrics, settings.signups_per_minute),
            decisions=DecisionLog(cache, metrics),
            leasing=leasing,
            settlement=settlement,
            alerts=Sending(ledger=ledger, channels=channels, clock=clock, metrics=metrics),
            tallies=Tallies(ledger, clock, metrics),
            sync=sync,
            arrivals=Arrivals(sync),
            reporter=Reporter(
                ledger=ledger,
                billing=billing,
                check_account=sync.account.check,
                policy=policy,
                clock=clock,
                metrics=metrics,
                options=ReportingOptions(hold_s=settings.meter_report_interval_s),
            ),
            unbilled=Unbilled(ledger=ledger, billing=billing, check_account=sync.account.check, clock=clock),
            events=EventWorker(ledger=ledger, sync=sync, clock=clock, url=settings.webhook_url),
            reconciler=Reconciler(
                ledger=ledger,
                sync=sync,
                clock=clock,
                schedule=Schedule(interval_s=settings.reconcile_interval_s, hour=settings.reconcile_hour),
                channels=[channel.name for channel in channels],
            ),
            plan_checking=PlanChecking(sync=sync, publish=publisher.publish_soon),
        )


async def _repair_first(cache: Cache) -> None:
    """Connect the cache, and bring it what it has missed, before the first request; without a cache, go on."""
    if not await cache.wait_ready(_FIRST_CONNECT_S):
        log.warning("the cache is not there; requests are refused until it is")


def _leasing(settings: Settings, cache: Cache, clock: Clock, metrics: Metrics) -> Leasing | None:
    """None: every call is charged by itself. A simulated clock jumps, and a lease would not see it."""
    if settings.leases == "off" or settings.simulated_clock is not None:
        return None
    return Leasing(cache, clock, metrics, settings.lease_ttl_ms)


async def bring_up_to_date(ledger: Ledger, settings: Settings) -> None:
    """Create or update the ledger's tables if they are older than this version; refuse settings of another ledger.

    While a newer version takes over, gateways of this one go on, and their workers start again: what a version
    adds to the tables does not concern those before it.

    Raises:
        LedgerUnavailable: They may not be.
        InstallationChanged: The ledger was made with another Stripe account or pepper.
    """
    tables = await ledger.find_tables()
    if tables == "newer":
        log.warning("the ledger is of a newer version of tiergate: put that version in this gateway's place")
    elif tables != "current":
        await asyncio.to_thread(migrate, settings.ledger_dsn)
    await check_installation(ledger, settings, now=int(make_clock(settings).now()))


async def _cache_url(settings: Settings, stack: AsyncExitStack) -> str:
    """The cache in the settings, or an embedded one that is shared with every process of this data directory.

    `tiergate serve` names its own in the settings: the parent keeps it for all its workers.
    """
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    keeper = await asyncio.to_thread(CacheKeeper.start, settings.data_dir)
    stack.push_async_callback(asyncio.to_thread, keeper.stop)
    return keeper.url


def _group_options(settings: Settings) -> GroupOptions:
    timeouts = UpstreamTimeouts(
        connect_s=settings.upstream_connect_timeout_s,
        first_byte_s=settings.upstream_first_byte_timeout_s,
        idle_s=settings.upstream_idle_timeout_s,
        total_s=settings.upstream_total_timeout_s or None,
    )
    return GroupOptions(
        timeouts=timeouts,
        max_connections=settings.upstream_max_connections,
        max_websockets=settings.upstream_max_websockets,
    )
