"""Our own gateway, as `tiergate serve` starts it, on a fresh directory with customers in it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.candidate import Running, cache_group, counter_of, write_keys
from benchmarks.customers import make_customers, publish_to_cache, record_in_ledger, usage_hash
from benchmarks.ground import CONF, Ground, our_python
from benchmarks.machine import move_to_cores
from benchmarks.processes import Group, NotMeasured, running, wait_until_ready
from gateway.cache import CacheServer
from gateway.cli.ports import free_port
from gateway.core.keys import KeyCodec
from gateway.provisioning import random_text
from gateway.supervised import PARENT_VARIABLE
from tests.fakes.valkey_cluster import ValkeyCluster

_SECRET_LENGTH = 40
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a gateway of ours is to do."""

    policy: str = "limited"
    """A directory in conf/."""
    customers: int = 1
    workers: int = 1
    cores: frozenset[int] | None = None
    """None: the gateway's own."""
    python: tuple[str, ...] = ()
    """Modules and options that the command is run under: a profiler."""
    crowd: int = 0
    """Requests come in this order of keys: so many drawn by Zipf's law, the first customer the busiest. 0: in turn."""
    settings: tuple[tuple[str, str], ...] = ()
    """Environment variables beside the usual ones."""
    on_cluster: bool = False
    """Whether the cache is a cluster of three masters."""


@contextmanager
def ours(ground: Ground, upstream: int, shape: Shape) -> Iterator[Running]:
    """A gateway of ours.

    Raises:
        NotMeasured: It does not start.
    """
    directory, port, pepper = ground.subdirectory("tiergate"), free_port(), random_text(_SECRET_LENGTH)
    log, data = directory / "log", directory / "data"
    cores = ground.cores.gateway if shape.cores is None else shape.cores
    with _running_stripe(ground) as stripe, _cluster(ground, shape) as cluster:
        env = _environment(port, upstream, data, pepper, stripe, shape) | cluster.settings
        command = our_python(*shape.python, "gateway.cli", "serve")
        with running(command, cores=cores, log=log, env=env, cwd=directory) as process:
            wait_until_ready(process, port, log, "/_tiergate/ready")
            cache = cluster.cache or _take_cache_out(data, ground.cores.others)
            customers = make_customers(shape.customers, KeyCodec(pepper.encode(), "test"))
            record_in_ledger(customers, data / "ledger.sqlite3", "test")
            url = cluster.url or CacheServer.url_of(data)
            asyncio.run(publish_to_cache(customers, url))
            keys = _in_order(tuple(customer.key for customer in customers), shape.crowd)
            counts = shape.policy != "unlimited" and len(keys) == 1
            yield Running(
                port=port,
                gateway=Group(root=process.pid, without=cache.pids),
                cache=cache.group,
                cache_urls=cluster.urls or (url,),
                keys=keys,
                key_file=write_keys(directory, keys),
                count=counter_of(url, usage_hash(customers[0])) if counts else lambda: 0,
                enforces=True,
                left_field="ratelimit" if shape.policy != "unlimited" else None,
            )


def _in_order(keys: tuple[str, ...], crowd: int) -> tuple[str, ...]:
    """The keys as the load generators are to send them."""
    if not crowd:
        return keys
    weights = [1 / rank for rank in range(1, len(keys) + 1)]
    return tuple(random.Random(_SEED).choices(keys, weights, k=crowd))


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnCache:
    group: Group
    pids: frozenset[int]
    """Server and guardian: children of the gateway, but not counted as its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    """A cluster beside the gateway, or none."""

    url: str | None = None
    urls: tuple[str, ...] = ()
    """Of its servers."""
    cache: _OwnCache | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What tells the gateway of it."""
        return {} if self.url is None else {"TIERGATE_REDIS_URL": self.url}


@contextmanager
def _cluster(ground: Ground, shape: Shape) -> Iterator[_Cluster]:
    if not shape.on_cluster:
        yield _Cluster()
        return
    with ValkeyCluster.running(ground.subdirectory("cluster")) as (cluster, _):
        urls = tuple(f"redis://127.0.0.1:{server.port}" for server in cluster.masters)
        first, *beside = (cache_group(url).root for url in urls)
        for pid in (first, *beside):
            move_to_cores(pid, ground.cores.others)
        group = Group(root=first, beside=tuple(beside))
        yield _Cluster(url=cluster.url, urls=urls, cache=_OwnCache(group=group, pids=frozenset()))


def _take_cache_out(data: Path, cores: frozenset[int]) -> _OwnCache:
    """Find the cache that a gateway has started, and move it to where the peer's cache runs."""
    server = cache_group(CacheServer.url_of(data)).root
    guardian = psutil.Process(server).ppid()
    move_to_cores(server, cores)
    return _OwnCache(group=Group(root=guardian), pids=frozenset({server, guardian}))


@contextmanager
def _running_stripe(ground: Ground) -> Iterator[Mapping[str, str]]:
    """A Stripe simulator: a gateway does not start without one. Yields its URL and key."""
    log = ground.subdirectory("stripe") / "log"
    command = our_python("gateway.sandbox", "--stripe-port", "0", "--upstream-port", "0")
    with running(command, cores=ground.cores.others, log=log, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            raise NotMeasured("the Stripe simulator did not start")
        yield json.loads(line)


def _environment(
    port: int, upstream: int, data: Path, pepper: str, stripe: Mapping[str, str], shape: Shape
) -> dict[str, str]:
    """Settings as a seller would have them; where they are not the defaults, a comment says why."""
    return {
        "STRIPE_SECRET_KEY": stripe["key"],
        "STRIPE_WEBHOOK_SECRET": f"whsec_{random_text(_SECRET_LENGTH)}",
        "TIERGATE_STRIPE_URL": stripe["stripe_url"],
        "TIERGATE_UPSTREAM_URL": f"http://127.0.0.1:{upstream}",
        "TIERGATE_KEY_PEPPER": pepper,
        "TIERGATE_ADMIN_TOKEN": random_text(_SECRET_LENGTH),
        "TIERGATE_SERVER_TOKEN": random_text(_SECRET_LENGTH),
        "TIERGATE_DATA_DIR": str(data),
        "TIERGATE_POLICY_DIR": str(CONF / shape.policy),
        "TIERGATE_PORT": str(port),
        "TIERGATE_WORKERS": str(shape.workers),
        "TIERGATE_UPSTREAM_MAX_CONNECTIONS": "1024",  # 500 streams hold one each
        "TIERGATE_CACHE_DEADLINE_MS": "1000",  # the load generator may hold the cache's core for longer than 50 ms
        "TIERGATE_SHUTDOWN_GRACE_S": "5",
        PARENT_VARIABLE: str(os.getpid()),  # so that it does not outlive this process
        **dict(shape.settings),
    }
