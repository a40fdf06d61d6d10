"""`tiergate customers spend-cap`: what an operator sees, sets and removes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.core.account import MeteredItem, Subscription
from gateway.core.overage import overage_field
from gateway.core.tariff import Tariff
from gateway.ledger import Ledger, UsageTotal
from tests.steps import found

Run = Callable[..., Result]
WHO = ("--user-id", "ada")
POLICY = """\
version: 1
default_tier: free
tiers:
  free: {limits: [100 requests per billing period]}
  pro:
    limits: [1_000 requests per billing period]
    overage: {stripe_meter: api_overage, price: lookup_key over, cap: 10x, spend_cap: 90.00 USD}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes: [{match: "* /v1/**"}]
"""


def subscribe(environment: dict[str, str], customer_id: str, currency: str = "usd") -> None:
    """To the plan and its overage, at 10 of the smallest unit a unit."""

    async def do() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        now = int(time.time())
        tariff = Tariff(currency=currency, unit_amount="10")
        subscription = Subscription(
            subscription_id="sub_1",
            status="active",
            plan_id="pro-monthly",
            period_starts_at=now,
            period_ends_at=now + 30 * 86_400,
            anchor_at=now,
            metered=(MeteredItem(price_id="price_over", lookup_key="over", tariff=tariff),),
        )
        fence = await ledger.take_fence(customer_id)
        await ledger.apply_subscription(
            customer_id, fence, found(subscription), now=now, actor="stripe", because="test"
        )
        await ledger.aclose()

    asyncio.run(do())


@pytest.fixture
def ada(migrated: Run, policies: Path) -> str:
    (policies / "tiergate.yaml").write_text(POLICY)
    created: str = json.loads(migrated("customers", "create", "--user-id", "ada", "--json").stdout)["customer_id"]
    return created


def cap(run: Run, *arguments: str) -> dict[str, Any]:
    result = run("customers", "spend-cap", *WHO, *arguments, "--json")
    assert result.exit_code == 0, result.output
    [shown] = json.loads(result.stdout)["spend_caps"]
    return dict(shown)


def test_the_cap_of_the_policy_is_shown_with_what_it_buys(migrated: Run, environment: dict[str, str], ada: str) -> None:
    subscribe(environment, ada)
    shown = cap(migrated)
    assert (shown["meter"], shown["amount"], shown["is_own"], shown["units"]) == ("requests", 9_000, False, 900)
    said = migrated("customers", "spend-cap", *WHO).stdout
    assert "90.00 USD" in said
    assert "policy" in said


def test_a_cap_is_set_in_the_words_of_its_currency_shown_and_removed(
    migrated: Run, environment: dict[str, str], ada: str
) -> None:
    subscribe(environment, ada)
    shown = cap(migrated, "--set", "49.90", "--because", "asked by mail")
    assert (shown["amount"], shown["currency"], shown["is_own"], shown["units"]) == (4_990, "usd", True, 499)
    assert cap(migrated) == shown
    assert "49.90 USD" in migrated("customers", "spend-cap", *WHO).stdout
    assert cap(migrated, "--remove")["units"] == 900
    audited = migrated("audit", "list", "--customer", ada).stdout
    assert "asked by mail" in audited


def test_an_amount_is_of_the_currency_that_the_subscription_is_billed_in(
    migrated: Run, environment: dict[str, str], ada: str
) -> None:
    subscribe(environment, ada, currency="jpy")
    shown = cap(migrated, "--set", "500")
    assert (shown["amount"], shown["currency"], shown["units"]) == (500, "jpy", 50)
    refused = migrated("customers", "spend-cap", *WHO, "--set", "500.50")
    assert refused.exit_code == 1


def test_a_cap_of_another_currency_than_the_price_allows_no_overage_until_one_of_its_own_is_set(
    migrated: Run, environment: dict[str, str], ada: str
) -> None:
    subscribe(environment, ada, currency="eur")
    assert cap(migrated)["units"] == 0
    assert cap(migrated, "--set", "10")["units"] == 100


def test_nothing_is_set_for_a_customer_without_overage(migrated: Run, ada: str) -> None:
    assert ada
    refused = migrated("customers", "spend-cap", *WHO, "--set", "10")
    assert refused.exit_code == 1
    assert "no overage" in refused.output
    assert "no overage" in migrated("customers", "spend-cap", *WHO).output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--set", "much"), 1, "an amount is written like 50"),
        (("--set", "-1"), 1, "an amount is written like 50"),
        (("--set", "1", "--remove"), 2, "Either --set or --remove"),
        (("--set", "1", "--meter", "tokens"), 1, "Say of which meter: requests"),
    ],
    ids=["no-amount", "less-than-nothing", "both", "another-meter"],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    migrated: Run, environment: dict[str, str], ada: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    subscribe(environment, ada)
    before = cap(migrated)
    refused = migrated("customers", "spend-cap", *WHO, *arguments)
    assert (refused.exit_code, message in refused.output) == (code, True)
    assert cap(migrated) == before


def test_what_goes_beyond_a_quota_is_shown_with_the_customer(
    migrated: Run, environment: dict[str, str], ada: str
) -> None:
    subscribe(environment, ada)

    async def use(units: int) -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        total = UsageTotal(
            customer_id=ada,
            field=overage_field("requests"),
            window_starts_at=int(time.time()),
            used=units,
            seq=1,
        )
        await ledger.settle([total])
        await ledger.aclose()

    asyncio.run(use(30))
    [told] = json.loads(migrated("customers", "show", *WHO, "--json").stdout)["overages"]
    assert (told["meter"], told["used"], told["allowed"], told["cost"], told["currency"]) == (
        "requests",
        30,
        900,
        300,
        "usd",
    )
    said = migrated("customers", "show", *WHO).stdout
    assert "OVERAGE" in said
    assert "3.00 USD" in said
