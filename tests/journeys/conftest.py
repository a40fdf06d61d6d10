"""A whole small world of real processes for each journey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.house import House, example_policies, temporary_house_directory
from gateway.cli.life import World
from tests.caches import KIND, Kind
from tests.conftest import OpenCache
from tests.journeys.buyers import Street
from tests.web.browser import Browser, open_browser


@pytest.fixture
def cache_url(any_cache: OpenCache) -> Iterator[str]:
    """Of the cache that the gateway is told to use; empty: it has one of its own."""
    if KIND is Kind.SERVER:
        yield ""
        return
    with temporary_house_directory() as directory, any_cache(directory) as url:
        yield url


@pytest.fixture
def house(cache_url: str) -> Iterator[House]:
    with temporary_house_directory() as directory:
        settings = {"TIERGATE_REDIS_URL": cache_url} if cache_url else {}
        made = House(directory, policy_dir=example_policies(), workers=2, settings=settings)
        made.start()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
def world(house: House) -> Iterator[World]:
    made = World(house)
    yield made
    made.browser.close()


@pytest.fixture
def shipped_policies() -> Path:
    return example_policies()


@pytest.fixture(scope="module")
def shop() -> Iterator[Street]:
    """The shipped policies behind two workers, with their pages. Its clock goes forward only."""
    with temporary_house_directory() as directory:
        house = House(directory, policy_dir=example_policies(), workers=2)
        house.start()
        made = Street(house)
        try:
            yield made
        finally:
            made.http.close()
            house.stop()


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Somebody's, who was never here."""
    with open_browser() as opened:
        yield opened
