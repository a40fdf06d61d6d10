"""A real cache server for the session, and a line to it that can be cut."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from gateway.cache import Cache, CacheServer
from tests.fakes.line import Line
from tests.fakes.raw import open_raw
from tests.fakes.valkey_cluster import ValkeyCluster
from tests.optional import not_tested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis.asyncio import Redis

_ONE_SERVER = {"line", "one_server", "secure"}

PATIENT_S = 5.0
"""Deadline in tests that are not about deadlines: the machine may be busy."""


@pytest.fixture(scope="session")
def cache_server() -> Iterator[CacheServer]:
    folder = tempfile.mkdtemp(prefix="tg")
    with CacheServer.start(Path(folder)) as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis_program() -> str:
    program = shutil.which("redis-server")
    if program is None:
        not_tested("on Redis", "no redis-server is installed (Debian: apt-get install redis-server)")
    return program


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is about one server, or needs a line to its socket, is not run on a cluster."""
    without = [
        item
        for item in items
        if "[cluster" in item.name and _ONE_SERVER.intersection(getattr(item, "fixturenames", ()))
    ]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """A cluster of three masters that stays as it is."""
    with tempfile.TemporaryDirectory(prefix="tg") as folder, ValkeyCluster.running(Path(folder)) as (cluster, _):
        yield cluster.url


@pytest.fixture(
    scope="session",
    params=["valkey", pytest.param("redis", marks=pytest.mark.slow), pytest.param("cluster", marks=pytest.mark.slow)],
)
def cache_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Whatever a gateway may be given: the embedded server, the Redis of this machine, and a cluster."""
    if request.param == "cluster":
        yield request.getfixturevalue("cluster_url")
        return
    if request.param == "valkey":
        server: CacheServer = request.getfixturevalue("cache_server")
        yield server.url
        return
    program: str = request.getfixturevalue("redis_program")
    with tempfile.TemporaryDirectory(prefix="tg") as folder, redis_running(program, Path(folder)) as url:
        yield url


@contextlib.contextmanager
def redis_running(program: str, folder: Path) -> Iterator[str]:
    path = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENT_S
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield f"unix://{path}"
        process.terminate()


@pytest.fixture
async def cache(cache_url: str) -> AsyncIterator[Cache]:
    cache = await Cache.connect(cache_url, deadline_s=PATIENT_S, on_reconnect=None)
    yield cache
    await cache.aclose()


@pytest.fixture
async def raw(cache_url: str) -> AsyncIterator[Redis]:
    """The same without our code in between."""
    async with open_raw(cache_url) as client:
        yield client


@pytest.fixture
def one_server() -> None:
    """Says that a test is about one server: it is not run on a cluster."""


@pytest.fixture
def customer_id() -> str:
    return secrets.token_hex(6)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    folder = tempfile.mkdtemp(prefix="tg")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def line(cache_url: str) -> AsyncIterator[Line]:
    async with Line(unquote(urlsplit(cache_url).path)) as line:
        line.url = f"redis://127.0.0.1:{line.port}/0"
        yield line
