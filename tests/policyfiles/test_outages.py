"""`when_cache_fails`: what is said, and what holds where nothing is."""

from __future__ import annotations

import pytest

from gateway.core.outage_policy import DENY, OutageRule
from gateway.policyfiles import load_policy

POLICY = """\
version: 1
default_tier: free
tiers:
  free: {{limits: [9_000 per day]}}
  pro:
    limits: [9_000 per day]{rule}
plans: {{pro-monthly: {{tier: pro, price: lookup_key pro}}}}
routes: [{{match: /v1/**}}]
"""


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("deny", DENY),
        ("allow", OutageRule(mode="allow")),
        ("local 7", OutageRule(mode="local", units=7)),
        ("local  1_000_000_000", OutageRule(mode="local", units=1_000_000_000)),
        (None, OutageRule(mode="local", units=90)),
    ],
)
def test_a_tier_says_who_goes_on_and_a_sold_one_goes_on_for_a_while_by_itself(policies, words, rule):
    said = "" if words is None else f"\n    when_cache_fails: {words}"
    tiers = load_policy(policies(api=POLICY.format(rule=said))).tiers
    assert (tiers["free"].when_cache_fails, tiers["pro"].when_cache_fails) == (DENY, rule)


def test_what_is_said_is_part_of_the_policys_hash(policies):
    said = ["", "\n    when_cache_fails: local 90", "\n    when_cache_fails: local 91"]
    hashes = [load_policy(policies(api=POLICY.format(rule=rule))).policy_hash for rule in said]
    assert hashes[0] == hashes[1] != hashes[2]
