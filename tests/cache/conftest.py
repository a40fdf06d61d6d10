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

import pytest

from gateway.cache import Cache, CacheServer
from tests.caches import KIND, Kind, line_to, shared_cluster
from tests.fakes.raw import open_raw
from tests.optional import not_tested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis.asyncio import Redis

    from tests.conftest import OpenCache
    from tests.fakes.cluster_line import ClusterLine
    from tests.fakes.line import Line

KINDS = ["valkey", pytest.param("redis", marks=pytest.mark.slow), pytest.param("cluster", marks=pytest.mark.slow)]
if KIND is not Kind.SERVER:
    KINDS = ["cluster"]

PATIENT_S = 30.0
"""Deadline in tests that are not about deadlines: the machine may be busy."""


@pytest.fixture(scope="session")
def cache_server() -> Iterator[CacheServer]:
    folder = tempfile.mkdtemp(prefix="tg")
    with CacheServer.start(Path(folder)) as server:
        yield server
    shutil.rmtree(folder)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests ask the cache below the use cases."""
    why = "after a slot has moved the cache says that it does not know the customer, and here nobody publishes again"
    for item in items:
        if Path(__file__).parent in item.path.parents and "any_cache" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.not_on("disturbed", because=why))


@pytest.fixture(scope="session")
def redis_program() -> str:
    program = shutil.which("redis-server")
    if program is None:
        not_tested("on Redis", "no redis-server is installed (Debian: apt-get install redis-server)")
    return program


@pytest.fixture(scope="session", params=KINDS)
def cache_url(request: pytest.FixtureRequest, any_cache: OpenCache) -> Iterator[str]:
    """Whatever a gateway may be given: the embedded server, the Redis of this machine, and a cluster."""
    if request.param == "cluster":
        yield shared_cluster().url
    elif request.param == "redis":
        program: str = request.getfixturevalue("redis_program")
        with tempfile.TemporaryDirectory(prefix="tg") as folder, redis_running(program, Path(folder)) as url:
            yield url
    else:
        with tempfile.TemporaryDirectory(prefix="tg") as folder, any_cache(Path(folder)) as url:
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
def customer_id() -> str:
    return secrets.token_hex(6)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    folder = tempfile.mkdtemp(prefix="tg")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def line(cache_url: str) -> AsyncIterator[Line | ClusterLine]:
    async with line_to(cache_url) as line:
        yield line
