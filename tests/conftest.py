"""Real parts for tests of the use cases: one cache a session, a fresh SQLite ledger a test."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway.admission import Admission, PolicySource
from gateway.cache import Cache
from gateway.core.key_order import KeyOrder
from gateway.core.keys import KeyCodec
from gateway.crediting import Crediting
from gateway.ledger import Ledger, migrate
from gateway.outages import Outages
from gateway.policyfiles import PolicyHolder
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.settlement import Settlement
from gateway.telemetry import Metrics
from tests.caches import opened_cache
from tests.selection import (
    pytest_collection_modifyitems,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
]

PATIENT_S = 50.0
"""Deadline in tests that are not about deadlines: of a busy machine's disk, and of the cache."""
PEPPER = b"a pepper of at least thirty-two bytes"
POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [100 per second burst 100, 10 requests per billing period]
  pro:
    features: [exports]
    limits: [100 per second burst 100, 50 requests per billing period]
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes:
  - match: POST /v1/render/**
    cost: 5
    requires: exports
  - match: "* /v1/**"
"""


settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if settings.get_current_profile_name() in {"default", "ci"}:
    settings.load_profile("steady")
"""Every run asks the same, and how long an answer takes is no failure: that depends on what else the machine does.
`--hypothesis-profile=explore` asks what was not asked before."""
_BEFORE_AN_HOUR_S, _SLOW_BEFORE_AN_HOUR_S = 20, 60
"""Those that are marked slow may start several gateways before they look at the time."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What counts by the real hour or day does not begin in one and end in the next."""
    left_s = 3600 - time.time() % 3600
    if left_s < (_SLOW_BEFORE_AN_HOUR_S if item.get_closest_marker("slow") else _BEFORE_AN_HOUR_S):
        time.sleep(left_s)


class TestClock:
    """Real time, moved by hand; the cache's scripts follow it."""

    __test__ = False

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def cache_now_ms(self) -> int:
        return int(self.time * 1000)


@dataclass
class Parts:
    """What use cases are made of."""

    ledger: Ledger
    cache: Cache
    clock: TestClock
    policy_dir: Path
    codec: KeyCodec
    cache_url: str

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.publisher = Publisher(self.ledger, self.cache, self.clock)
        self.provisioning = Provisioning(self.ledger, self.publisher, self.codec, self.clock)
        self.crediting = Crediting(self.ledger, self.publisher, self.clock)
        self.settlement = Settlement(self.ledger, self.cache, self.publisher, self.clock, self.metrics)
        self.policy = PolicyHolder(self.policy_dir)
        self.admission = self.another_worker()

    def another_worker(self, policy: PolicySource | None = None) -> Admission:
        """An admission with memory of its own, as a second worker process has."""
        self.outages = Outages(self.cache, self.publisher, self.metrics, 1000)
        policy = policy or self.policy
        return Admission(self.cache, self.publisher, policy, self.codec, self.clock, self.outages, entries=1000)

    async def customer(self, user_id: str = "ada", **order: object) -> tuple[str, bytes, str]:
        """A customer with one key: customer id, key text, key id."""
        row = await self.provisioning.create_customer(user_id, actor="test")
        issued = await self.provisioning.issue(row.customer_id, KeyOrder(**order), actor="test")
        return row.customer_id, issued.minted.text.encode(), issued.record.key_id


OpenCache = Callable[[Path], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def any_cache() -> OpenCache:
    """Opens a cache of the kind that this run is on. Whoever uses this is run on a cluster too."""
    return opened_cache


@pytest.fixture(scope="session")
def shared_cache_url(any_cache: OpenCache) -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="tg")
    with any_cache(Path(folder)) as url:
        yield url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger's file, to copy: quicker than to make one."""
    file = tmp_path_factory.mktemp("template") / "ledger.sqlite3"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
async def parts(shared_cache_url: str, migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[Parts]:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(POLICY)
    file = shutil.copy(migrated_sqlite, tmp_path / "ledger.sqlite3")
    ledger = await Ledger.open(f"sqlite:///{file}", deadline_s=PATIENT_S)
    cache = await Cache.connect(shared_cache_url, deadline_s=PATIENT_S, on_reconnect=None)
    try:
        clock, codec = TestClock(1_800_000_000.0), KeyCodec(PEPPER, "test")
        yield Parts(ledger, cache, clock, policies, codec, shared_cache_url)
    finally:
        await cache.aclose()
        await ledger.aclose()
