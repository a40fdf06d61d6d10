"""What is decided about a request before anything is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.account import Account, KeyRecord
from gateway.core.decision import plan_request
from gateway.core.errors import AccountSuspended, AddressNotAllowed, InvalidKey, RouteNotFound
from gateway.core.lifecycle import BLOCKED, LIFECYCLE_ROWS
from gateway.core.limit_text import parse_limit
from gateway.core.measure import Measure
from gateway.core.policy import Policy, Standing, Tier
from gateway.core.pricing import price_call
from gateway.core.route import Route, priced

DIGEST = "d" * 64
POLICY = Policy(
    policy_hash="0" * 12,
    default_tier="free",
    tiers={"free": Tier(name="free", rank=0, title="", description="", limits=(), features=frozenset())},
    plans={},
    meters={},
    routes=(),
    lifecycle=dict.fromkeys(LIFECYCLE_ROWS, Standing(keep_s=0, then="free", refusal="subscription-required"))
    | {BLOCKED: Standing(keep_s=0, then=None, refusal="account-suspended")},
)
ROUTE = Route(pattern="* /**", methods=None, segments=("**",))
KEY = KeyRecord(
    key_id="k1", name="office", last4="Qx7z", created_at=1, expires_at=100, allow=("203.0.113.0/24", "2001:db8::/32")
)


def decide(address: str | None, key: KeyRecord = KEY, *, now: float = 50, route: Route | None = ROUTE, **account):
    known = Account(customer_id="c", user_id="u", version=1, created_at=1, keys={DIGEST: key}, **account)
    return plan_request(
        policy=POLICY, account=known, digest=DIGEST, route=route, method="GET", path="/v1/x", now=now, address=address
    )


@pytest.mark.parametrize("address", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8:1::1"])
def test_a_key_with_a_list_is_for_the_addresses_on_it(address):
    assert decide(address).key == KEY


@pytest.mark.parametrize("address", ["203.0.114.1", "2001:db9::1", "unknown", None])
def test_a_key_with_a_list_is_refused_from_everywhere_else(address):
    with pytest.raises(AddressNotAllowed) as caught:
        decide(address)
    assert (address or "not known") in str(caught.value)


def test_a_refusal_tells_nothing_of_the_list():
    with pytest.raises(AddressNotAllowed) as caught:
        decide("198.51.100.1")
    assert not any(part in str(caught.value) for network in KEY.allow for part in network.split("/"))


def test_a_caller_who_leaves_the_address_out_is_nobody_on_a_list():
    known = Account(customer_id="c", user_id="u", version=1, created_at=1, keys={DIGEST: KEY})
    with pytest.raises(AddressNotAllowed):
        plan_request(policy=POLICY, account=known, digest=DIGEST, route=ROUTE, method="GET", path="/", now=50)


def test_a_key_without_a_list_may_come_from_anywhere():
    assert decide(None, replace(KEY, allow=())).key.allow == ()


def test_the_address_is_asked_for_right_after_the_key_and_before_all_else():
    with pytest.raises(InvalidKey):
        decide("198.51.100.1", now=100)
    with pytest.raises(AddressNotAllowed):
        decide("198.51.100.1", route=None, blocked=True)
    with pytest.raises(AccountSuspended):
        decide("203.0.113.7", route=None, blocked=True)
    with pytest.raises(RouteNotFound):
        decide("203.0.113.7", route=None)


def test_what_a_call_goes_on_to_cost_takes_no_place_among_those_in_progress():
    limits = tuple(parse_limit(text, {}) for text in ("3 concurrent", "5 per second"))
    begun = decide(None, replace(KEY, allow=(), limits=limits))
    goes_on = decide(None, replace(KEY, allow=(), limits=limits), route=priced(ROUTE, (("requests", 1),)))
    assert begun.live == (f"live@{KEY.key_id}",)
    assert goes_on.live == ()
    assert [limit.name for limit in goes_on.limits] == ["key-second"]


def test_a_call_that_says_itself_that_it_costs_nothing_takes_one_of_rates_and_nothing_of_quotas():
    limits = (parse_limit("2 tokens per minute", ("tokens",)), parse_limit("9 tokens per hour", ("tokens",)))
    measured = replace(ROUTE, measures=(Measure(meter="tokens", source="header", name="x-n", at_most=9, default=0),))
    key = replace(KEY, limits=limits, allow=())

    def costs(route):
        return [limit.claim.cost for limit in decide(None, key, route=route).limits]

    assert costs(price_call(measured, [], None, b"")) == [1]
    assert costs(price_call(measured, [(b"x-n", b"2")], None, b"")) == [2, 2]
    assert costs(replace(ROUTE, cost=(("tokens", 0),))) == [0]
