"""The cache without our code in between."""

from __future__ import annotations

from typing import Any

import redis
import redis.cluster
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ReadOnlyError

from gateway.core.cache_url import is_of_several, parse_cache_url


def open_raw(url: str, *, decode_responses: bool = True) -> Redis:
    """A client of one server, or of a cluster, which is used as one."""
    if not is_of_several(url):
        return Redis.from_url(url, decode_responses=decode_responses)
    nodes = [ClusterNode(*host) for host in parse_cache_url(url).hosts]
    cluster: Redis = RedisCluster(startup_nodes=nodes, decode_responses=decode_responses)  # type: ignore[assignment]
    return cluster


def open_raw_blocking(url: str) -> redis.Redis:
    """As `open_raw`, for those who have no event loop. Values come as bytes."""
    if not is_of_several(url):
        return redis.Redis.from_url(url)
    nodes = [redis.cluster.ClusterNode(*host) for host in parse_cache_url(url).hosts]
    cluster: redis.Redis = redis.RedisCluster(startup_nodes=nodes)  # type: ignore[assignment]
    return cluster


def flush_all(raw: redis.Redis) -> None:
    """FLUSHALL, again where a master of a cluster became a replica just before it was told."""
    while True:
        try:
            raw.flushall()
        except ReadOnlyError:
            raw.nodes_manager.initialize()  # type: ignore[attr-defined]  # only a cluster has replicas here
        else:
            return


def everywhere(raw: Redis) -> dict[str, Any]:
    """Options of a command that is for each server, not for that of a key: CLIENT KILL, CONFIG SET, SCRIPT FLUSH."""
    return {"target_nodes": RedisCluster.ALL_NODES} if isinstance(raw, RedisCluster) else {}


async def history_at(raw: Redis, key: str) -> str:
    """The replication id of the server that has a key."""
    options: dict[str, Any] = {}
    if isinstance(raw, RedisCluster):
        await raw.initialize()
        options = {"target_nodes": raw.get_node_from_key(key)}
    return str((await raw.info("replication", **options))["master_replid"])
