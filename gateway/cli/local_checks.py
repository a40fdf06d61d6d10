"""Is this machine ready to serve? Directory, cache, ledger and policy."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.cache import CacheServer, CacheServerError, CacheUnavailable, explain_trouble
from gateway.cache.inspection import CacheReport, inspect_cache, inspect_cluster
from gateway.cli.deployment_checks import judge_cluster, judge_deployment
from gateway.cli.findings import Finding, fail, ok, warn
from gateway.cli.opening import find_running_cache, open_clock
from gateway.cli.printing import duration_words, instant_words, policy_check_words
from gateway.core.cache_url import is_of_several, parse_cache_url
from gateway.core.errors import LedgerUnavailable
from gateway.installation import find_changes
from gateway.ledger import Ledger, LedgerUrlInvalid, Tables
from gateway.policyfiles import PolicyInvalid, load_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.policy import Policy
    from gateway.settings import Settings

_OLDEST_REDIS = (6, 2)
_WITHOUT_CACHE = "Until then calls get 503, but for those that policy lets go on for a while (when_cache_fails)."
_SLOW_MS = 5.0
_SKEW_WARN_S = 2.0
_FREE_BYTES = 500_000_000
_TRIED_BYTES = 262_144
"""A full disk still gives an empty file a name."""
_GROUP_AND_OTHERS = 0o077
_DAY_S = 86_400
_LATE = 2
_OPEN_EVENT_S = 600


def check_data_directory(directory: Path) -> Iterator[Finding]:
    """Can the cache and the ledger keep their files there, unread by others?"""
    place = directory.absolute()
    nearest = next(parent for parent in (place, *place.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        yield fail(
            "data",
            f"{nearest} cannot be written: {error.strerror}",
            "Make room: until then webhooks, checkouts and customers not seen yet get 503, and counts are not kept."
            if is_full
            else "Give this user the directory, or set TIERGATE_DATA_DIR.",
        )
        return
    if nearest == place and place.stat().st_mode & _GROUP_AND_OTHERS:
        yield warn("data", f"{place} can be entered by other users of this machine", f"chmod 700 '{place}'")
    free = shutil.disk_usage(nearest).free
    if free < _FREE_BYTES:
        yield warn(
            "data", f"{free // 1_000_000} MB are free for {place}", "Make room: a full disk stops ledger and cache."
        )
    yield ok("data", f"{place} {'can be written' if nearest == place else 'can be made'}")


async def check_cache(settings: Settings) -> list[Finding]:
    """The server in use; or, if the embedded one is not running, whether it would run here."""
    url = find_running_cache(settings)
    if url is None:
        return await asyncio.to_thread(_try_embedded)
    is_embedded = settings.redis_url is None
    try:
        if is_of_several(url) and (address := parse_cache_url(url)).kind == "cluster":
            cluster = await inspect_cluster(address)
            every = [finding for report in cluster.masters for finding in _judge_cache(report)]
            return [*judge_cluster(cluster), *every]
        report = await inspect_cache(url)
    except (CacheUnavailable, ValueError) as error:
        fix = "Start it, or correct TIERGATE_REDIS_URL."
        if is_embedded:
            fix = "Restart `tiergate serve`."
        elif isinstance(error, CacheUnavailable):
            fix = explain_trouble(error.reason).fix
        return [fail("cache", str(error), f"{fix} {_WITHOUT_CACHE}")]
    return [*_judge_cache(report), *judge_deployment(report)]


def _try_embedded() -> list[Finding]:
    with tempfile.TemporaryDirectory(prefix="tiergate-") as directory:
        try:
            CacheServer.start(Path(directory)).stop()
        except (CacheServerError, OSError) as error:
            return [
                fail("cache", f"the embedded cache does not run here: {error}", "Set TIERGATE_REDIS_URL to a server.")
            ]
    return [ok("cache", "embedded Valkey runs on this machine; `tiergate serve` starts it")]


def _judge_cache(report: CacheReport) -> Iterator[Finding]:
    if report.version < _OLDEST_REDIS:
        yield fail(
            "cache", f"{report.product} {report.version_text} is too old", "Use Redis 6.2 or newer, or any Valkey."
        )
        return
    yield ok(
        "cache",
        f"{report.product} {report.version_text}, {report.round_trip_ms:.2f} ms a round trip, "
        f"persistence: {report.persistence}",
    )
    if report.is_replica:
        yield fail("cache", "this server is a replica and refuses writes", "Set TIERGATE_REDIS_URL to the primary.")
    elif report.write_refusal is not None:
        yield fail(
            "cache",
            f"it answers and takes no writes: {report.write_refusal}",
            f"{explain_trouble(report.write_refusal).fix} {_WITHOUT_CACHE}",
        )
    if report.round_trip_ms > _SLOW_MS:
        yield warn(
            "cache",
            f"a round trip takes {report.round_trip_ms:.1f} ms, which every call waits for",
            "Run the cache in the same network as the gateway.",
        )
    if report.eviction not in {"noeviction", "unknown"}:
        yield warn(
            "cache",
            f"maxmemory-policy is {report.eviction}: under pressure it drops counters that are in use",
            "Set maxmemory-policy noeviction, or give Tiergate a server of its own.",
        )
    if report.persistence == "none":
        yield warn(
            "cache",
            "nothing is persisted: its restart loses what was counted since the last settlement",
            "Turn on the append-only file (appendonly yes).",
        )
    if abs(report.clock_skew_s) > _SKEW_WARN_S:
        yield warn(
            "clock",
            f"the cache's clock is {report.clock_skew_s:+.0f} s from this machine's, and quotas follow the cache's",
            "Synchronise both clocks (NTP).",
        )


async def check_ledger(settings: Settings) -> list[Finding]:
    """Reachable, of this version, and no work stuck in it."""
    try:
        ledger = await Ledger.open(settings.ledger_dsn)
    except LedgerUrlInvalid as error:
        return [fail("ledger", str(error), "Correct TIERGATE_LEDGER_URL.")]
    try:
        tables = await ledger.find_tables()
        if tables != "current":
            return [_other_tables(ledger.description, tables)]
        await ledger.ping()
        return [
            ok("ledger", f"{ledger.description} answers, with tables of this version"),
            *[fail("ledger", change.what, change.fix) for change in await find_changes(ledger, settings)],
            *await _inbox(ledger, open_clock(settings).now()),
            *await _overage(ledger),
            *await _staleness(ledger, settings, open_clock(settings).now()),
            *await _holding(ledger),
        ]
    except LedgerUnavailable as error:
        fix = (
            "Start it, or correct TIERGATE_LEDGER_URL. Without the ledger nothing can be issued, sold or synchronised."
        )
        return [fail("ledger", f"{ledger.description}: {error}", fix)]
    finally:
        await ledger.aclose()


def _other_tables(place: str, tables: Tables) -> Finding:
    migrate = "Run `tiergate migrate`; `tiergate serve` does it too."
    if tables == "none":
        return warn("ledger", f"{place} has no tables yet", migrate)
    if tables == "older":
        return warn("ledger", f"{place} has tables of an older version", migrate)
    return fail(
        "ledger",
        f"{place} was brought up to date by a newer version of tiergate: this one ({__version__}) does not start",
        "Use that version or a later one; or restore a backup from before.",
    )


async def _overage(ledger: Ledger) -> list[Finding]:
    """Units of overage that were used and are billed nowhere: reports that were given up, and what has no invoice."""
    counts, _ = await ledger.report_counts()
    found = []
    if counts["dead"]:
        fix = "See `tiergate meters list --status dead`; mend the cause, then `tiergate meters retry`."
        found.append(warn("overage", f"{counts['dead']} reports of overage were given up", fix))
    if units := sum((await ledger.count_unbilled()).values()):
        what = f"{units:,} units of overage are on no invoice: what billed them ended at once"
        fix = (
            "See `tiergate meters list --status unbilled`; bill them by hand, or let them go, then "
            "`tiergate meters acknowledge`."
        )
        found.append(warn("overage", what, fix))
    return found


async def _staleness(ledger: Ledger, settings: Settings, now: float) -> list[Finding]:
    """Whether every customer was read of Stripe within twice the time that a reconciliation is due in."""
    oldest_at = await ledger.oldest_sync()
    if oldest_at is None:
        return []
    interval_s = settings.reconcile_interval_s or _DAY_S
    if now - oldest_at <= _LATE * interval_s:
        return [ok("events", f"every customer was read of Stripe within {duration_words(now - oldest_at)}")]
    return [
        warn(
            "events",
            f"a customer was not read of Stripe for {duration_words(now - oldest_at)}",
            "`tiergate sync --all` reads everybody now. A gateway that runs does so by itself, unless "
            "TIERGATE_RECONCILE_INTERVAL_S is 0.",
        )
    ]


async def _holding(ledger: Ledger) -> list[Finding]:
    """Whether reconciliations end nobody, because some were held and nobody has said anything."""
    row = await ledger.find_reconciliation()
    if row is None or row.held_since is None:
        return []
    return [
        warn(
            "events",
            f"no reconciliation ends anybody since {instant_words(row.held_since)}: Stripe did not have so many "
            "customers that it may be a mistake",
            "`tiergate sync --all --dry-run` shows whom Stripe does not have. If they were deleted on purpose: "
            "`tiergate sync --all --allow-ending N` with their number; if it was a mistake that is mended, with 0.",
        )
    ]


async def _inbox(ledger: Ledger, now: float) -> list[Finding]:
    counts = await ledger.inbox_counts()
    found = []
    if counts.by_status["dead"]:
        found.append(
            warn(
                "events",
                f"{counts.by_status['dead']} Stripe events were given up",
                "See `tiergate events list --status dead`; mend the cause, then `tiergate events replay`.",
            )
        )
    waited_s = 0 if counts.oldest_open_at is None else now - counts.oldest_open_at
    if waited_s > _OPEN_EVENT_S:
        found.append(
            warn(
                "events",
                f"a Stripe event has waited {duration_words(waited_s)}",
                "Is the gateway running? See its log.",
            )
        )
    return found


def check_policy(directory: Path) -> tuple[Policy | None, list[Finding]]:
    """The compiled policy, or every fault in it."""
    try:
        policy = load_policy(directory)
    except PolicyInvalid as invalid:
        fix = f"See {policy_check_words(directory)}."
        return None, [fail("policy", str(fault), fix) for fault in invalid.faults]
    what = (
        f"{policy.policy_hash}: tiers {', '.join(policy.tiers)}; {len(policy.plans)} plans, {len(policy.routes)} routes"
    )
    return policy, [ok("policy", what)]
