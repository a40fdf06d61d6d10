"""Houses to be killed, with a cache that outlives them: a second start is not to begin with an empty one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.cache import CacheServer
from gateway.cli.house import temporary_house_directory
from tests.journeys.buyers import until
from tests.kills.site import Site, make_house


@pytest.fixture(scope="session")
def cache_url() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    with CacheServer.start(folder) as server:
        yield server.url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_site(cache_url: str) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def make(*, workers: int = 1, policy: str | None = None) -> Site:
            directory = stack.enter_context(temporary_house_directory())
            house = make_house(directory, workers=workers, redis_url=cache_url, policy=policy)
            stack.callback(house.stop)
            house.start()
            until(lambda: house.announced)
            return Site(house)

        yield make
