"""What an operator does, ended at a step: all customers are read again or imported, and a tier is given by hand.

Most are commands: processes of their own that die, while the gateway goes on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from gateway.billing.labels import customer_labels
from gateway.core.keys import CUSTOMER_ID_LENGTH
from gateway.provisioning import random_text
from gateway.sync.reconciling import LEASE_S
from tests.journeys.buyers import until
from tests.kills.site import Site
from tests.kills.truths import check
from tests.kills.watching import sign_of

_YEAR_S = 365 * 86_400
_COMMAND_S = 120
RECONCILED_EVERY_S = 7_200
"""Longer than what passes until one that was killed is made good."""
_SYNC = ("sync", "--all", "--json")
_IMPORT = ("customers", "import", "--from-stripe", "--write-metadata", "--json")
_DRIFT_TOLD = "SELECT COUNT(*) FROM alerts WHERE body LIKE '%billing.drift_repaired%'"
_AT_REST = "SELECT cursor IS NULL AND claimed_by IS NULL FROM reconciliation"
_PLANS = {"pro-monthly": "price_pro_monthly", "enterprise-monthly": "price_enterprise_monthly"}


def reconciliation(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """Nobody told of a change, and the operator has all customers read again; what was killed is gone on with.

    It is the same customer each time: one more in every walk would make each walk longer than the one before.
    """
    site.kept = user_id = site.kept or site.subscriber()
    wanted = _move_untold(site, user_id)
    before = _count_audit(site, user_id, "subscription-changed")
    arm()
    _command(site, *_SYNC)

    def make_good() -> None:
        site.pass_time(LEASE_S + 1)
        is_begun = site.read("SELECT cursor IS NOT NULL FROM reconciliation")
        told = json.loads(_command(site, *_SYNC, *(("--resume",) if is_begun else ())))
        assert told["checked"] == 1, told
        assert told["changed"] == 1 or not is_begun, "what a run has changed is lost to who goes on with it"
        site.settle_down()
        assert _recorded_plan(site, user_id) == wanted
        assert _count_audit(site, user_id, "subscription-changed") == before + 1
        check(site, user_id, was_told=False)

    return make_good


def daily(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """The same by a worker, once it is due; another goes on when the claim of the killed one has run out, and tells."""
    site.kept = user_id = site.kept or site.subscriber()
    wanted = _move_untold(site, user_id)
    before, told_before = _count_audit(site, user_id, "subscription-changed"), int(site.read(_DRIFT_TOLD))
    arm()
    site.pass_time(RECONCILED_EVERY_S)

    def is_done() -> bool:
        return _recorded_plan(site, user_id) == wanted and site.read(_AT_REST) == 1

    until(lambda: site.was_killed or is_done())

    def make_good() -> None:
        site.settle_down()
        site.pass_time(LEASE_S + 1)
        until(is_done)
        assert _count_audit(site, user_id, "subscription-changed") == before + 1
        assert site.read(_DRIFT_TOLD) == told_before + 1, "what a run found was told never, or twice"
        check(site, user_id, was_told=False)

    return make_good


def importing(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """A customer of before the gateway is imported, and all are again when that was killed."""
    user_id = site.new_user()
    return _imported(site, arm, user_id, _unknown_customer(site, {"user_id": user_id}))


def restoring(site: Site, arm: Callable[[], None]) -> Callable[[], None]:
    """A customer whom this ledger made and lost is imported, under the id that it had."""
    user_id, customer_id = site.new_user(), random_text(CUSTOMER_ID_LENGTH)
    ledger_id = site.read("SELECT value FROM installation WHERE name = 'ledger-id'")
    owner = _unknown_customer(site, customer_labels(customer_id, user_id, ledger_id))
    make_good = _imported(site, arm, user_id, owner)

    def make_good_too() -> None:
        make_good()
        assert _id_of(site, user_id) == customer_id

    return make_good_too


def _imported(site: Site, arm: Callable[[], None], user_id: str, owner: str) -> Callable[[], None]:
    arm()
    _command(site, *_IMPORT)

    def make_good() -> None:
        told = json.loads(_command(site, *_IMPORT))
        assert (told["listed"], told["conflicts"]) == (1, []), told
        site.settle_down()
        assert _count_audit(site, user_id, "customer-created") == 1
        assert _count_audit(site, user_id, "subscription-changed") == 1
        check(site, user_id, was_told=False)
        # Or the next walk would have one more to import, and be longer than this one.
        site.house.stripe("DELETE", f"/v1/customers/{owner}")
        site.settle_down()

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
        told = site.usage(key)
        assert told["tier"] == "pro"
        check(site, user_id, subscriptions=0, keys=1)

    return make_good


def _command(site: Site, *arguments: str) -> str:
    """A command beside the gateway, until it ends or is killed. What it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills.served", *arguments],
        env=site.house.environment(),
        cwd=site.house.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told, trouble = process.communicate(timeout=_COMMAND_S)
    site.command_died = process.returncode == -signal.SIGKILL
    for left in site.folder.glob(sign_of(Path(), "*", process.pid).name):
        left.unlink()
    assert site.command_died or process.returncode == 0, trouble
    return told


def _move_untold(site: Site, user_id: str) -> str:
    """The seller gives a subscription another price, and no event of it is ever made for the gateway. The plan."""
    wanted = next(plan_id for plan_id in _PLANS if plan_id != _recorded_plan(site, user_id))
    stripe, owner = site.house.stripe, _owner_of(site, user_id)
    [has] = stripe("GET", "/v1/subscriptions", {"customer": owner})["data"]
    item = {"items[0][id]": has["items"]["data"][0]["id"], "items[0][price]": _PLANS[wanted]}
    with _untold(site):
        stripe("POST", f"/v1/subscriptions/{has['id']}", item | {"proration_behavior": "none"})
    return wanted


def _unknown_customer(site: Site, metadata: dict[str, str]) -> str:
    """A Stripe customer that pays, of which the gateway has heard nothing."""
    card: dict[str, Any] = {
        "payment_method": "pm_card_visa",
        "invoice_settings[default_payment_method]": "pm_card_visa",
    }
    with _untold(site):
        labels = {f"metadata[{name}]": value for name, value in metadata.items()}
        owner: str = site.house.stripe("POST", "/v1/customers", card | labels)["id"]
        bought = {"customer": owner, "items[0][price]": _PLANS["pro-monthly"]}
        site.house.stripe("POST", "/v1/subscriptions", bought)
    return owner


@contextmanager
def _untold(site: Site) -> Iterator[None]:
    """No event of what happens is ever made for the gateway."""
    stripe = site.house.stripe
    [endpoint] = stripe("GET", "/v1/webhook_endpoints")["data"]
    stripe("POST", f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": "true"})
    yield
    stripe("POST", f"/v1/webhook_endpoints/{endpoint['id']}", {"disabled": "false"})


def _owner_of(site: Site, user_id: str) -> str:
    return str(site.read("SELECT stripe_customer_id FROM customers WHERE user_id = ?", user_id))


def _id_of(site: Site, user_id: str) -> str:
    return str(site.read("SELECT customer_id FROM customers WHERE user_id = ?", user_id))


def _count_audit(site: Site, user_id: str, action: str) -> int:
    query = "SELECT COUNT(*) FROM audit_log JOIN customers USING (customer_id) WHERE user_id = ? AND action = ?"
    return int(site.read(query, user_id, action))


def _recorded_plan(site: Site, user_id: str) -> str:
    query = "SELECT plan_id FROM subscriptions JOIN customers USING (customer_id) WHERE user_id = ?"
    return str(site.read(query, user_id))
