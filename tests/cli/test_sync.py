from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.ledger import Ledger

Run = Callable[..., Result]


@pytest.fixture
def bind(environment: dict[str, str], migrated: Run) -> Callable[[str, str], str]:
    """Makes a customer that is bound to a Stripe customer, as a checkout would."""

    def do(user_id: str, stripe_customer_id: str) -> str:
        result = migrated("customers", "create", "--user-id", user_id, "--json")
        customer_id: str = json.loads(result.stdout)["customer_id"]

        async def write() -> None:
            ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
            await ledger.bind_stripe_customer(customer_id, stripe_customer_id)
            await ledger.aclose()

        asyncio.run(write())
        return customer_id

    return do


def tier_of(run: Run, user_id: str) -> Any:
    return json.loads(run("customers", "show", "--user-id", user_id, "--json").stdout)["tier"]


def test_one_customer_gets_what_it_pays_for(migrated: Run, sandbox: Any, bind: Callable[[str, str], str]) -> None:
    bind("ada", sandbox.subscribe())
    assert tier_of(migrated, "ada") == "free"
    result = migrated("sync", "--user-id", "ada")
    assert result.exit_code == 0, result.output
    assert "in step with Stripe, something changed; active, plan pro-monthly" in result.stdout
    assert tier_of(migrated, "ada") == "pro"
    assert "as it was" in migrated("sync", "--user-id", "ada").stdout


def test_all_customers_are_synchronised_and_counted(
    migrated: Run, sandbox: Any, bind: Callable[[str, str], str]
) -> None:
    bind("ada", sandbox.subscribe("price_enterprise_monthly"))
    bind("bob", sandbox.subscribe("price_pro_yearly"))
    migrated("customers", "create", "--user-id", "new")
    result = migrated("sync", "--all", "--per-second", "50", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["checked"], report["changed"], report["unbound"], report["failed"]) == (2, 2, 1, 0)
    assert (tier_of(migrated, "ada"), tier_of(migrated, "bob")) == ("enterprise", "pro")
    assert "2 customers checked, 0 changed" in migrated("sync", "--all").stdout


def test_a_price_that_policy_does_not_map_is_reported(
    migrated: Run, sandbox: Any, bind: Callable[[str, str], str]
) -> None:
    product = sandbox.post("/v1/products", name="Odd")["id"]
    price = sandbox.post(
        "/v1/prices", product=product, currency="usd", unit_amount="5", **{"recurring[interval]": "month"}
    )["id"]
    bind("ada", sandbox.subscribe(price))
    assert "unmapped-price" in migrated("sync", "--user-id", "ada").stderr
    assert "unmapped-price" in migrated("sync", "--all").stderr


def test_a_stripe_that_is_away_changes_nothing_and_is_an_error(migrated: Run, bind: Callable[[str, str], str]) -> None:
    bind("ada", "cus_unreachable")
    result = migrated("sync", "--user-id", "ada")
    assert result.exit_code == 1
    assert "does not answer" in str(result.exception)
    assert tier_of(migrated, "ada") == "free"


def test_sync_wants_all_or_one(migrated: Run) -> None:
    for arguments in ([], ["--all", "--user-id", "ada"], ["--user-id", "ada", "--customer", "x"]):
        assert migrated("sync", *arguments).exit_code == 2


def test_sync_needs_a_policy_to_map_prices_with(migrated: Run, policies: Path, bind: Callable[[str, str], str]) -> None:
    bind("ada", "cus_1")
    (policies / "tiergate.yaml").write_text("tiers: {")
    result = migrated("sync", "--user-id", "ada")
    assert result.exit_code == 1
    assert "tiergate.yaml" in result.output
