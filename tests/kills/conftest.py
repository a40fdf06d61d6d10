"""Houses to be killed, each with a cache that outlives it: a second start is not to begin with an empty one.

Nor with another house's: a gateway settles all that it finds in its cache as it starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.cache import CacheServer
from gateway.cli.house import temporary_house_directory
from tests.journeys.buyers import until
from tests.kills.site import Site, make_house


@pytest.fixture
def new_site() -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def make(*, workers: int = 1, policy: str | None = None, settings: Mapping[str, str] | None = None) -> Site:
            directory = stack.enter_context(temporary_house_directory())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tg", ignore_cleanup_errors=True)))
            cache = stack.enter_context(CacheServer.start(folder))
            house = make_house(directory, workers=workers, redis_url=cache.url, policy=policy, settings=settings)
            stack.callback(house.stop)
            house.start()
            until(lambda: house.announced)
            return Site(house)

        yield make
