"""What the app opens, whoever runs it: `tiergate serve`, another ASGI server, or the seller's own app."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from gateway.app import open_runtime
from gateway.cache import CacheUnavailable
from gateway.clock import write_clock_offset
from gateway.core.errors import StripeAccountWrong
from gateway.installation import InstallationChanged
from gateway.ledger import STRIPE_ACCOUNT
from gateway.settings import load_settings
from gateway.web.billing_watch import watch_account, watch_billing
from tests.billing.conftest import Answer, StandIn
from tests.conftest import POLICY
from tests.processes import program, working_in

pytestmark = pytest.mark.not_on("cluster", because="is about the embedded server")

PATIENCE_S = 60.0
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


def set_revision(settings, revision):
    """As if another version had migrated the ledger."""
    with contextlib.closing(sqlite3.connect(settings.ledger_dsn.removeprefix("sqlite:///"))) as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = ?", [revision])
        ledger.commit()


@pytest.mark.slow
async def test_a_ledger_of_a_newer_version_is_served_from_and_still_refuses_another_pepper(settings, monkeypatch):
    """While a newer version takes over, a worker of this one may have to start again."""
    async with open_runtime(settings):
        pass
    set_revision(settings, "9999")
    async with open_runtime(settings) as runtime:
        assert await runtime.ledger.find_tables() == "newer"
    monkeypatch.setenv("TIERGATE_KEY_PEPPER", "00112233445566778899aabbccddeeff")
    with pytest.raises(InstallationChanged):
        async with open_runtime(load_settings()):
            pass


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
async def test_the_seller_is_told_of_each_hour_in_which_events_died(monkeypatch):
    monkeypatch.setenv("TIERGATE_ALERT_URL", "http://127.0.0.1:9/hooks")
    monkeypatch.setenv("TIERGATE_ALERT_SECRET", "whsec_" + "YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIgYg==")
    async with open_runtime(load_settings()) as runtime:
        ledger, now = runtime.ledger, int(runtime.clock.now())
        for event_id in ("evt_1", "evt_2"):
            await ledger.store_event(
                event_id=event_id,
                type="invoice.paid",
                stripe_customer_id=None,
                livemode=False,
                api_version=None,
                payload="{}",
                now=now,
            )
        await ledger.claim_events(worker="w", now=now, lease_s=9000, limit=2)
        for event_id, died_at in (("evt_2", now), ("evt_1", now + 7200)):  # the older one hours after the newer one
            await ledger.bury_event(event_id, "w", now=died_at, error="refused")
            await watch_billing(runtime)
        await watch_billing(runtime)  # no news
        told = [json.loads(alert.body)["data"] for alert in await ledger.list_alerts()]
        assert sorted((one["dead"], one["newest_id"]) for one in told) == [(1, "evt_2"), (2, "evt_1")]


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
async def test_the_seller_is_told_once_a_day_that_a_customer_was_not_read_of_stripe_for_three_intervals(monkeypatch):
    monkeypatch.setenv("TIERGATE_ALERT_URL", "http://127.0.0.1:9/hooks")
    monkeypatch.setenv("TIERGATE_ALERT_SECRET", "whsec_" + "YSBzZWNyZXQgb2YgdHdlbnR5LWZvdXIgYg==")
    monkeypatch.setenv("TIERGATE_RECONCILE_INTERVAL_S", "3600")
    clock = Path.cwd() / "clock"
    write_clock_offset(clock, 0.0)
    monkeypatch.setenv("TIERGATE_SIMULATED_CLOCK", str(clock))
    settings = load_settings()
    async with open_runtime(settings) as runtime:
        read_at = int(runtime.clock.now())
        add_customer(settings, read_at)
        for later_s, told in ((3_000, 0), (4 * 3600, 1), (4 * 3600 + 1, 1), (4 * 3600 + 86_400, 2)):
            write_clock_offset(clock, float(later_s))
            await watch_billing(runtime)
            bodies = [json.loads(alert.body) for alert in await runtime.ledger.list_alerts()]
            assert [body["type"] for body in bodies] == ["billing.stale"] * told
            assert value_of(runtime, "tiergate_sync_oldest_seconds") >= later_s
        assert {body["data"]["oldest_at"] for body in bodies} == {read_at}


@pytest.mark.usefixtures("settings")
async def test_metrics_count_what_reconciliations_and_sweeps_found_once():
    async with open_runtime(load_settings()) as runtime:
        await runtime.ledger.await_reconciliation(now=1000)
        for drifted, swept in ((2, 3), (2, 3), (5, 4)):
            runtime.reconciler.drifted = drifted
            runtime.events._sweeping.found = swept
            runtime.events.strangers.update(lost=1)
            await watch_billing(runtime)
            assert value_of(runtime, "tiergate_reconciliation_drift_total") == drifted
            assert value_of(runtime, "tiergate_undelivered_events_total") == swept
            lost = value_of(runtime, "tiergate_stranger_events_total", verdict="lost")
            assert lost == runtime.events.strangers["lost"]


@pytest.mark.usefixtures("settings")
async def test_a_hold_shows_since_when_whatever_runs_until_it_is_over():
    async with open_runtime(load_settings()) as runtime:
        ledger = runtime.ledger

        async def shown():
            await watch_billing(runtime)
            return value_of(runtime, "tiergate_reconciliation_held_since_timestamp_seconds")

        assert await shown() == 0
        for worker, now, is_part in (("a part", 1_000, True), ("a day later", 90_000, False)):
            await ledger.claim_reconciliation(worker, now=now, lease_s=60, is_part=is_part)
            await ledger.hold_endings(worker, now=now + 10)
            assert await shown() == 1_010
            await ledger.end_reconciliation(worker, now=now + 20, is_complete=not is_part)
            assert await shown() == 1_010
        await ledger.claim_reconciliation("somebody who said how many", now=100_000, lease_s=60)
        assert await shown() == 1_010, "it goes on"
        await ledger.end_reconciliation("somebody who said how many", now=100_010, is_complete=True, ends_hold=True)
        assert await shown() == 0


@pytest.mark.usefixtures("settings")
async def test_a_key_whose_account_nobody_could_tell_is_looked_at_again_soon_and_shows_once_anybody_knows(
    monkeypatch,
):
    stripe = StandIn()
    async with stripe.listening():
        monkeypatch.setenv("TIERGATE_STRIPE_URL", stripe.url)
        async with open_runtime(load_settings()) as runtime:
            await runtime.ledger.keep_facts({STRIPE_ACCOUNT: "acct_elsewhere"}, now=int(runtime.clock.now()))
            account_id, stripe.account_id = stripe.account_id, None
            stripe.always(Answer(status=500, body={"error": {"type": "api_error", "message": "busy"}}))
            await watch_account(runtime)
            assert value_of(runtime, "tiergate_stripe_account_wrong") == 0
            assert runtime.watch.account_due_at < time.monotonic() + 15
            stripe.account_id = account_id
            with pytest.raises(StripeAccountWrong):  # as a checkout does
                await runtime.sync.account.check()
            await watch_account(runtime)
            assert value_of(runtime, "tiergate_stripe_account_wrong") == 1


def value_of(runtime, name, **labels):
    return runtime.metrics.registry.get_sample_value(name, labels)


def add_customer(settings, read_at):
    """One that Stripe knows, read then."""
    with contextlib.closing(sqlite3.connect(settings.ledger_dsn.removeprefix("sqlite:///"))) as ledger, ledger:
        ledger.execute(
            "INSERT INTO customers VALUES ('cust_1', 'u', 'cus_1', ?, 0, 1, 1, 0, 0, ?)",
            [read_at, read_at],
        )
