"""A seller without Stripe: settings without its key, tiers granted by hand, and a clear refusal of the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from tests.cli.conftest import SECRETS, Served

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
KEYS = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "TIERGATE_STRIPE_URL")
POLICY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [5 requests per day]
  pro:
    limits: [1000 requests per day]
plans: {}
routes:
  - match: GET /v1/**
"""
NEEDS_STRIPE = [
    ("POST", "/api/v1/create-checkout"),
    ("POST", "/api/v1/portal-session"),
    ("POST", "/api/v1/subscription/change"),
    ("DELETE", "/api/v1/subscription/change"),
    ("POST", "/api/v1/webhook"),
    ("POST", "/_tiergate/admin/customers/none/sync"),
    ("POST", "/_tiergate/admin/events/evt_1/replay"),
]


@pytest.fixture(autouse=True)
def without_stripe(environment: dict[str, str]) -> None:
    for name in KEYS:
        del environment[name]


@pytest.fixture
def by_hand(policies: Path) -> None:
    for file in policies.glob("*.yaml"):
        file.unlink()
    (policies / "tiers.yaml").write_text(POLICY)


def findings_of(run: Run, *, about: str) -> list[tuple[str, str]]:
    found = json.loads(run("doctor", "--json").stdout)["findings"]
    return [(one["grade"], one["what"]) for one in found if one["subject"] == about]


def refusal(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json().get("code")


@pytest.mark.usefixtures("by_hand")
def test_a_gateway_without_stripe_meters_calls_and_lets_tiers_be_granted_by_hand(
    migrated: Run, serve: Callable[..., Served]
) -> None:
    served = serve(TIERGATE_SIGNUP="open")
    assert "not configured" in served.wait_for("gateway serves")["stripe"]
    made = migrated("customers", "create", "--user-id", "ada", "--json")
    assert made.exit_code == 0, made.output
    issued = json.loads(migrated("keys", "issue", "--user-id", "ada", "--name", "first", "--json").stdout)
    key = issued["key"]
    assert served.call(key).headers["ratelimit-policy"].count("q=5;") == 1
    granted = migrated(
        "customers", "grant", "--user-id", "ada", "--tier", "pro", "--for", "30d", "--because", "invoice"
    )
    assert granted.exit_code == 0, granted.output
    answer = served.call(key)
    assert (answer.status_code, answer.headers["ratelimit-policy"].count("q=1000;")) == (200, 1)
    assert httpx.get(f"{served.url}/_tiergate/ready", timeout=60).status_code == 200
    for method, path in NEEDS_STRIPE:
        headers = {
            "authorization": f"Bearer {SECRETS['TIERGATE_ADMIN_TOKEN' if 'admin' in path else 'TIERGATE_SERVER_TOKEN']}"
        }
        answer = httpx.request(method, served.url + path, headers=headers, timeout=30)
        assert refusal(answer) == (501, "billing-not-configured"), path
    usage = httpx.get(f"{served.url}/api/v1/usage", headers={"x-api-key": key}, timeout=30)
    assert usage.json()["tier"] == "pro"
    assert served.stop() == 0
    troubles = [line for line in served.lines if '"warning"' in line or '"error"' in line or "Traceback" in line]
    assert [line for line in troubles if "not-configured" not in line] == []


def test_the_pricing_page_shows_tiers_and_nothing_to_buy(migrated: Run, serve: Callable[..., Served]) -> None:
    assert migrated
    served = serve(TIERGATE_SIGNUP="open")
    assert served.wait_for("the policy sells plans, and Stripe is not configured")["plans"]
    page = httpx.get(f"{served.url}/_tiergate/pricing", timeout=30)
    assert page.status_code == 200
    assert "Pro" in page.text
    assert "<form" not in page.text
    assert "cannot be shown right now" not in page.text
    plans = httpx.get(f"{served.url}/api/v1/plans", timeout=30).json()
    assert (plans["prices_as_of"], [plan["price"] for plan in plans["plans"]][:1]) == (None, [None])
    bought = httpx.post(f"{served.url}/_tiergate/pricing", data={"plan_id": "pro-monthly"}, timeout=30)
    assert bought.status_code == 501


@pytest.mark.usefixtures("by_hand")
def test_the_doctor_says_it_as_a_fact(migrated: Run) -> None:
    assert findings_of(migrated, about="stripe") == [
        ("ok", "not configured: nothing is sold, and tiers are granted by hand")
    ]
    assert findings_of(migrated, about="settings") == [("ok", "complete, without Stripe")]


def test_the_doctor_warns_of_plans_that_nobody_can_buy(migrated: Run) -> None:
    [_, (grade, what)] = findings_of(migrated, about="stripe")
    assert grade == "warn"
    assert "pro-monthly" in what


@pytest.mark.parametrize("command", [("sync", "--all"), ("webhook", "ensure", "--print-secret")], ids=" ".join)
def test_commands_that_need_stripe_say_what_is_missing(migrated: Run, command: tuple[str, ...]) -> None:
    result = migrated(*command)
    assert result.exit_code == 1
    assert "Stripe is not configured: set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET." in result.output


def test_one_of_both_settings_alone_is_a_fault(migrated: Run, environment: dict[str, str]) -> None:
    environment["STRIPE_SECRET_KEY"] = SECRETS["STRIPE_SECRET_KEY"]
    [(_, what)] = findings_of(migrated, about="settings")
    assert "STRIPE_WEBHOOK_SECRET: is not set, and STRIPE_SECRET_KEY is" in what
    del environment["STRIPE_SECRET_KEY"]
    environment["STRIPE_WEBHOOK_SECRET"] = SECRETS["STRIPE_WEBHOOK_SECRET"]
    [(_, what)] = findings_of(migrated, about="settings")
    assert "STRIPE_WEBHOOK_SECRET: only together with STRIPE_SECRET_KEY" in what


@pytest.mark.usefixtures("by_hand")
def test_a_ledger_of_stripe_is_not_served_without_it_until_that_is_meant(
    migrated: Run, serve: Callable[..., Served]
) -> None:
    """Who forgets the key would give everybody their plan for good."""
    assert migrated
    with_stripe = serve(**{name: SECRETS[name] for name in KEYS[:2]}, TIERGATE_STRIPE_URL="http://127.0.0.1:9")
    assert with_stripe.url
    assert with_stripe.stop() == 0
    refused = serve()
    assert refused.process.wait(60) != 0
    assert "STRIPE_SECRET_KEY is not set: no payment and no cancellation would be heard of" in refused.log()
    accepted = migrated("ledger", "accept", "stripe", "--yes")
    assert accepted.exit_code == 0, accepted.output
    assert serve().url
