from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.cli.sync import missing_words, stop_lines
from gateway.ledger import Ledger
from gateway.sync.comparing import Comparison, Difference
from gateway.sync.ending import TOO_MANY_MISSING
from gateway.sync.reporting import SyncReport

pytestmark = pytest.mark.slow

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


def test_a_dry_run_says_what_would_change_and_changes_nothing(
    migrated: Run, sandbox: Any, bind: Callable[[str, str], str]
) -> None:
    bind("ada", sandbox.subscribe())
    differs = migrated("sync", "--all", "--dry-run")
    assert differs.exit_code == 1
    assert "(ada): free, lapsed -> pro, good" in differs.stdout
    assert "1 customers compared, 1 differ, 0 failed" in differs.stdout
    assert "plan_id: nothing -> pro-monthly" in differs.stderr
    assert tier_of(migrated, "ada") == "free"
    assert migrated("sync", "--all").exit_code == 0
    again = migrated("sync", "--all", "--dry-run", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["differences"] == []


def test_one_that_was_broken_off_is_resumed_where_it_was(
    migrated: Run, sandbox: Any, bind: Callable[[str, str], str], environment: dict[str, str]
) -> None:
    customers = sorted(bind(name, sandbox.subscribe()) for name in ("ada", "bob"))
    nothing = migrated("sync", "--all", "--resume")
    assert (nothing.exit_code, "None was broken off" in nothing.output) == (1, True)

    async def break_off(claimed_until: int) -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        await ledger.claim_reconciliation("another", now=claimed_until - 60, lease_s=60)
        await ledger.keep_reconciliation(
            "another", now=claimed_until - 60, lease_s=60, cursor=customers[0], checked=1, drifted=1, failed=0
        )
        await ledger.aclose()

    asyncio.run(break_off(4_000_000_000))
    busy = migrated("sync", "--all")
    assert busy.exit_code == 1
    assert "Another worker or command is reading all customers: 1 are done" in busy.output
    asyncio.run(break_off(1_000_000_000))
    resumed = migrated("sync", "--all", "--resume", "--json")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["checked"] == 2, "the other one's, too"
    tiers = {user_id: tier_of(migrated, user_id) for user_id in ("ada", "bob")}
    assert sorted(tiers.values()) == ["free", "pro"]


def test_options_of_reading_everybody_go_with_reading_everybody(migrated: Run) -> None:
    for arguments in (
        ["--user-id", "ada", "--dry-run"],
        ["--user-id", "ada", "--resume"],
        ["--all", "--resume", "--dry-run"],
        ["--all", "--resume", "--after", "c"],
        ["--all", "--resume", "--end-missing"],
        ["--all", "--resume", "--allow-ending", "0"],
    ):
        assert migrated("sync", *arguments).exit_code == 2


def test_a_hold_is_told_by_the_doctor_until_somebody_says_how_many_may_be_ended_and_that_is_enough(
    migrated: Run, sandbox: Any, bind: Callable[[str, str], str], environment: dict[str, str]
) -> None:
    bind("ada", sandbox.subscribe())
    assert migrated("sync", "--all").exit_code == 0
    with sqlite3.connect(f"{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3") as ledger:
        ledger.execute("UPDATE reconciliation SET held_since = 1700000000")
    words = "no reconciliation ends anybody since"
    assert migrated("sync", "--all").exit_code == 0
    assert words in migrated("doctor").output
    assert migrated("sync", "--all", "--allow-ending", "0").exit_code == 0
    assert words not in migrated("doctor").output


def test_a_hold_that_a_part_began_is_told_by_the_command_and_by_the_doctor(
    migrated: Run,
    sandbox: Any,
    bind: Callable[[str, str], str],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for most in ("MOST_ENDED", "MOST_SHARE"):
        monkeypatch.setattr(f"gateway.sync.ending.{most}", 0)
    bind("ada", sandbox.subscribe())
    assert migrated("sync", "--all").exit_code == 0
    with sqlite3.connect(f"{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3") as ledger:
        ledger.execute("UPDATE customers SET stripe_customer_id = 'cus_that_stripe_lacks'")
    part = migrated("sync", "--all", "--after", "0")
    assert part.exit_code == 1, part.output
    assert "Stripe has no such customer, and it keeps what it has" in part.stderr
    assert "no reconciliation ends anybody until somebody says" in part.stderr
    assert "no reconciliation ends anybody since" in migrated("doctor").output
    assert tier_of(migrated, "ada") == "pro"


@pytest.mark.parametrize("is_part", [True, False])
def test_one_that_was_broken_off_says_that_it_began_a_hold_and_how_to_go_on(*, is_part: bool) -> None:
    report = SyncReport(held=["c1"], missing=["c1"], cursor="c1", stopped_because="Stripe does not answer")
    lines = stop_lines(report, is_part=is_part)
    assert lines[:2] == [TOO_MANY_MISSING, "Stopped early: Stripe does not answer"]
    assert ("--after c1" if is_part else "--resume") in lines[2]
    complete = replace(report, is_complete=True, stopped_because=TOO_MANY_MISSING)
    assert stop_lines(complete, is_part=is_part) == [TOO_MANY_MISSING]
    assert stop_lines(SyncReport(is_complete=True), is_part=is_part) == []


def test_how_many_may_be_ended_is_one_number_or_all(migrated: Run) -> None:
    assert migrated("sync", "--all", "--allow-ending", "1", "--end-missing").exit_code == 2
    assert migrated("sync", "--user-id", "ada", "--allow-ending", "1").exit_code == 2


def test_a_number_to_allow_is_advised_when_everybody_was_compared_to_the_end_only() -> None:
    had: Any = {"tier": "pro", "standing": "good"}
    gone = Difference(customer_id="c1", user_id="ada", is_missing=True, changes={}, access_before=had, access_after=had)
    report = Comparison(checked=1, differences=[gone])
    assert "`tiergate sync --all --allow-ending 1` would end" in missing_words(report, is_part=False)
    broken_off = replace(report, stopped_because="Stripe does not answer")
    for words in (missing_words(report, is_part=True), missing_words(broken_off, is_part=False)):
        assert "1 of them, and there may be more" in words
        assert "--allow-ending" not in words
    assert missing_words(Comparison(), is_part=False) == ""
