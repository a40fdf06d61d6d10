"""Composition root: settings in, a Litestar app out. Everything is opened and closed here."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import structlog
from litestar import Litestar

from gateway.admission import Admission
from gateway.alerts import Noticing, Sending, open_channels
from gateway.assertions import Assertions
from gateway.background import Background
from gateway.billing import Billing, StripeOptions
from gateway.cache import Cache, CacheKeeper
from gateway.clock import Clock, SimulatedClock, SystemClock
from gateway.core.errors import LedgerUnavailable
from gateway.core.forwarding import HeaderRules
from gateway.core.keys import KeyCodec
from gateway.core.load import Load
from gateway.crediting import Crediting
from gateway.explaining import FLUSH_S, DecisionLog
from gateway.installation import check_installation
from gateway.leasing import Leasing
from gateway.ledger import ALERTS_KEPT_S, DAY_S, EVENTS_KEPT_S, Ledger, migrate
from gateway.live_calls import RENEW_S as HOLD_S
from gateway.outages import Outages
from gateway.policyfiles import LastGood, PolicyHolder
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.settings import Settings, load_settings
from gateway.settlement import Settlement
from gateway.supervised import parent_pid, run_directory
from gateway.sync import EventWorker, Sync
from gateway.tallies import Tallies
from gateway.telemetry import Metrics, configure_logging
from gateway.upstream import GroupOptions, Groups, HealthChecker, UpstreamTimeouts
from gateway.web.asgi import ASGIApp, Receive, Scope, Send
from gateway.web.front import FrontOptions
from gateway.web.health import watch_dependencies
from gateway.web.inside import InsideApp, lifespan_of
from gateway.web.middleware import Edge, refuse_early
from gateway.web.problems import Site
from gateway.web.proxying import ReverseProxy
from gateway.web.reserved import ReservedPaths
from gateway.web.routes import build_litestar
from gateway.web.runtime import Runtime
from gateway.web.websockets import WebSocketEdge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

log = structlog.get_logger(__name__)

_REPAIR_S = 2.0
_CHARGE_BACK_S = 1.0
_SHOW_S = 1.0
_ALERTS_S = 2.0
_RENEW_S = 10.0
_GC_THRESHOLD = 10_000
_PARENT_CHECK_S = 0.2
_DEPENDENCY_CHECK_S = 5.0
_FORGET_S = 600.0
_LAST_WORDS_S = 5.0
_FIRST_CONNECT_S = 5.0


def create_app(settings: Settings | None = None, *, inside: ASGIApp | None = None) -> Litestar:
    """The gateway as an ASGI app: the metered edge in front of a Litestar app.

    `tiergate serve` runs it, and any ASGI server can. uvicorn needs to be told of our front, and to stay out of
    between: `uvicorn --http gateway.web.front:FrontProtocol --no-proxy-headers --factory gateway.app:create_app`.

    Args:
        settings: None reads them from the environment and `.env`.
        inside: An ASGI app to put the gateway in front of, instead of proxying to an upstream.

    Raises:
        SettingsInvalid: With every fault.
    """
    settings = settings if settings is not None else load_settings()
    configure_logging(settings.log_format, settings.log_level)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.runtime = opened.runtime = await stack.enter_async_context(
                serving(settings, proxies=inside is None)
            )
            if inside is not None:
                await stack.enter_async_context(lifespan_of(inside))
            yield

    opened = _Opened()
    reserved, proxy = ReservedPaths(settings.billing_prefix), ReverseProxy(lambda: opened.runtime)
    app = build_litestar(settings, lifespan=lifespan)
    app.asgi_handler = edge = Edge(  # type: ignore[assignment]  # a Litestar app stays one: only what it routes to is wrapped
        _routed(app),
        runtime=lambda: opened.runtime,
        reserved=reserved,
        forward=InsideApp(inside, lambda: opened.runtime) if inside is not None else proxy,
        websockets=WebSocketEdge(lambda: opened.runtime, reserved=reserved, proxy=proxy if inside is None else None),
    )
    app.state.front = FrontOptions(
        head_timeout_s=settings.header_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        max_connections=settings.max_connections,
        app=edge,
        refuse=lambda error: refuse_early(opened.runtime, error),
    )
    return app


def _routed(app: Litestar) -> ASGIApp:
    """What Litestar calls its router with, for requests that come to the edge without passing through Litestar."""
    router = app.asgi_handler

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = scope["litestar_app"] = app
        scope.setdefault("state", {})
        await router(scope, receive, send)  # type: ignore[arg-type]  # Litestar's own types of the same things

    return route


class _Opened:
    """Where the edge finds the parts: it looks on every call, and `app.state` takes its time."""

    __slots__ = ("runtime",)
    runtime: Runtime


def protect(app: ASGIApp) -> Litestar:
    """Put the gateway in front of an ASGI app in the same process. Settings come from the environment.

    Source: docs/getting-started.md, "Inside your own app".
    """
    return create_app(inside=app)


def make_clock(settings: Settings) -> Clock:
    """The system's clock, or the sandbox's if settings name one."""
    return SimulatedClock(settings.simulated_clock) if settings.simulated_clock is not None else SystemClock()


@asynccontextmanager
async def serving(settings: Settings, *, proxies: bool = True) -> AsyncIterator[Runtime]:
    """Everything open, and everything that goes on beside requests running. `proxies`: as for `open_runtime`."""
    async with open_runtime(settings, proxies=proxies) as runtime:
        await _repair_first(runtime)
        async with Background(runtime.metrics) as background:
            _start_background(background, runtime)
            with _reload_on_hangup(runtime):
                _spare_the_garbage_collector()
                yield runtime
        await _last_words(runtime)


def _spare_the_garbage_collector() -> None:
    """What is there now stays: looking through all of it in the middle of calls would take up to a tenth of a second.

    Calls leave no reference cycles behind, so the collector has little to find and is asked less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 20)


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
            await _bring_up_to_date(ledger, settings)
        except LedgerUnavailable as error:
            log.warning("the ledger is not there; only customers whom the cache knows are served", reason=str(error))
        may_trust_cache = run is not None

        async def repair() -> None:
            nonlocal may_trust_cache
            try:
                await publisher.repair()
            except LedgerUnavailable:
                if not may_trust_cache:
                    raise
                log.warning("the ledger does not answer; the cache is trusted as the other workers trust it")
            may_trust_cache = False

        cache_url = await _cache_url(settings, stack)
        cache = await Cache.connect(cache_url, deadline_s=settings.cache_deadline_ms / 1000, on_reconnect=repair)
        stack.push_async_callback(cache.aclose)
        publisher = Publisher(ledger, cache, clock)
        outages = Outages(cache, publisher, metrics, settings.snapshot_entries)
        billing = await Billing.open(
            StripeOptions(
                secret_key=settings.stripe_secret_key.get_secret_value(),
                base_url=settings.stripe_url,
                price_ttl_s=settings.price_ttl_s,
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
            publisher.published, leasing.moved = leasing.drop, settlement.note_moved
        sync = Sync(ledger=ledger, billing=billing, policy=policy, publish=publisher.publish_soon, clock=clock)
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
            provisioning=Provisioning(ledger, publisher, codec, clock),
            admission=admission,
            crediting=Crediting(ledger, publisher, clock),
            assertions=Assertions(
                settings.assertion_seeds,
                issuer=settings.base_url,
                audience=settings.assertion_audience,
                entries=settings.snapshot_entries,
            ),
            outages=outages,
            decisions=DecisionLog(cache, metrics),
            leasing=leasing,
            settlement=settlement,
            alerts=Sending(ledger=ledger, channels=channels, clock=clock, metrics=metrics),
            tallies=Tallies(ledger, clock, metrics),
            sync=sync,
            events=EventWorker(ledger=ledger, sync=sync, clock=clock),
        )


def _leasing(settings: Settings, cache: Cache, clock: Clock, metrics: Metrics) -> Leasing | None:
    """None: every call is charged by itself. A simulated clock jumps, and a lease would not see it."""
    if settings.leases == "off" or settings.simulated_clock is not None:
        return None
    return Leasing(cache, clock, metrics, settings.lease_ttl_ms)


async def _bring_up_to_date(ledger: Ledger, settings: Settings) -> None:
    """Create or update the ledger's tables if they are not those of this version; refuse settings of another ledger.

    Raises:
        LedgerUnavailable: They may not be.
        InstallationChanged: The ledger was made with another Stripe account or pepper.
    """
    if not await ledger.is_migrated():
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


async def _repair_first(runtime: Runtime) -> None:
    """Connect the cache, and bring it what it has missed, before the first request; without a cache, go on."""
    if not await runtime.cache.wait_ready(_FIRST_CONNECT_S):
        log.warning("the cache is not there; requests are refused until it is")


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


def _start_background(background: Background, runtime: Runtime) -> None:
    """Everything that goes on beside requests in one worker."""
    settings = runtime.settings
    background.run("policy watch", runtime.policy.watch)
    background.run("stripe events", runtime.events.run)
    if runtime.leasing is not None:
        background.run("news of accounts", runtime.cache.news(runtime.leasing.drop, runtime.leasing.inform).run)
    background.every(settings.settle_interval_s, "settlement", runtime.settlement.settle)
    background.every(settings.settle_interval_s, "usage history", runtime.tallies.flush)
    background.every(FLUSH_S, "decision records", runtime.decisions.flush)
    background.every(HOLD_S, "calls in progress", runtime.admission.live.renew)
    background.every(_REPAIR_S, "cache repair", runtime.publisher.repair)
    background.every(_CHARGE_BACK_S, "charge-back", lambda: _charge_back(runtime))
    if runtime.leasing is not None:
        background.every(_CHARGE_BACK_S, "leases without an answer", runtime.leasing.give_back)
    background.every(_CHARGE_BACK_S, "accounts without a cache", runtime.admission.follow_ledger)
    background.every(_SHOW_S, "metrics", lambda: _show_metrics(runtime))
    background.run("upstream checks", HealthChecker(runtime.groups).run)
    background.every(_RENEW_S, "upstream groups", lambda: _renew_groups(runtime))
    background.every(settings.event_sweep_interval_s, "undelivered events", runtime.events.sweep)
    background.every(_DEPENDENCY_CHECK_S, "dependency checks", lambda: watch_dependencies(runtime))
    background.once("the ledger's tables", lambda: _bring_up_to_date(runtime.ledger, settings))
    background.every(_FORGET_S, "old events", lambda: _forget_old_events(runtime))
    if settings.alert_url is not None or settings.smtp_host is not None:
        background.every(_ALERTS_S, "alerts", runtime.alerts.send_due)
    background.every(_FORGET_S, "old usage", lambda: _roll_old_usage(runtime))
    background.once("settlement of what was left", runtime.settlement.settle_all)
    parent = parent_pid()
    if parent is not None:
        background.every(_PARENT_CHECK_S, "parent watch", lambda: _stop_without_parent(parent))


async def _charge_back(runtime: Runtime) -> None:
    for customer_id in await runtime.outages.charge_back():
        runtime.settlement.note_moved(customer_id)


async def _show_metrics(runtime: Runtime) -> None:
    runtime.metrics.flush()


async def _renew_groups(runtime: Runtime) -> None:
    """Take a policy edit although nobody calls, and certificates that were replaced in place."""
    runtime.groups.update(runtime.policy.current.upstreams)
    runtime.groups.renew()


async def _forget_old_events(runtime: Runtime) -> None:
    forgotten = await runtime.ledger.forget_events(int(runtime.clock.now()) - EVENTS_KEPT_S)
    if forgotten:
        log.info("old events deleted", events=forgotten)


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


@contextmanager
def _reload_on_hangup(runtime: Runtime) -> Iterator[None]:
    """SIGHUP reloads the policy; a policy that is refused leaves the running one in force."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, runtime.policy.ask_reload)
    except (RuntimeError, ValueError):  # not the main thread: the file watch still works
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _last_words(runtime: Runtime) -> None:
    """At shutdown: settle what was counted, write what was decided. The next start repairs what fails here."""
    runtime.metrics.flush()
    steps = [] if runtime.leasing is None else [("leases", runtime.leasing.aclose)]
    for name, work in (
        *steps,
        ("charge-back", lambda: _charge_back(runtime)),
        ("settlement", runtime.settlement.settle),
        ("usage history", runtime.tallies.flush),
        ("decision records", runtime.decisions.flush),
    ):
        try:
            await asyncio.wait_for(work(), _LAST_WORDS_S)
        except Exception as error:  # noqa: BLE001 - the process ends either way
            log.warning("shutdown step failed", step=name, error=type(error).__name__)
