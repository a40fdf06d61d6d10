from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.core.account import Subscription, TierGrant
from gateway.ledger import Ledger, TierGrantRow, UsageTotal
from tests.steps import found

pytestmark = pytest.mark.slow

Run = Callable[..., Result]
MONTH_S = 30 * 86_400


def create(run: Run, user_id: str) -> str:
    result = run("customers", "create", "--user-id", user_id, "--json")
    assert result.exit_code == 0, result.output
    return str(json.loads(result.stdout)["customer_id"])


def shown(run: Run, user_id: str) -> dict[str, Any]:
    result = run("customers", "show", "--user-id", user_id, "--json")
    assert result.exit_code == 0, result.output
    portrait: dict[str, Any] = json.loads(result.stdout)
    return portrait


def in_ledger(environment: dict[str, str], work: Callable[[Ledger], Any]) -> None:
    async def do() -> None:
        ledger = await Ledger.open(f"sqlite:///{environment['TIERGATE_DATA_DIR']}/ledger.sqlite3")
        try:
            await work(ledger)
        finally:
            await ledger.aclose()

    asyncio.run(do())


def test_a_new_customer_has_what_the_default_tier_grants(migrated: Run) -> None:
    create(migrated, "ada")
    portrait = shown(migrated, "ada")
    assert (portrait["tier"], portrait["standing"], portrait["subscription"]) == ("free", "lapsed", None)
    [period] = [limit for limit in portrait["limits"] if limit["name"] == "period"]
    assert (period["used"], period["remaining"]) == (0, 100)


def test_a_user_id_is_taken_once(migrated: Run) -> None:
    create(migrated, "ada")
    result = migrated("customers", "create", "--user-id", "ada")
    assert result.exit_code == 1
    assert "already is a customer; nothing was changed" in result.output


@pytest.mark.parametrize("user_id", ["", "  ", "a\x1b[2Jb", "x" * 201], ids=["empty", "blank", "control", "too long"])
def test_a_user_id_is_printable_and_not_too_long(migrated: Run, user_id: str) -> None:
    result = migrated("customers", "create", "--user-id", user_id)
    assert result.exit_code == 2
    assert "1 to 200 printable characters" in result.output


def test_a_user_id_that_the_gateway_gives_itself_is_refused(migrated: Run) -> None:
    result = migrated("customers", "create", "--user-id", "signup:x")
    assert result.exit_code == 2
    assert "given by this gateway only" in result.output


def test_customers_are_listed_a_page_at_a_time(migrated: Run) -> None:
    made = sorted(create(migrated, f"user {number}") for number in range(5))
    seen: list[str] = []
    after = ""
    while after is not None:
        page = json.loads(migrated("customers", "list", "--limit", "2", "--after", after, "--json").stdout)
        seen += [row["customer_id"] for row in page["customers"]]
        after = page["next_after"]
    assert seen == made


def test_a_blocked_customer_is_suspended_until_it_is_unblocked(migrated: Run) -> None:
    create(migrated, "ada")
    assert migrated("customers", "block", "--user-id", "ada", "--because", "scrapes").exit_code == 0
    portrait = shown(migrated, "ada")
    assert (portrait["standing"], portrait["tier"], portrait["refusal"]) == ("suspended", None, "account-suspended")
    assert migrated("customers", "unblock", "--user-id", "ada").exit_code == 0
    assert shown(migrated, "ada")["tier"] == "free"
    assert [entry["because"] for entry in shown(migrated, "ada")["audit"]][1] == "scrapes"


def test_a_block_holds_although_stripe_cannot_be_asked_for_open_pages_and_the_command_says_so(
    migrated: Run, environment: dict[str, str]
) -> None:
    customer_id = create(migrated, "ada")
    in_ledger(environment, lambda ledger: ledger.bind_stripe_customer(customer_id, "cus_ada"))
    blocked = migrated("customers", "block", "--user-id", "ada", "--because", "scrapes")
    assert blocked.exit_code == 0
    assert "Stripe did not say whether a checkout page is open" in " ".join(blocked.output.split())
    again = migrated("customers", "block", "--user-id", "ada", "--because", "scrapes", "--json")
    assert json.loads(again.stdout)["checkouts_closed"] is None
    assert shown(migrated, "ada")["standing"] == "suspended"


def test_blocking_needs_a_reason(migrated: Run) -> None:
    create(migrated, "ada")
    assert migrated("customers", "block", "--user-id", "ada").exit_code == 2


def test_a_paying_customer_is_shown_with_plan_period_and_use(migrated: Run, environment: dict[str, str]) -> None:
    customer_id = create(migrated, "ada")
    now = int(shown(migrated, "ada")["created_at"])

    async def subscribe(ledger: Ledger) -> None:
        fence = await ledger.take_fence(customer_id)
        subscription = Subscription(
            subscription_id="sub_1",
            status="active",
            plan_id="pro-monthly",
            period_starts_at=now,
            period_ends_at=now + MONTH_S,
            anchor_at=now,
        )
        await ledger.apply_subscription(
            customer_id, fence, found(subscription), now=now, actor="stripe", because="test"
        )
        total = UsageTotal(customer_id=customer_id, field="q:requests:period", window_starts_at=now, used=40, seq=1)
        await ledger.settle([total])

    in_ledger(environment, subscribe)
    portrait = shown(migrated, "ada")
    assert (portrait["tier"], portrait["plan_id"], portrait["standing"]) == ("pro", "pro-monthly", "good")
    [period] = [limit for limit in portrait["limits"] if limit["name"] == "period"]
    assert (period["used"], period["remaining"], period["window_ends_at"]) == (40, 960, now + MONTH_S)
    words = migrated("customers", "show", "--user-id", "ada").stdout
    assert "sub_1, active" in words
    assert "1_000 requests per billing period" in words


def test_use_is_counted_by_the_rule_that_customers_are_shown(migrated: Run, environment: dict[str, str]) -> None:
    """A counter whose window began later than ours (its billing anchor moved) still counts."""
    customer_id = create(migrated, "ada")
    now = int(shown(migrated, "ada")["created_at"])
    total = UsageTotal(customer_id=customer_id, field="q:requests:period", window_starts_at=now + 5, used=40, seq=1)
    in_ledger(environment, lambda ledger: ledger.settle([total]))
    [period] = [limit for limit in shown(migrated, "ada")["limits"] if limit["name"] == "period"]
    assert (period["used"], period["remaining"]) == (40, 60)


def test_use_is_read_from_the_cache_of_a_running_gateway(migrated: Run, cache: str) -> None:
    assert cache
    create(migrated, "ada")
    assert shown(migrated, "ada")["usage_from"] == "ledger"
    migrated("keys", "issue", "--user-id", "ada")
    portrait = shown(migrated, "ada")
    assert (portrait["usage_from"], portrait["in_cache"]) == ("cache", True)


def test_a_broken_policy_still_lets_one_look_at_a_customer(migrated: Run, policies: Path) -> None:
    create(migrated, "ada")
    (policies / "tiergate.yaml").write_text("tiers: {")
    result = migrated("customers", "show", "--user-id", "ada")
    assert result.exit_code == 0
    assert "unknown: the policy is not valid" in result.stdout


def test_a_user_id_cannot_steer_the_terminal(migrated: Run, environment: dict[str, str]) -> None:
    async def smuggle(ledger: Ledger) -> None:
        await ledger.create_customer(customer_id="AAAAAAAAAAAA", user_id="a\x1b[2J[red]b", now=1, actor="test")

    in_ledger(environment, smuggle)
    listed = migrated("customers", "list").stdout
    assert "\x1b" not in listed
    assert "a?[2J[red]b" in listed


def test_a_tier_is_granted_by_hand_shown_and_taken_back(migrated: Run) -> None:
    create(migrated, "ada")
    order = ("customers", "grant", "--user-id", "ada", "--tier", "pro", "--because", "pays by invoice")
    granted = migrated(*order, "--until", "2127-01-01")
    assert granted.exit_code == 0, granted.output
    assert "has the tier 'pro' until 2127-01-01 00:00:00 UTC." in granted.stdout
    portrait = shown(migrated, "ada")
    assert (portrait["tier"], portrait["standing"], portrait["tier_grant"]["state"]) == ("pro", "good", "in-force")
    assert "pro until 2127-01-01 00:00:00 UTC, in force" in migrated("customers", "show", "--user-id", "ada").stdout
    assert "nothing was changed" in migrated(*order, "--until", "2127-01-01").stderr
    replaced = migrated(*order, "--for", "30d")
    assert "It replaces the tier 'pro' until 2127-01-01" in replaced.stderr
    assert migrated("customers", "ungrant", "--user-id", "ada").exit_code == 0
    portrait = shown(migrated, "ada")
    assert (portrait["tier"], portrait["tier_grant"]) == ("free", None)
    assert [row["action"] for row in portrait["audit"]] == [
        "tier-ungranted",
        "tier-granted",
        "tier-granted",
        "customer-created",
    ]
    again = migrated("customers", "ungrant", "--user-id", "ada")
    assert (again.exit_code, "No tier was granted" in again.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tier", "prro", "--for", "30d"), "Did you mean 'pro'?"),
        (("--tier", "pro", "--until", "2001-01-01"), "ends in the future"),
        (("--tier", "pro"), "either --until DATE or --for 30d"),
        (("--tier", "pro", "--for", "30d", "--until", "2127-01-01"), "either --until DATE or --for 30d"),
    ],
    ids=["no such tier", "past", "no end", "two ends"],
)
def test_a_tier_that_cannot_be_granted_is_refused_in_words(
    migrated: Run, arguments: tuple[str, ...], words: str
) -> None:
    create(migrated, "ada")
    refused = migrated("customers", "grant", "--user-id", "ada", "--because", "a present", *arguments)
    assert refused.exit_code != 0
    assert words in refused.output
    assert shown(migrated, "ada")["tier_grant"] is None


def test_a_granted_tier_that_the_policy_has_no_more_is_told(migrated: Run, environment: dict[str, str]) -> None:
    create(migrated, "ada")

    async def grant(ledger: Ledger) -> None:
        customer = await ledger.find_customer_by_user("ada")
        assert customer is not None
        tier = TierGrant(tier="legacy", granted_at=1, ends_at=4_000_000_000)
        row = TierGrantRow(customer_id=customer.customer_id, grant=tier, reason="long ago")
        await ledger.grant_tier(row, now=1, actor="test")

    in_ledger(environment, grant)
    portrait = shown(migrated, "ada")
    assert (portrait["tier"], portrait["tier_grant"]["state"]) == ("free", "unknown-tier")
    text = migrated("customers", "show", "--user-id", "ada").stdout
    assert "the policy has no tier of that name" in " ".join(text.split())
