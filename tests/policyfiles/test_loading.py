from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.core.lifecycle import LIFECYCLE_ROWS
from gateway.core.limits import Quota, Rate
from gateway.core.policy import Standing
from gateway.policyfiles import PolicyInvalid, load_policy
from gateway.policyfiles.sources import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(__file__).parents[2] / "policies"


def refusal(directory: Path) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(directory)
    return [str(fault).removeprefix(str(directory)).removeprefix("/") for fault in caught.value.faults]


def test_a_policy_is_compiled_with_names_ranks_and_limits(policies: Callable[..., Path], good: str) -> None:
    policy = load_policy(policies(api=good))
    assert [(tier.name, tier.rank) for tier in policy.tiers.values()] == [("free", 0), ("pro", 1)]
    assert policy.tiers["free"].limits == (
        Rate(name="second", meter="requests", units=5, window_ms=1000, burst=10),
        Quota(name="period", meter="requests", units=100, window_s=None),
    )
    assert policy.plans["pro-monthly"].lookup_key == "pro_monthly"
    assert policy.plans["pro-monthly"].price_id is None
    assert policy.plans["pro-monthly"].title == "Pro monthly"
    assert set(policy.meters) == {"requests", "tokens"}
    assert [route.pattern for route in policy.routes] == ["POST /v1/render/**", "* /v1/**"]
    assert dict(policy.routes[0].cost) == {"requests": 10}
    assert dict(policy.routes[1].cost) == {"requests": 1}


def test_the_shipped_policy_sells_three_tiers() -> None:
    policy = load_policy(SHIPPED)
    assert list(policy.tiers) == ["free", "pro", "enterprise"]
    assert set(policy.plans) == {"pro-monthly", "pro-yearly", "enterprise-monthly"}
    assert {plan.tier for plan in policy.plans.values()} == {"pro", "enterprise"}
    assert policy.default_tier == "free"


@pytest.mark.parametrize(
    ("method", "path", "pattern"),
    [
        ("GET", "/v1/echo", "GET,POST /v1/echo"),
        ("HEAD", "/v1/slow", "GET /v1/slow"),
        ("GET", "/v1/stream", "GET /v1/stream"),
        ("DELETE", "/v1/error", "* /v1/error"),
        ("GET", "/v1/large", "GET /v1/large"),
        ("POST", "/v1/render/a/b", "* /v1/render/**"),
        ("PUT", "/v1/echo", "* /v1/**"),
        ("GET", "/v2/echo", None),
    ],
)
def test_the_shipped_routes_cover_the_sample_api(method: str, path: str, pattern: str | None) -> None:
    route = load_policy(SHIPPED).find_route(method, path)
    assert (None if route is None else route.pattern) == pattern


def test_files_are_merged_in_the_order_of_their_names(policies: Callable[..., Path]) -> None:
    directory = policies(
        b="version: 1\ntiers: {pro: {limits: unlimited}}\nroutes: [{match: /v2}]\n",
        a="version: 1\ndefault_tier: free\ntiers: {free: {limits: unlimited}}\nroutes: [{match: /v1}]\n",
    )
    policy = load_policy(directory)
    assert list(policy.tiers) == ["free", "pro"]
    assert [route.pattern for route in policy.routes] == ["* /v1", "* /v2"]


def test_a_name_defined_in_two_files_is_refused_with_both_places(policies: Callable[..., Path], good: str) -> None:
    directory = policies(
        a=good, b="version: 1\ndefault_tier: pro\nplans:\n  pro-monthly: {tier: pro, price: price_1}\n"
    )
    assert refusal(directory) == [
        f"b.yaml:2: 'default_tier' is defined twice: first at {directory}/a.yaml:2",
        f"b.yaml:4: 'pro-monthly' in plans is defined twice: first at {directory}/a.yaml:12",
    ]


def test_all_faults_of_all_files_are_reported_at_once(policies: Callable[..., Path], good: str) -> None:
    directory = policies(
        a=good.replace("5 per second", "5 per secnd").replace("cost: 10", "cost: ten"),
        b="version: 1\nplans:\n  x: {tier: pro, price: free}\n",
        c="version: 1\nroutes: [\n",
    )
    found = refusal(directory)
    assert [line.split(": ")[0] for line in found] == ["a.yaml:7", "a.yaml:15", "b.yaml:3", "c.yaml:3"]


def test_names_are_not_doubted_while_a_file_cannot_be_read(policies: Callable[..., Path], good: str) -> None:
    directory = policies(a=good.replace("tier: pro,", "tier: gold,"), b="version: 1\ntiers: {gold: [\n")
    assert len(refusal(directory)) == 1


def test_a_fault_reads_as_place_message_and_nearest_name(policies: Callable[..., Path], good: str) -> None:
    directory = policies(api=good.replace("tier: pro,", "tier: por,"))
    message = "plan 'pro-monthly' grants a tier that is not there: 'por'; did you mean 'pro'?"
    assert refusal(directory) == [f"api.yaml:12: {message}"]


def test_a_fault_carries_the_line_it_is_about(policies: Callable[..., Path], good: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(policies(api=good.replace("cost: 10", "cost: ten")))
    assert caught.value.faults[0].source_line == "    cost: ten"


def test_a_file_too_large_is_refused_unread(policies: Callable[..., Path], good: str) -> None:
    assert refusal(policies(api=good + "#" * MAX_FILE_BYTES)) == [
        "api.yaml: is larger than 256 KB: split it into several files"
    ]


def test_a_yml_file_is_not_ignored_silently(policies: Callable[..., Path], good: str) -> None:
    directory = policies(api=good)
    (directory / "more.yml").write_text(good)
    assert refusal(directory) == ["more.yml: only *.yaml is read: rename it; did you mean 'more.yaml'?"]


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(policies: Callable[..., Path], good: str) -> None:
    directory = policies(api=good)
    os.mkfifo(directory / "pipe.yaml")
    (directory / "folder.yaml").mkdir()
    assert refusal(directory) == [
        "folder.yaml: is not a regular file",
        "pipe.yaml: is not a regular file",
    ]


def test_hidden_and_other_files_are_skipped(policies: Callable[..., Path], good: str) -> None:
    directory = policies(api=good)
    (directory / ".#api.yaml").write_text("lock")
    (directory / "api.yaml~").write_text("backup")
    (directory / "README.md").write_text("notes")
    assert load_policy(directory).default_tier == "free"


def test_a_missing_and_an_empty_directory_say_so(tmp_path: Path) -> None:
    assert refusal(tmp_path) == [": holds no *.yaml file"]
    assert refusal(tmp_path / "nowhere") == [": there is no such directory"]


def test_a_byte_order_mark_and_windows_line_ends_are_read(policies: Callable[..., Path], good: str) -> None:
    directory = policies()
    (directory / "api.yaml").write_bytes(b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode())
    assert load_policy(directory).default_tier == "free"


def test_words_that_yaml_turns_into_values_stay_words(policies: Callable[..., Path], good: str) -> None:
    policy = load_policy(policies(api=good.replace("exports", "on").replace("pro_monthly", "1e3")))
    assert policy.tiers["pro"].features == {"on"}
    assert policy.plans["pro-monthly"].lookup_key == "1e3"


def test_a_cost_in_another_meter_still_counts_the_request(policies: Callable[..., Path], good: str) -> None:
    policy = load_policy(policies(api=good.replace("cost: 10", "cost: {tokens: 500}")))
    assert dict(policy.routes[0].cost) == {"requests": 1, "tokens": 500}


def test_a_route_may_cost_nothing(policies: Callable[..., Path], good: str) -> None:
    policy = load_policy(policies(api=good.replace("cost: 10", "cost: 0")))
    assert dict(policy.routes[0].cost) == {"requests": 0}


def test_a_cost_above_the_limits_of_a_tier_without_the_feature_is_fine(
    policies: Callable[..., Path], good: str
) -> None:
    assert load_policy(policies(api=good.replace("cost: 10", "cost: 100"))).routes[0].cost == (("requests", 100),)


def test_every_state_has_a_line_in_the_compiled_lifecycle(policies: Callable[..., Path], good: str) -> None:
    assert tuple(load_policy(policies(api=good)).lifecycle) == LIFECYCLE_ROWS


def test_without_a_default_tier_a_fallback_is_a_refusal(policies: Callable[..., Path], good: str) -> None:
    text = good.replace("default_tier: free\n", "").replace("lifecycle:\n  past_due: {keep: 7d, then: free}\n", "")
    lifecycle = load_policy(policies(api=text)).lifecycle
    assert lifecycle["none"] == Standing(keep_s=0, then=None, refusal="subscription-required")
    assert lifecycle["past_due"] == Standing(keep_s=7 * 86_400, then=None, refusal="payment-required")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("unpaid: free", Standing(keep_s=0, then="free", refusal="payment-required")),
        ("unpaid: {keep: 2d}", Standing(keep_s=172_800, then=None, refusal="payment-required")),
        ("canceled: {keep: 3d, then: free}", Standing(keep_s=259_200, then="free", refusal="subscription-required")),
        ("disputed: flag", Standing(keep_s=None, then=None, refusal="account-suspended")),
        ("disputed: refuse", Standing(keep_s=0, then=None, refusal="account-suspended")),
        ("disputed: {keep: 3d}", Standing(keep_s=259_200, then=None, refusal="account-suspended")),
        ("dispute_lost: keep", Standing(keep_s=None, then=None, refusal="account-suspended")),
        ("dispute_lost: free", Standing(keep_s=0, then="free", refusal="account-suspended")),
        ("dispute_lost: {keep: 3d}", Standing(keep_s=259_200, then=None, refusal="account-suspended")),
        ("refunded: refuse", Standing(keep_s=0, then=None, refusal="payment-required")),
        ("refunded: {keep: 3d}", Standing(keep_s=259_200, then="free", refusal="payment-required")),
        ("blocked: keep", Standing(keep_s=None, then=None, refusal="account-suspended")),
        ("blocked: flag", Standing(keep_s=None, then=None, refusal="account-suspended")),
        ("blocked: free", Standing(keep_s=0, then="free", refusal="account-suspended")),
        ("blocked: refuse", Standing(keep_s=0, then=None, refusal="account-suspended")),
        ("first_payment_pending: keep", Standing(keep_s=None, then=None, refusal="payment-required")),
        ("pause_collection_void: free", Standing(keep_s=0, then="free", refusal="payment-required")),
        ("pending_update: refuse", Standing(keep_s=0, then=None, refusal="payment-required")),
        ("customer_deleted: refuse", Standing(keep_s=0, then=None, refusal="subscription-required")),
        ("unpaid: keep", Standing(keep_s=None, then=None, refusal="payment-required")),
        ("paused: {then: free}", Standing(keep_s=0, then="free", refusal="payment-required")),
        ("canceled: refuse", Standing(keep_s=0, then=None, refusal="subscription-required")),
        ("past_due: {keep: 12h, then: refuse}", Standing(keep_s=43_200, then=None, refusal="payment-required")),
        ("past_due: {keep: 3 days}", Standing(keep_s=259_200, then="free", refusal="payment-required")),
        ("trialing: {keep: always}", Standing(keep_s=None, then=None, refusal="subscription-required")),
        ("none: refuse", Standing(keep_s=0, then=None, refusal="subscription-required")),
    ],
)
def test_a_lifecycle_line_changes_what_a_state_does(
    policies: Callable[..., Path], good: str, line: str, expected: Standing
) -> None:
    text = good.replace("past_due: {keep: 7d, then: free}", line)
    assert load_policy(policies(api=text)).lifecycle[line.partition(":")[0]] == expected


@pytest.mark.parametrize("word", ["refuse", "allow"])
def test_what_an_old_debt_does_is_one_word(policies: Callable[..., Path], good: str, word: str) -> None:
    assert load_policy(policies(api=good)).debts == "refuse"
    assert load_policy(policies(api=f"{good}debts: {word}\n")).debts == word


def test_the_hash_ignores_comments_layout_and_file_names(policies: Callable[..., Path], good: str) -> None:
    directory = policies(api=good)
    before = load_policy(directory).policy_hash
    (directory / "api.yaml").rename(directory / "renamed.yaml")
    (directory / "renamed.yaml").write_text("# a comment\n" + good.replace("1_000", "1000"))
    assert load_policy(directory).policy_hash == before
    assert len(before) == 12


@pytest.mark.parametrize("change", [("1_000", "1_001"), ("cost: 10", "cost: 9"), ("7d", "8d"), ("exports", "files")])
def test_the_hash_follows_the_meaning(policies: Callable[..., Path], good: str, change: tuple[str, str]) -> None:
    before = load_policy(policies(api=good)).policy_hash
    assert load_policy(policies(api=good.replace(*change))).policy_hash != before


def test_the_hash_is_the_same_in_every_process() -> None:
    script = (
        "import sys; from pathlib import Path; from gateway.policyfiles import load_policy;"
        "print(load_policy(Path(sys.argv[1])).policy_hash)"
    )
    hashes = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script, str(SHIPPED)],
            env=environment,
            capture_output=True,
            check=True,
            cwd=SHIPPED.parent,
        )
        hashes.add(done.stdout.strip())
    assert hashes == {load_policy(SHIPPED).policy_hash.encode()}


def test_more_routes_than_can_be_compared_are_refused(policies: Callable[..., Path], good: str) -> None:
    lines = "".join(f"  - match: GET /v2/{number}\n" for number in range(2_001))
    directory = policies(api=good, more=f"version: 1\nroutes:\n{lines}")
    (fault,) = refusal(directory)
    assert fault.endswith("more than 2_000 routes: join some with '*' or '**'")


def test_a_document_that_says_nothing_is_empty(policies: Callable[..., Path]) -> None:
    assert refusal(policies(api="--- ~\n")) == ["api.yaml: is empty: it should begin with 'version: 1'"]


def test_an_unlimited_tier_is_said_in_words(policies: Callable[..., Path], good: str) -> None:
    text = good.replace("[50 per second burst 100, 1_000 requests per billing period]", "unlimited")
    assert load_policy(policies(api=text)).tiers["pro"].limits == ()


def test_a_route_may_require_a_feature_that_only_stripe_grants(policies: Callable[..., Path], good: str) -> None:
    text = good.replace("requires: exports", "requires: sso") + "entitlements: [sso]\n"
    policy = load_policy(policies(api=text))
    assert policy.entitlements == {"sso"}
    assert load_policy(policies(api=good)).entitlements == frozenset()
