"""Which counts an edit starts again, in whichever tier: another meter, window or group of routes. Which plans go."""

from __future__ import annotations

import pytest

from gateway.core.policy_edit import gone_plans, restarted_counts
from gateway.policyfiles import load_policy

POLICY = """\
version: 1
default_tier: free
meters: {tokens: {}}
tiers:
  free:
    limits:
      - 10 per second burst 20
      - 1_000 requests per billing period
      - 50_000 tokens per day
      - 100 requests per day on renders
      - 3 concurrent
  pro: {limits: [9_000 requests per billing period]}
routes:
  - {match: POST /v1/render, group: renders}
  - {match: "* /v1/**", cost: {requests: 1, tokens: 5}}
"""

RESTARTS = {
    "the kind of a window": ("1_000 requests per billing period", "1_000 requests per day", [("window", "requests")]),
    "the length of a window": ("50_000 tokens per day", "50_000 tokens per hour", [("window", "tokens")]),
    "the name of a meter": ("tokens", "words", [("meter", "words")]),
    "the name of a group": ("renders", "drawings", [("group", "requests")]),
}

KEEPS = {
    "another number": ("1_000 requests", "7 requests"),
    "another pace": ("10 per second burst 20", "600 per minute burst 20"),
    "fewer calls at once": ("3 concurrent", "1 concurrent"),
    "another name of a tier": ("  pro:", "  gold:"),
    "a limit less": ("      - 50_000 tokens per day\n", ""),
    "a limit more": ("      - 3 concurrent\n", "      - 3 concurrent\n      - 500 requests per hour\n"),
    "another order": (
        "      - 1_000 requests per billing period\n      - 50_000 tokens per day\n",
        "      - 50_000 tokens per day\n      - 1_000 requests per billing period\n",
    ),
    "another meter that was there before": ("50_000 tokens per day", "60 requests per day"),
    "a group for all calls": ("100 requests per day on renders", "100 requests per day"),
}


@pytest.fixture
def compiled(tmp_path):
    def compile_text(text):
        (tmp_path / "policy.yaml").write_text(text)
        return load_policy(tmp_path)

    return compile_text


@pytest.mark.parametrize("what", RESTARTS)
def test_what_names_the_counter_starts_it_again(compiled, what):
    old, new, restarts = RESTARTS[what]
    found = restarted_counts(compiled(POLICY), compiled(POLICY.replace(old, new)))
    assert [(one.because, one.after.meter) for one in found] == restarts
    assert found[0].tier == "free"
    assert found[0].before != found[0].after


@pytest.mark.parametrize("what", KEEPS)
def test_all_else_keeps_counts(compiled, what):
    old, new = KEEPS[what]
    assert old in POLICY
    assert restarted_counts(compiled(POLICY), compiled(POLICY.replace(old, new))) == ()


def test_two_limits_that_change_their_windows_are_both_said_and_each_once(compiled):
    old = "      - 1_000 requests per billing period\n      - 50_000 tokens per day\n"
    new = "      - 1_000 requests per hour\n      - 50_000 tokens per billing period\n"
    found = restarted_counts(compiled(POLICY), compiled(POLICY.replace(old, new)))
    assert [(one.before.name, one.after.name) for one in found] == [
        ("period", "hour"),
        ("tokens-day", "tokens-period"),
    ]


MOVED = """\
version: 1
default_tier: free
tiers:
  free: {limits: [10 per day]}
  lite: {limits: [20 per hour]}
  pro: {limits: [1_000 per day on renders, 9_000 per billing period]}
plans:
  monthly: {tier: pro, price: lookup_key monthly}
lifecycle:
  past_due: {keep: 7d, then: free}
routes:
  - {match: POST /v1/render, group: renders}
  - {match: "* /v1/**"}
"""
RENAMED = MOVED.replace("pro:", "business:").replace("tier: pro", "tier: business")
MOVES = {
    "a renamed tier whose plan goes along": (RENAMED, "pro", "business"),
    "and the plan is renamed too": (RENAMED.replace("  monthly:", "  by-month:"), "pro", "business"),
    "and the plan has another price": (RENAMED.replace("lookup_key monthly", "price_2"), "pro", "business"),
    "a plan that grants a tier that was there": (
        MOVED.replace("  lite: {limits: [20 per hour]}", "  lite: {limits: [20 per day on images]}").replace(
            "tier: pro", "tier: lite"
        ),
        "pro",
        "lite",
    ),
}
FALLS = {
    "another default tier": (MOVED.replace("default_tier: free", "default_tier: lite"), "free", "lite"),
    "another tier to fall back on": (MOVED.replace("then: free", "then: lite"), "free", "lite"),
}


@pytest.mark.parametrize("what", MOVES)
def test_a_count_is_followed_by_whoever_has_the_plan(compiled, what):
    text, left, entered = MOVES[what]
    after = text.replace("renders", "images")
    [found] = [one for one in restarted_counts(compiled(MOVED), compiled(after)) if one.tier == entered]
    assert (found.tier_before, found.tier, found.because) == (left, entered, "group")
    assert (found.before.group, found.after.group) == ("renders", "images")


@pytest.mark.parametrize("what", FALLS)
def test_a_count_is_followed_by_whoever_has_no_plan_that_is_paid_for(compiled, what):
    text, left, entered = FALLS[what]
    [found] = restarted_counts(compiled(MOVED), compiled(text))
    assert (found.tier_before, found.tier, found.because) == (left, entered, "window")


@pytest.mark.parametrize("text", [MOVED, RENAMED], ids=["the same", "a renamed tier"])
def test_who_goes_along_with_all_limits_keeps_all_counts(compiled, text):
    assert restarted_counts(compiled(MOVED), compiled(text)) == ()


def test_a_state_that_keeps_its_tier_or_refuses_leads_from_no_tier_to_another(compiled):
    for before, after in (("then: refuse", "then: lite"), ("keep", "{keep: 7d, then: lite}")):
        old = MOVED.replace("default_tier: free\n", "").replace(
            "{keep: 7d, then: free}", before if before == "keep" else f"{{keep: 7d, {before}}}"
        )
        new = old.replace(before, after)
        assert old != new
        assert restarted_counts(compiled(old), compiled(new)) == ()


def test_tiers_that_become_one_are_each_compared_with_it(compiled):
    two = MOVED.replace("plans:\n", "plans:\n  small: {tier: lite, price: lookup_key small}\n")
    one = two.replace("tier: lite", "tier: pro").replace("  lite: {limits: [20 per hour]}\n", "")
    found = restarted_counts(compiled(two), compiled(one.replace("renders", "images")))
    assert [(each.tier_before, each.because) for each in found] == [("lite", "window"), ("pro", "group")]


PLANS = """\
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
  pro-yearly: {tier: pro, price: price_yearly}
"""

EDITS = {
    "the same": (PLANS, []),
    "another id": (PLANS.replace("pro-monthly:", "pro:"), [("pro-monthly", "pro")]),
    "another id of one with a price id": (PLANS.replace("pro-yearly:", "year:"), [("pro-yearly", "year")]),
    "another id and another price": (
        PLANS.replace("pro-monthly:", "pro:").replace("pro_monthly", "pro"),
        [("pro-monthly", None)],
    ),
    "another price": (PLANS.replace("price_yearly", "price_2"), []),
    "one plan less": (PLANS.replace("  pro-yearly: {tier: pro, price: price_yearly}\n", ""), [("pro-yearly", None)]),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_plan_goes_with_its_id_and_is_found_again_by_its_price(compiled, what):
    text, expected = EDITS[what]
    gone = gone_plans(compiled(POLICY + PLANS), compiled(POLICY + text))
    assert [(one.before.plan_id, one.after and one.after.plan_id) for one in gone] == expected
