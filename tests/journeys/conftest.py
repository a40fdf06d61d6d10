"""A whole small world of real processes for each journey."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.house import House, example_policies, temporary_house_directory
from gateway.cli.life import World


@pytest.fixture
def house() -> Iterator[House]:
    with temporary_house_directory() as directory:
        made = House(directory, policy_dir=example_policies(), workers=2)
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
