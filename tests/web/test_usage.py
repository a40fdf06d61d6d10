from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest

from gateway.cache import CacheServer

USAGE = "/api/v1/usage"


def limits_of(answer):
    return {limit["name"]: limit for limit in answer.json()["limits"]}


def test_usage_counts_what_was_called(gateway, second_gateway):
    _, _, client = gateway.customer()
    for _ in range(3):
        client.get("/v1/echo").raise_for_status()
    for worker in (gateway, second_gateway):
        answer = worker.bearer(client.headers["authorization"].removeprefix("Bearer ")).get(USAGE)
        period = limits_of(answer)["period"]
        assert (period["used"], period["limit"], period["remaining"]) == (3, 100, 97)
        assert period["window_starts_at"] <= time.time() < period["window_ends_at"]
        assert (answer.json()["source"], answer.json()["tier"]) == ("cache", "free")


def test_asking_costs_nothing(gateway):
    _, _, client = gateway.customer()
    for _ in range(5):
        assert limits_of(client.get(USAGE))["period"]["used"] == 0


def test_a_rate_is_shown_as_a_promise(gateway):
    _, _, client = gateway.customer()
    rate = limits_of(client.get(USAGE))["second"]
    assert (rate["kind"], rate["limit"], rate["burst"], rate["used"]) == ("rate", 10, 20, None)


def test_a_keys_own_limit_is_shown_beside_the_customers(gateway):
    _, _, client = gateway.customer(limits=["5 per day"])
    client.get("/v1/echo").raise_for_status()
    limits = limits_of(client.get(USAGE))
    assert (limits["key-day"]["used"], limits["key-day"]["remaining"]) == (1, 4)
    assert limits["key-day"]["key_id"] == client.get("/api/v1/api-keys").json()["keys"][0]["key_id"]
    assert limits["period"]["key_id"] is None


def test_the_seller_asks_for_any_user(gateway):
    _, user_id, client = gateway.customer()
    client.get("/v1/echo").raise_for_status()
    answer = gateway.server.get(USAGE, params={"user_id": user_id})
    assert limits_of(answer)["period"]["used"] == 1
    assert gateway.browser().get(USAGE, params={"user_id": user_id}).status_code == 401


def settled(ledger_url: str, customer_id: str) -> list[tuple[int]]:
    with contextlib.closing(sqlite3.connect(ledger_url.removeprefix("sqlite:///"))) as ledger:
        return ledger.execute("SELECT used FROM usage_totals WHERE customer_id = ?", (customer_id,)).fetchall()


@pytest.mark.not_on("cluster", because="stops a server of its own")
@pytest.mark.slow
def test_without_the_cache_the_ledger_answers_and_says_so(start_gateway, until, world):
    with tempfile.TemporaryDirectory(prefix="tg") as folder, CacheServer.start(Path(folder)) as cache:
        own = start_gateway(TIERGATE_REDIS_URL=cache.url)
        customer_id, _, client = own.customer()
        client.get("/v1/echo").raise_for_status()
        until(lambda: settled(world["TIERGATE_LEDGER_URL"], customer_id) == [(1,)])
        cache.stop()
        answer = client.get(USAGE)
        assert (answer.status_code, answer.json()["source"]) == (200, "ledger")
        assert limits_of(answer)["period"]["used"] == 1
        assert client.get("/api/v1/subscription").status_code == 200
        assert client.get("/v1/echo").status_code == 503
        key = client.headers["authorization"].removeprefix("Bearer ")
        stranger = own.bearer(key[:-1] + ("x" if key[-1] != "x" else "y"))
        assert stranger.get(USAGE).status_code == 401


def test_usage_follows_a_suspension(gateway):
    customer_id, _, client = gateway.customer()
    gateway.admin.post(f"/_tiergate/admin/customers/{customer_id}/block").raise_for_status()
    answer = client.get(USAGE)
    assert (answer.json()["standing"], answer.json()["tier"], answer.json()["limits"]) == ("suspended", None, [])


def test_a_quota_shows_when_it_will_be_used_up(gateway):
    _, _, client = gateway.customer(limits=["5 per 366 days"])
    assert limits_of(client.get(USAGE))["key-366-days"]["exhausts_at"] is None
    for _ in range(5):
        client.get("/v1/echo").raise_for_status()
    answer = client.get(USAGE)
    limits = limits_of(answer)
    assert limits["key-366-days"]["exhausts_at"] == answer.json()["as_of"], "it is used up already"
    assert limits["second"]["exhausts_at"] is None, "a rate refills"
