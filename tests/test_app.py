"""What the app opens, whoever runs it: `tiergate serve`, another ASGI server, or the seller's own app."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from gateway.app import open_runtime
from gateway.cache import CacheUnavailable
from gateway.settings import load_settings
from tests.conftest import POLICY
from tests.processes import program, working_in

pytestmark = pytest.mark.not_on("cluster", because="is about the embedded server")

PATIENCE_S = 20.0
SETTINGS = {
    "STRIPE_SECRET_KEY": "sk_test_a1b2c3d4e5f6g7h8a1b2c3d4",
    "STRIPE_WEBHOOK_SECRET": "whsec_a1b2c3d4e5f6g7h8a1b2c3d4e5",
    "TIERGATE_STRIPE_URL": "http://127.0.0.1:9",
    "TIERGATE_UPSTREAM_URL": "http://127.0.0.1:9",
    "TIERGATE_KEY_PEPPER": "f0e1d2c3b4a5968778695a4b3c2d1e0f",
    "TIERGATE_ADMIN_TOKEN": "admin-a1b2c3d4e5f6g7h8a1b2c3d4e5",
    "TIERGATE_SERVER_TOKEN": "server-a1b2c3d4e5f6g7h8a1b2c3d4",
}


@pytest.fixture
def settings(monkeypatch):
    folder = Path(tempfile.mkdtemp(prefix="tg")).resolve()
    (folder / "policies").mkdir()
    (folder / "policies" / "policy.yaml").write_text(POLICY)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith(("TIERGATE_", "STRIPE_"))]:
        monkeypatch.delenv(name)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TIERGATE_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("TIERGATE_POLICY_DIR", str(folder / "policies"))
    yield load_settings()
    shutil.rmtree(folder, ignore_errors=True)


def cache_servers(settings):
    return {pid for pid in working_in(settings.data_dir) if program(pid) == "valkey-server"}


async def answers(cache):
    """Ask until it does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await cache.ping()
            except CacheUnavailable:
                await asyncio.sleep(0.1)


async def test_an_embedded_cache_that_dies_is_started_again(settings):
    async with open_runtime(settings) as runtime:
        await answers(runtime.cache)
        (first,) = cache_servers(settings)
        process = psutil.Process(first)
        process.kill()
        await asyncio.to_thread(psutil.wait_procs, [process], 5)
        await answers(runtime.cache)
        (second,) = cache_servers(settings)
        assert second != first
    assert cache_servers(settings) == set()


async def test_who_shares_an_embedded_cache_takes_it_over_when_its_owner_ends(settings):
    async with AsyncExitStack() as owners:
        await owners.enter_async_context(open_runtime(settings))
        async with open_runtime(settings) as other:
            await answers(other.cache)
            (first,) = cache_servers(settings)
            await owners.aclose()
            assert first not in cache_servers(settings)
            await answers(other.cache)
            assert len(cache_servers(settings)) == 1
    assert cache_servers(settings) == set()
