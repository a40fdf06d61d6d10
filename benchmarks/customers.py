"""Customers with one key each, made all at once: ten thousand of them by the front door take minutes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert

from gateway.cache import Cache, prepare_charge
from gateway.cache.keyspace import use_key
from gateway.core.account import Account, KeyRecord
from gateway.core.charge import ChargeRequest, QuotaClaim
from gateway.core.decision import plan_request
from gateway.core.keys import CUSTOMER_ID_LENGTH, SECRET_LENGTH, KeyCodec
from gateway.ledger.tables import API_KEYS, CUSTOMERS
from gateway.policyfiles import load_policy
from gateway.provisioning import random_text

_KEY_ID_LENGTH = 12
_FROM_START_S = 3600
"""How long ago they signed up: their billing period does not begin in mid-measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer, and the text of its only key."""

    account: Account
    digest: str
    key: str


def make_customers(count: int, codec: KeyCodec) -> list[Customer]:
    """New customers, not stored anywhere yet."""
    return [_make_customer(codec, int(time.time()) - _FROM_START_S) for _ in range(count)]


def _make_customer(codec: KeyCodec, created_at: int) -> Customer:
    customer_id = random_text(CUSTOMER_ID_LENGTH)
    minted = codec.mint(customer_id, random_text(SECRET_LENGTH))
    record = KeyRecord(key_id=random_text(_KEY_ID_LENGTH), name="bench", last4=minted.last4, created_at=created_at)
    account = Account(
        customer_id=customer_id,
        user_id=f"bench-{customer_id}",
        version=1,
        created_at=created_at,
        keys={minted.digest: record},
    )
    return Customer(account=account, digest=minted.digest, key=minted.text)


def record_in_ledger(customers: list[Customer], file: Path, mode: str) -> None:
    """One transaction; they are marked as published, for `publish_to_cache` to make it true."""
    engine = create_engine(f"sqlite:///{file}", connect_args={"timeout": 30})
    with engine.begin() as connection:
        connection.execute(insert(CUSTOMERS), [_customer_row(customer.account) for customer in customers])
        connection.execute(insert(API_KEYS), [_key_row(customer, mode) for customer in customers])
    engine.dispose()


async def publish_to_cache(customers: list[Customer], url: str) -> None:
    """Put the accounts where the charge script looks for them."""
    cache = await Cache.connect(url, deadline_s=10)
    try:
        for customer in customers:
            await cache.publish(customer.account, counters={}, seq_floor=0)
    finally:
        await cache.aclose()


def charge_command(customer: Customer, policy_directory: Path) -> tuple[bytes, int]:
    """What the gateway sends to the cache for one GET of this customer, and what of the quota one GET leaves.

    Returns:
        The command as it goes over the wire; the quota's limit less the cost.
    """
    policy = load_policy(policy_directory)
    path = "/v1/1kb"
    plan = plan_request(
        policy=policy,
        account=customer.account,
        digest=customer.digest,
        route=policy.find_route("GET", path),
        method="GET",
        path=path,
        now=time.time(),
    )
    quota = next(claim for claim in plan.claims if isinstance(claim, QuotaClaim))
    request = ChargeRequest(
        customer_id=customer.account.customer_id, version=customer.account.version, claims=plan.claims
    )
    return prepare_charge(request), quota.limit - quota.cost


def usage_hash(customer: Customer) -> str:
    """Name of the hash in the cache that counts this customer's requests."""
    return use_key(customer.account.customer_id)


def _customer_row(account: Account) -> dict[str, Any]:
    return {
        "customer_id": account.customer_id,
        "user_id": account.user_id,
        "stripe_customer_id": None,
        "created_at": account.created_at,
        "blocked": False,
        "version": account.version,
        "published_version": account.version,
        "sync_fence": 0,
        "applied_fence": 0,
    }


def _key_row(customer: Customer, mode: str) -> dict[str, Any]:
    record = customer.account.keys[customer.digest]
    return {
        "key_id": record.key_id,
        "customer_id": customer.account.customer_id,
        "digest": customer.digest,
        "mode": mode,
        "name": record.name,
        "last4": record.last4,
        "scopes": [],
        "limits": [],
        "limit_texts": [],
        "allow": [],
        "created_at": record.created_at,
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": None,
        "replaced_by": None,
    }
