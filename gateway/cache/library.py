"""redis-py, set up the way it is used here: nothing is repeated, and everything has a time limit.

It would repeat ten times by itself, and what is done twice is for us to decide.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

_POOL = 5
"""One of them hears what others publish (`news`)."""


def connection_options() -> dict[str, Any]:
    """Of every connection, where the URL does not say otherwise."""
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "tiergate",
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def time_limits(limit_s: float) -> dict[str, Any]:
    """Of connecting, and of each answer."""
    return {"socket_timeout": limit_s, "socket_connect_timeout": limit_s}


def open_client(url: str, limit_s: float) -> Redis:
    """A client of one server, with a small pool. Connected by its first use.

    Args:
        url: As redis-py reads it.
        limit_s: Time limit of connecting, of an answer, and of waiting for a connection of the pool.

    Raises:
        ValueError: Not a URL of a server.
    """
    options = {**connection_options(), **time_limits(limit_s)}
    pool = BlockingConnectionPool.from_url(url, max_connections=_POOL, timeout=limit_s, **options)
    return Redis(connection_pool=pool)
