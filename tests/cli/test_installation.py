"""A ledger is used with the Stripe account and the pepper that it was made with, or on purpose with others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.core.account import Subscription
from gateway.ledger import Ledger
from tests.steps import found

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
LIVE = {
    "STRIPE_SECRET_KEY": "sk_live_abcdefghijklmnopqrstuvwx",
    "TIERGATE_PUBLIC_URL": "https://api.example.com",
}


def go_live(environment: dict[str, str]) -> None:
    del environment["TIERGATE_STRIPE_URL"]
    environment |= LIVE


def findings(run: Run, subject: str, grade: str = "fail") -> list[dict[str, Any]]:
    listed = json.loads(run("doctor", "--json").stdout)["findings"]
    return [one for one in listed if (one["subject"], one["grade"]) == (subject, grade)]


@pytest.fixture
def paying(migrated: Run, environment: dict[str, str]) -> Run:
    """A ledger with `ada`, who pays."""
    customer_id = json.loads(migrated("customers", "create", "--user-id", "ada", "--json").stdout)["customer_id"]

    async def subscribe() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        await ledger.bind_stripe_customer(customer_id, "cus_1")
        subscription = Subscription(
            subscription_id="sub_1",
            status="active",
            plan_id="pro-monthly",
            period_starts_at=1_000,
            period_ends_at=4_102_444_800,
            anchor_at=1_000,
        )
        fence = await ledger.take_fence(customer_id)
        await ledger.apply_subscription(
            customer_id, fence, found(subscription), now=1_000, actor="stripe", because="test"
        )
        await ledger.aclose()

    asyncio.run(subscribe())
    return migrated


def facts(environment: dict[str, str]) -> dict[str, str]:
    """What the ledger knows of its installation."""

    async def load() -> dict[str, str]:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        try:
            return await ledger.load_facts()
        finally:
            await ledger.aclose()

    return asyncio.run(load())


def shown(run: Run) -> dict[str, Any]:
    portrait: dict[str, Any] = json.loads(run("customers", "show", "--user-id", "ada", "--json").stdout)
    return portrait


def test_the_same_settings_are_accepted_however_often(migrated: Run) -> None:
    assert migrated("migrate").exit_code == 0
    assert findings(migrated, "ledger") == []


def test_a_gateway_does_not_start_on_a_ledger_of_another_stripe_mode(
    migrated: Run, serve: Callable[..., Any], environment: dict[str, str]
) -> None:
    assert migrated("migrate").exit_code == 0
    go_live(environment)
    served = serve()
    assert served.process.wait(60) == 1
    assert "made in Stripe's sandbox mode, and STRIPE_SECRET_KEY is of live mode" in served.log()
    assert "tiergate ledger accept stripe" in served.log()
    assert "Traceback" not in served.log()


def test_a_gateway_does_not_start_under_another_pepper(
    migrated: Run, serve: Callable[..., Any], environment: dict[str, str]
) -> None:
    assert migrated("migrate").exit_code == 0
    environment["TIERGATE_KEY_PEPPER"] = "another-abcdefghijklmnopqrstuvwxyz0123456789"
    served = serve()
    assert served.process.wait(60) == 1
    assert "TIERGATE_KEY_PEPPER is not the one" in served.log()
    assert "another-abc" not in served.log()


def test_the_doctor_says_what_does_not_belong_to_the_ledger_and_how_to_go_on(
    migrated: Run, environment: dict[str, str]
) -> None:
    go_live(environment)
    environment["TIERGATE_KEY_PEPPER"] = "another-abcdefghijklmnopqrstuvwxyz0123456789"
    stripe, pepper = findings(migrated, "ledger")
    assert "`tiergate ledger accept stripe`" in stripe["fix"]
    assert "`tiergate ledger accept pepper`" in pepper["fix"]


def test_accepting_another_stripe_account_leaves_customers_without_what_is_not_there(
    paying: Run, environment: dict[str, str]
) -> None:
    assert shown(paying)["tier"] == "pro"
    go_live(environment)
    result = paying("ledger", "accept", "stripe", "--yes")
    assert result.exit_code == 0, result.output
    assert "1 customers start there" in result.stdout
    after = shown(paying)
    assert (after["tier"], after["subscription"], after["stripe_customer_id"]) == ("free", None, None)
    assert not after["in_cache"]  # so that whoever serves next tells the cache
    assert paying("migrate").exit_code == 0


def test_accepting_another_pepper_lets_a_gateway_start(migrated: Run, environment: dict[str, str]) -> None:
    environment["TIERGATE_KEY_PEPPER"] = "another-abcdefghijklmnopqrstuvwxyz0123456789"
    assert migrated("migrate").exit_code == 1
    assert migrated("ledger", "accept", "pepper", "--yes").exit_code == 0
    assert migrated("migrate").exit_code == 0


def test_nothing_is_accepted_unless_it_is_meant(paying: Run, environment: dict[str, str]) -> None:
    go_live(environment)
    assert paying("ledger", "accept", "stripe").exit_code == 1
    assert shown(paying)["subscription"] is not None


def test_the_first_stripe_account_seen_is_recorded_and_another_one_is_a_failure(
    migrated: Run, sandbox: Any, environment: dict[str, str]
) -> None:
    assert sandbox.url
    assert findings(migrated, "stripe") == []

    account_id = facts(environment)["stripe-account"]
    assert account_id.startswith("acct_")

    async def pretend() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        await ledger.replace_facts({"stripe-account": "acct_ofanother"}, now=1_000, actor="test")
        await ledger.aclose()

    asyncio.run(pretend())
    [finding] = findings(migrated, "stripe")
    assert "made with the Stripe account acct_ofanother" in finding["what"]
    refused = migrated("customers", "import", "--from-stripe")
    assert refused.exit_code == 1
    assert "acct_ofanother" in refused.stderr
    assert "`tiergate ledger accept stripe`" in refused.stderr
    assert migrated("ledger", "accept", "stripe", "--yes").exit_code == 0
    assert facts(environment)["stripe-account"] == account_id, "a gateway under the old key finds nothing to learn"
    assert findings(migrated, "stripe") == []


def test_the_account_that_the_ledger_belongs_to_is_not_accepted_anew(
    migrated: Run, sandbox: Any, environment: dict[str, str]
) -> None:
    assert sandbox.url
    assert findings(migrated, "stripe") == []  # it is learnt
    before = facts(environment)
    refused = migrated("ledger", "accept", "stripe", "--yes")
    assert refused.exit_code == 1
    assert "Nothing was changed" in refused.stderr
    assert "tiergate sync --all --end-missing" in refused.stderr
    assert facts(environment) == before


def test_no_other_account_is_accepted_while_stripe_does_not_say_whose_key_it_is(paying: Run) -> None:
    refused = paying("ledger", "accept", "stripe", "--yes")
    assert refused.exit_code == 1
    assert "Nothing was changed" in refused.stderr
    assert shown(paying)["tier"] == "pro"


def test_the_pepper_itself_is_not_in_the_ledger(migrated: Run, environment: dict[str, str]) -> None:
    assert migrated("migrate").exit_code == 0
    for file in Path(environment["TIERGATE_DATA_DIR"]).glob("ledger.sqlite3*"):
        assert environment["TIERGATE_KEY_PEPPER"].encode() not in file.read_bytes()
