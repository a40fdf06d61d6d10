from __future__ import annotations

import pytest

from gateway.core.measure import Measure
from gateway.core.settle import Settle
from gateway.policyfiles import load_policy

TEXT = """\
version: 1
default_tier: free
meters: {tokens: {settle: response header X-Tokens}, kb: {}}
tiers: {free: {limits: unlimited}}
routes:
  - match: "* /**"
    cost: """
TOKENS = Settle(meter="tokens", source="response header", header=b"x-tokens")
CASES = {
    "a header": (
        "{kb: request header X-Units at most 1_000}",
        {"requests": 1},
        Measure(meter="kb", source="header", name="x-units", at_most=1000),
    ),
    "a header that may be left out": (
        "{kb: request header X-Units at most 10 default 0}",
        {"requests": 1},
        Measure(meter="kb", source="header", name="x-units", at_most=10, default=0),
    ),
    "bytes": (
        "{requests: 3, kb: request bytes per 4 KiB at most 10}",
        {"requests": 3},
        Measure(meter="kb", source="bytes", per_bytes=4096, at_most=10),
    ),
    "the length of a list": (
        "{kb: request json order.items.length at most 10 default 1}",
        {"requests": 1},
        Measure(meter="kb", source="json", name="order.items", counts_items=True, at_most=10, default=1),
    ),
    "a number that is called length": (
        "{kb: request json length at most 10}",
        {"requests": 1},
        Measure(meter="kb", source="json", name="length", at_most=10),
    ),
    "requests, instead of one": (
        "request json n at most 10",
        {},
        Measure(meter="requests", source="json", name="n", at_most=10),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_route_says_where_its_cost_is_read(policies, case):
    text, cost, measure = CASES[case]
    policy = load_policy(policies(api=f"{TEXT}{text}\n"))
    assert policy.has_measures
    assert (dict(policy.routes[0].cost), policy.routes[0].measures) == (cost, (measure,))


def test_what_the_caller_says_may_be_the_reservation(policies):
    policy = load_policy(policies(api=f"{TEXT}{{tokens: request json max_tokens at most 4_000}}\n"))
    assert policy.routes[0].settle == (TOKENS,)


def test_where_a_cost_is_read_is_part_of_the_policys_hash(policies):
    text = f"{TEXT}request header X-Units at most 10\n"
    before = load_policy(policies(api=text)).policy_hash
    assert load_policy(policies(api=text.replace("most 10", "most 11"))).policy_hash != before
    assert not load_policy(policies(api=f"{TEXT}10\n")).has_measures
