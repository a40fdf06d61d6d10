"""What an operator does, ended at a step: all customers are read again, and a tier is given by hand.

The first is a command: a process of its own that dies, while the gateway goes on.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from gateway.sync.reconciling import LEASE_S
from tests.kills.site import Site
from tests.kills.truths import check
from tests.kills.watching import sign_of

_YEAR_S = 365 * 86_400
_COMMAND_S = 120
_PLANS = {"pro-monthly": "price_pro_monthly", "enterprise-monthly": "price_enterprise_monthly"}


def reconciliation(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """Nobody told of a change, and the operator has all customers read again; and once more when that was killed.

    It is the same customer each time: one more in every walk would make each walk longer than the one before.
    """
    site.kept = user_id = site.kept or site.subscriber()
    wanted = next(plan_id for plan_id in _PLANS if plan_id != _recorded_plan(site, user_id))
    _move_untold(site, user_id, _PLANS[wanted])
    before = _count_audit(site, user_id, "subscription-changed")
    arm()
    _command(site, "sync", "--all")

    def make_good() -> None:
        site.pass_time(LEASE_S + 1)
        assert _command(site, "sync", "--all")
        site.settle_down()
        assert _recorded_plan(site, user_id) == wanted
        assert _count_audit(site, user_id, "subscription-changed") == before + 1
        check(site, user_id, was_told=False)

    return make_good


def grant(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """The seller gives a tier by hand, and does it again when there was no answer."""
    user_id = site.new_user()
    made = site.house.admin("POST", "customers", json={"user_id": user_id})
    key = site.house.admin("POST", f"customers/{made['customer_id']}/keys")["key"]
    order = {"tier": "pro", "ends_at": int(site.now()) + _YEAR_S, "because": "pays by invoice"}
    arm()
    with suppress(httpx.HTTPError):
        site.house.admin("POST", f"customers/{made['customer_id']}/tier-grant", json=order)

    def make_good() -> None:
        site.settle_down()
        site.house.admin("POST", f"customers/{made['customer_id']}/tier-grant", json=order)
        assert _count_audit(site, user_id, "tier-granted") == 1
        told = httpx.get(f"{site.house.url}/api/v1/usage", headers={"x-api-key": key}).raise_for_status().json()
        assert told["tier"] == "pro"
        check(site, user_id, subscriptions=0, keys=1)

    return make_good


def _command(site: Site, *arguments: str) -> bool:
    """A command beside the gateway, until it ends. Whether it was whole, and not killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills.served", *arguments],
        env=site.house.environment(),
        cwd=site.house.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    told, _ = process.communicate(timeout=_COMMAND_S)
    site.command_died = process.returncode == -signal.SIGKILL
    for left in site.folder.glob(sign_of(Path(), "*", process.pid).name):
        left.unlink()
    assert site.command_died or process.returncode == 0, told
    return not site.command_died


def _move_untold(site: Site, user_id: str, price_id: str) -> None:
    """The seller gives a subscription another price, and no event of it is ever made for the gateway."""
    stripe = site.house.stripe
    [endpoint] = stripe("GET", "/v1/webhook_endpoints")["data"]
    owner = site.read("SELECT stripe_customer_id FROM customers WHERE user_id = ?", user_id)
    [has] = stripe("GET", "/v1/subscriptions", {"customer": owner})["data"]
    item = {"items[0][id]": has["items"]["data"][0]["id"], "items[0][price]": price_id}
    stripe("POST", f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": "true"})
    stripe("POST", f"/v1/subscriptions/{has['id']}", item | {"proration_behavior": "none"})
    stripe("POST", f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": "false"})


def _count_audit(site: Site, user_id: str, action: str) -> int:
    query = "SELECT COUNT(*) FROM audit_log JOIN customers USING (customer_id) WHERE user_id = ? AND action = ?"
    return int(site.read(query, user_id, action))


def _recorded_plan(site: Site, user_id: str) -> str:
    query = "SELECT plan_id FROM subscriptions JOIN customers USING (customer_id) WHERE user_id = ?"
    return str(site.read(query, user_id))
