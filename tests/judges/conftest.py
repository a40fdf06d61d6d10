from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.judges.ground import Api, policy, running_api
from tests.web.conftest import Gateway, StartGateway, _starting, sandbox, world

__all__ = ["sandbox", "world"]


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    with running_api() as api:
        yield api


@pytest.fixture(scope="session")
def start(sandbox, world, api, tmp_path_factory) -> Iterator[StartGateway]:
    """Starts gateways that stand before the API."""
    policies: Path = tmp_path_factory.mktemp("policies")
    (policies / "policy.yaml").write_text(policy(api))
    own = {"TIERGATE_UPSTREAM_URL": api.url, "TIERGATE_POLICY_DIR": str(policies)}
    with _starting(sandbox, world | own) as start:
        yield start


@pytest.fixture(scope="session")
def gateway(start) -> Gateway:
    return start()


@pytest.fixture(scope="session")
def key(gateway) -> str:
    """An API key."""
    _, _, client = gateway.customer()
    return client.headers["authorization"].partition(" ")[2]
