"""The cache without our code in between."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis, RedisCluster

from gateway.core.cache_url import is_of_several, parse_cache_url


def open_raw(url: str) -> Redis:
    """A client of one server, or of a cluster, which is used as one."""
    if not is_of_several(url):
        return Redis.from_url(url, decode_responses=True)
    host, port = parse_cache_url(url).hosts[0]
    cluster: Redis = RedisCluster(host=host, port=port, decode_responses=True)  # type: ignore[assignment]
    return cluster


async def history_at(raw: Redis, key: str) -> str:
    """The replication id of the server that has a key."""
    options: dict[str, Any] = {}
    if isinstance(raw, RedisCluster):
        await raw.initialize()
        options = {"target_nodes": raw.get_node_from_key(key)}
    return str((await raw.info("replication", **options))["master_replid"])
