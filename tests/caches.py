"""Which cache the tests run on, as `TIERGATE_TEST_CACHE` says; nothing else reads it.

    server      an embedded server, each where its test wants one; without the variable too
    cluster     one cluster of three masters for all tests of a process
    disturbed   the same, with a replica of each, slots that move and masters that fail over all the time

A fixture that gives tests a cache asks for `any_cache` and opens what that returns; so do test files that
open one without a fixture. With a cluster, these tests are run and no others (`tests.selection`).
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.cache import CacheServer
from gateway.core.cache_url import is_of_several
from tests.fakes.cluster_line import ClusterLine
from tests.fakes.disturber import Disturber
from tests.fakes.line import Line
from tests.fakes.valkey_cluster import ValkeyCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kind(Enum):
    """What the tests of this run are given."""

    SERVER = "server"
    CLUSTER = "cluster"
    DISTURBED = "disturbed"


KIND = Kind(os.environ.get("TIERGATE_TEST_CACHE") or "server")

_opened = ExitStack()
_clusters: list[ValkeyCluster] = []
DISTURBANCE = Counter[str]()
"""What was done to the cluster: that it was disturbed at all is seen here."""


@contextmanager
def opened_cache(folder: Path) -> Iterator[str]:
    """A cache that runs, as its URL.

    Args:
        folder: Where a server keeps its data. The cluster is everybody's, and keeps it elsewhere.
    """
    if KIND is Kind.SERVER:
        with CacheServer.start(folder) as server:
            yield server.url
    else:
        yield shared_cluster().url


@contextmanager
def own_cache(folder: Path) -> Iterator[str]:
    """As `opened_cache`, but nobody else flushes it: for what is kept from test to test."""
    if KIND is Kind.SERVER:
        with CacheServer.start(folder) as server:
            yield server.url
    else:
        with ValkeyCluster.running(folder) as (cluster, _):
            yield cluster.url


def shared_cluster() -> ValkeyCluster:
    """The cluster of this process. It is started when it is first asked for, and stays."""
    if not _clusters:
        folder = tempfile.mkdtemp(prefix="tg")
        _opened.callback(shutil.rmtree, folder, ignore_errors=True)
        running = ValkeyCluster.running(Path(folder), has_replicas=KIND is Kind.DISTURBED)
        cluster, do = _opened.enter_context(running)
        _clusters.append(cluster)
        if KIND is Kind.DISTURBED:
            disturbing = do(_begin(Disturber(cluster, DISTURBANCE)))
            _opened.callback(lambda: do(_end(disturbing)))
        atexit.register(close_shared_cluster)
    return _clusters[0]


async def _begin(disturber: Disturber) -> asyncio.Task[None]:
    return asyncio.create_task(disturber.run())


async def _end(disturbing: asyncio.Task[None]) -> None:
    disturbing.cancel()
    await asyncio.gather(disturbing, return_exceptions=True)


def close_shared_cluster() -> None:
    """End it, if it runs."""
    _clusters.clear()
    _opened.close()


def line_to(url: str) -> Line | ClusterLine:
    """The way to the cache of a URL, to be opened, cut and slowed down. Everybody else has ways of their own."""
    if is_of_several(url):
        return ClusterLine(shared_cluster().ports)
    return Line(unquote(urlsplit(url).path))


def as_user(url: str, user: str) -> str:
    """The same cache for somebody else.

    Args:
        url: Names nobody.
        user: `name:password`.
    """
    scheme, _, place = url.partition("://")
    if scheme != "unix":
        return f"{scheme}://{user}@{place}"
    name, _, password = user.partition(":")
    return f"{scheme}://{name}@{place}?password={password}"
