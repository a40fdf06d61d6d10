"""What is measured: how a candidate is described, and what is known of one that runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.ground import Ground
from benchmarks.processes import Group

DIRECT = "direct"
NGINX = "nginx"
NGINX_LUA = "nginx + Lua + Redis script"
ENVOY = "Envoy"
CADDY = "Caddy"
OURS_PLAIN = "Tiergate, plain proxy"
OURS_EXACT = "Tiergate, exact"
OURS_LEASED = "Tiergate, leased"
OURS_MANY = "Tiergate, exact, 10,000 keys"
NO_KEY = "none"


@dataclass(slots=True, kw_only=True)
class Running:
    """A candidate that serves."""

    port: int
    gateway: Group | None = None
    """None: the API itself, called directly."""
    cache: Group | None = None
    cache_urls: tuple[str, ...] = ()
    """Where the servers of its cache answer."""
    keys: tuple[str, ...] = (NO_KEY,)
    key_file: Path
    """The keys, one a line, for load generators."""
    count: Callable[[], int] = lambda: 0
    """Requests that the cache has counted so far; only of candidates with one key and a quota."""
    enforces: bool = False
    """Whether a caller without a good key gets 401."""
    left_field: str | None = None
    """Response field that says what is left of the limits."""
    sent: int = 0
    """Requests that load generators have had answered so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way to put something in front of an API, or nothing."""

    name: str
    note: str
    """What it does to a request, for the report."""
    start: Callable[[Ground, int], AbstractContextManager[Running]]
    """Called with the ground and the API's port. Raises NotMeasured if it cannot be started here."""


def write_keys(directory: Path, keys: tuple[str, ...]) -> Path:
    """The file that load generators read keys from."""
    file = directory / "keys.txt"
    file.write_text("".join(f"{key}\n" for key in keys))
    return file


def cache_group(url: str) -> Group:
    """The cache server at a URL."""
    with redis.Redis.from_url(url) as client:
        return Group(root=int(client.info("server")["process_id"]))


def counter_of(url: str, usage_hash: str) -> Callable[[], int]:
    """A function that reads how many requests the quota in `usage_hash` has counted."""

    def count() -> int:
        with redis.Redis.from_url(url) as client:
            fields = client.hgetall(usage_hash)
        return sum(int(value.partition(b"|")[2]) for name, value in fields.items() if name.startswith(b"q:"))

    return count
