"""What a cache server says about itself: what `tiergate doctor` judges."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisError, ResponseError

from gateway.cache.endpoint import check_tls_files
from gateway.cache.errors import CacheUnavailable
from gateway.cache.keyspace import probe_key
from gateway.cache.sentinel import SentinelEndpoint, ask_sentinels
from gateway.cache.slots import SLOTS, slot_of_key
from gateway.cache.survey import fetch_slots
from gateway.core.cache_url import is_of_several, parse_cache_url

if TYPE_CHECKING:
    from collections.abc import Collection

    from gateway.core.cache_url import CacheUrl, Host

_ROUND_TRIPS = 20
_PROBE_EXPIRY_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReport:
    """One server at one instant."""

    product: str
    """`valkey` or `redis`."""
    version: tuple[int, ...]
    """The Redis version whose commands it has: what a Valkey calls itself compatible with."""
    version_text: str
    """Its own version, for people."""
    round_trip_ms: float
    """Median of a few."""
    eviction: str
    """`noeviction`, or how it makes room: then counters can vanish. `unknown` if it does not say."""
    persistence: str
    """What survives its restart: `append-only file`, `snapshots`, `none`, or `unknown` if it does not say."""
    is_replica: bool
    """A replica refuses to be written."""
    clock_skew_s: float
    """Its clock minus this machine's."""
    write_refusal: str | None
    """What it answered when a key was written, read and deleted; None if that went well."""
    mode: Literal["standalone", "cluster"] = "standalone"
    """`cluster` for a node of one."""
    sentinels: tuple[int, int] | None = None
    """If sentinels name the server: how many of them answer, of how many."""


async def inspect_cache(url: str, *, deadline_s: float = 2.0) -> CacheReport:
    """Ask a server about itself, and whether it takes writes: one key is written, read and deleted.

    Raises:
        CacheUnavailable: It does not answer, or refuses us. The message holds no secret.
        ValueError: Not a URL of a cache.
    """
    if not is_of_several(url):
        return await _inspect(url, deadline_s)
    address = parse_cache_url(url)
    if address.kind == "cluster":
        raise ValueError("a cluster is inspected server by server: inspect_cluster")
    endpoint = SentinelEndpoint(address, ask_sentinels(address))
    try:
        master = await endpoint.find()
        report = await _inspect(address.server(*master), deadline_s)
        answering = await endpoint.count_answering()
    except OSError as error:
        raise _unanswered(error) from None
    finally:
        await endpoint.aclose()
    return replace(report, sentinels=(answering, len(address.hosts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReport:
    """A cluster at one instant, as the first of its servers sees it that answers."""

    masters: tuple[CacheReport, ...]
    """Those that answer."""
    silent: tuple[str, ...]
    """Masters that have slots and do not answer, as host:port."""
    why_silent: str
    """What happened when the first of these was asked."""
    without_replica: tuple[str, ...]
    """Masters that nobody could take the place of."""
    uncovered: int
    """Slots that no server has."""
    named: tuple[int, int]
    """Of the servers in the URL: how many answer, of how many."""


async def inspect_cluster(address: CacheUrl, *, deadline_s: float = 2.0) -> ClusterReport:
    """Ask every master of a cluster about itself.

    Raises:
        CacheUnavailable: None of the servers in the URL says who they are.
        ValueError: An option that cannot be used.
    """
    answers = await asyncio.gather(
        *(fetch_slots(address, host, deadline_s) for host in address.hosts), return_exceptions=True
    )
    views = [answer for answer in answers if not isinstance(answer, BaseException)]
    if not views:
        reason = str(answers[0]) or type(answers[0]).__name__
        raise CacheUnavailable(f"No server of the cluster answered as one: {reason.rstrip('.')}.", reason=reason)
    masters = {span.master: span.replicas for span in views[0]}
    owned: dict[Host, set[int]] = {master: set() for master in masters}
    for span in views[0]:
        owned[span.master].update(range(span.first, span.last + 1))
    reports: list[CacheReport] = []
    silent: dict[str, str] = {}
    for master in masters:
        try:
            reports.append(await _inspect(address.server(*master), deadline_s, owned[master]))
        except CacheUnavailable as error:
            silent[_place(master)] = error.reason
    return ClusterReport(
        masters=tuple(reports),
        silent=tuple(silent),
        why_silent=next(iter(silent.values()), ""),
        without_replica=tuple(_place(master) for master, replicas in masters.items() if not replicas),
        uncovered=SLOTS - sum(span.last + 1 - span.first for span in views[0]),
        named=(len(views), len(address.hosts)),
    )


def _place(host: Host) -> str:
    return f"{host[0]}:{host[1]}"


async def _inspect(url: str, deadline_s: float, owns: Collection[int] = range(SLOTS)) -> CacheReport:
    client = Redis.from_url(
        url,
        protocol=2,
        decode_responses=True,
        socket_timeout=deadline_s,
        socket_connect_timeout=deadline_s,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,
    )
    try:
        async with client:
            info: dict[str, Any] = await client.info()
            trips = sorted([await _round_trip_ms(client) for _ in range(_ROUND_TRIPS)])
            seconds, microseconds = await client.time()
            skew_s = seconds + microseconds / 1e6 - time.time()
            persistence, refusal = await _persistence(client, info), await _try_write(client, _probe(owns))
            return _report(info, persistence, trips[len(trips) // 2], skew_s, refusal)
    except (RedisError, OSError) as error:
        raise _unanswered(_cause(url, error)) from None


def _cause(url: str, error: Exception) -> Exception:
    try:
        check_tls_files(url)
    except OSError as unusable:
        return unusable
    return error


def _unanswered(error: Exception) -> CacheUnavailable:
    reason = str(error) or type(error).__name__
    return CacheUnavailable(f"The cache did not answer: {reason.rstrip('.')}.", reason=reason)


def _probe(owns: Collection[int]) -> str:
    """A key that nobody else has, in one of these slots."""
    while slot_of_key(key := probe_key(secrets.token_hex(8))) not in owns:
        pass
    return key


async def _round_trip_ms(client: Redis) -> float:
    started = time.perf_counter()
    await client.ping()
    return (time.perf_counter() - started) * 1000


async def _try_write(client: Redis, key: str) -> str | None:
    """Why it takes no writes. A full disk, a failed snapshot and a full memory show nowhere else."""
    value = "written by tiergate doctor"
    try:
        await client.set(key, value, ex=_PROBE_EXPIRY_S)
        found = await client.get(key)
        await client.delete(key)
    except MovedError:  # a cluster's, which is not used as one
        return None
    except ResponseError as error:
        return str(error)
    return None if found == value else "what was written is not read back"


async def _persistence(client: Redis, info: dict[str, Any]) -> str:
    if info.get("aof_enabled"):
        return "append-only file"
    try:
        answer = await client.config_get("save")
    except ResponseError:  # managed services do not let one ask
        return "unknown"
    return "snapshots" if answer.get("save") else "none"


def _report(
    info: dict[str, Any], persistence: str, round_trip_ms: float, clock_skew_s: float, write_refusal: str | None
) -> CacheReport:
    product = "valkey" if "valkey_version" in info else "redis"
    version = str(info.get("redis_version", "0"))
    return CacheReport(
        product=product,
        version=tuple(int(part) for part in version.split(".") if part.isdigit()),
        version_text=str(info.get("valkey_version", version)),
        round_trip_ms=round_trip_ms,
        eviction=str(info.get("maxmemory_policy", "unknown")),
        persistence=persistence,
        is_replica=info.get("role") in {"slave", "replica"},
        clock_skew_s=clock_skew_s,
        write_refusal=write_refusal,
        mode="cluster" if info.get("cluster_enabled") else "standalone",
    )
