"""What has to hold when all is quiet, whoever was killed: asked of ledger, cache and Stripe directly."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from gateway.billing import SUBSCRIBED_TYPES, Billing, StripeOptions
from gateway.cache import decode_account
from gateway.cache.keyspace import acct_key
from gateway.core.projection import project
from gateway.ledger import Ledger
from gateway.policyfiles import load_policy
from gateway.sync.facts import read_facts
from tests.kills.site import Site

_LIVE = {"active", "trialing", "past_due", "unpaid", "incomplete", "paused"}
_TOLD_TO_NOBODY = ("price.", "product.")
"""What was for sale before there was an endpoint."""


def check(site: Site, user_id: str, *, subscriptions: int = 1, keys: int = 0, was_told: bool = True) -> None:
    """Nothing lost, nothing double, and access is what Stripe says.

    Args:
        site: Where.
        user_id: Whose life was disturbed.
        subscriptions: Live ones that it has by now.
        keys: API keys that it has by now.
        was_told: Whether events of all that happened of late were made for the gateway.
    """
    asyncio.run(_check(site, user_id, subscriptions, keys, was_told=was_told))


async def _check(site: Site, user_id: str, subscriptions: int, keys: int, *, was_told: bool) -> None:
    ledger = await Ledger.open(site.ledger_url, deadline_s=30)
    billing = await Billing.open(StripeOptions(secret_key=site.house._stripe_key, base_url=site.house.stripe_url))
    try:
        if was_told:
            await _check_events(site, ledger)
        row = await ledger.find_customer_by_user(user_id)
        assert row is not None, "the customer is gone"
        made = _customers_of(site, row.customer_id)
        assert made == ([row.stripe_customer_id] if row.stripe_customer_id else []), f"Stripe customers: {made}"
        live = _live_subscriptions(site, row.stripe_customer_id)
        assert len(live) == subscriptions, f"live subscriptions: {live}"
        listed = await ledger.list_keys(row.customer_id)
        assert len(listed) == keys, f"keys: {listed}"
        await _check_access(site, ledger, billing, row.customer_id)
    finally:
        await billing.aclose()
        await ledger.aclose()


async def _check_events(site: Site, ledger: Ledger) -> None:
    """Every event of the last while that we act on is here, and done."""
    sent = site.house.stripe("GET", "/v1/events", {"limit": "60"})["data"]
    for event in sent:
        if event["type"] in SUBSCRIBED_TYPES and not event["type"].startswith(_TOLD_TO_NOBODY):
            row = await ledger.find_event(event["id"])
            assert row is not None, f"lost: {event['id']} {event['type']}"
            assert row.status == "done", f"{row.status}: {event['id']} {event['type']}: {row.error}"


def _customers_of(site: Site, customer_id: str) -> list[str]:
    found = site.house.stripe("GET", "/v1/customers", {"limit": "100"})["data"]
    return [one["id"] for one in found if one["metadata"].get("tiergate_customer_id") == customer_id]


def _live_subscriptions(site: Site, stripe_customer_id: str | None) -> list[str]:
    if stripe_customer_id is None:
        return []
    found = site.house.stripe("GET", "/v1/subscriptions", {"customer": stripe_customer_id, "status": "all"})["data"]
    return [one["id"] for one in found if one["status"] in _LIVE]


async def _check_access(site: Site, ledger: Ledger, billing: Billing, customer_id: str) -> None:
    """Ledger and cache have what a read of Stripe would give."""
    account: Any = await ledger.load_account(customer_id)
    row: Any = await ledger.find_customer(customer_id)
    if row.stripe_customer_id is not None:
        policy = load_policy(site.house.policy_dir)
        facts = await read_facts(billing, ledger, policy, customer_id, row.stripe_customer_id)
        read, _ = project(facts.of_customer, policy, account.subscription, int(site.now()))
        assert read == account.subscription, f"recorded {account.subscription}; Stripe says {read}"
    assert row.published_version == row.version, "a change was not carried to the cache"
    async with Redis.from_url(site.house.environment()["TIERGATE_REDIS_URL"]) as cache:
        blob = await cache.get(acct_key(customer_id))
    assert blob is None or decode_account(blob) == account, "the cache has something else"
