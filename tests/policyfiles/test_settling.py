from __future__ import annotations

import pytest

from gateway.core.settle import MOST_UNITS, Settle
from gateway.policyfiles import load_policy

TEXT = """\
version: 1
default_tier: free
meters:
  tokens: {settle: response header X-Tokens at most 4_000}
  kb: {settle: response bytes per 1KB}
  words: {}
tiers: {free: {limits: unlimited}}
routes:
"""
GENERAL = Settle(meter="tokens", source="response header", header=b"x-tokens", at_most=4000)
KB = Settle(meter="kb", source="response bytes", per_bytes=1000, at_most=MOST_UNITS)
KEPT = Settle(meter="words", source="response header", header=b"x-words", keeps_header=True, at_most=7)
CASES = {
    "a meter that settles, where the route reserves in it": ("cost: {tokens: 9}", (GENERAL,)),
    "one that the route does not touch": ("cost: {words: 9}", ()),
    "one that the route makes free": ("cost: {tokens: 0, kb: 1}", (KB,)),
    "a narrower bound": (
        "cost: {tokens: 9}\n    settle: {tokens: at most 50}",
        (Settle(meter="tokens", source="response header", header=b"x-tokens", at_most=50),),
    ),
    "another source": (
        "cost: {tokens: 9}\n    settle: {tokens: response bytes per 4 KiB at most 1_000}",
        (Settle(meter="tokens", source="response bytes", per_bytes=4096, at_most=1000),),
    ),
    "not on this route": ("cost: {tokens: 9, kb: 1}\n    settle: {tokens: off}", (KB,)),
    "a meter that only this route settles": (
        "cost: {words: 2}\n    settle: {words: response header X-Words at most 7 kept}",
        (KEPT,),
    ),
    "requests, which every route reserves": (
        "settle: {requests: response header X-Calls}",
        (Settle(meter="requests", source="response header", header=b"x-calls"),),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_route_settles_what_it_reserves_by_its_own_word_or_the_meters(policies, case):
    text, expected = CASES[case]
    policy = load_policy(policies(api=f'{TEXT}  - match: "* /**"\n    {text}\n'))
    assert policy.routes[0].settle == expected


def test_how_a_call_is_settled_is_part_of_the_policys_hash(policies):
    text = f'{TEXT}  - match: "* /**"\n    cost: {{tokens: 9}}\n'
    before = load_policy(policies(api=text)).policy_hash
    assert load_policy(policies(api=text.replace("4_000", "4_001"))).policy_hash != before
