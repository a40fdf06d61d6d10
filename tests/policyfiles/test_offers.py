"""What a policy sells beside tiers: seats and add-ons. What it refuses is in bad/."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.limits import Quota
from gateway.core.offer import AddOn, CheckoutTerms, SeatRange, Trial
from gateway.policyfiles import load_policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEAM = """version: 1
default_tier: free
tiers:
  free:
    limits: [100 requests per billing period]
  team:
    limits: [1_000 requests per seat per billing period]
plans:
  team: {tier: team, price: lookup_key team, seats: SEATS, add_ons: [more-requests, sso]}
add_ons:
  more-requests: {price: lookup_key more, limits: [500 requests per billing period]}
  sso: {price: price_sso1, title: Single sign-on, features: [sso]}
routes:
  - match: GET /v1/who
    requires: sso
  - match: "* /v1/**"
"""


@pytest.mark.parametrize(
    ("text", "seats"),
    [
        ("5", SeatRange(least=5, most=5)),
        ("1 to 100", SeatRange(least=1, most=100)),
        ("2  to  1_000", SeatRange(least=2, most=1000)),
    ],
)
def test_seats_are_a_number_or_a_range(policies: Callable[..., Path], text: str, seats: SeatRange) -> None:
    policy = load_policy(policies(api=TEAM.replace("SEATS", text)))
    assert policy.plans["team"].seats == seats
    assert policy.tiers["team"].is_per_seat
    assert not policy.tiers["free"].is_per_seat


def test_add_ons_are_bought_with_the_plans_that_name_them(policies: Callable[..., Path]) -> None:
    policy = load_policy(policies(api=TEAM.replace("SEATS", "5")))
    assert policy.plans["team"].add_ons == ("more-requests", "sso")
    quota = Quota(name="period", meter="requests", units=500, window_s=None)
    assert policy.add_ons == {
        "more-requests": AddOn(
            name="more-requests", title="More requests", price_id=None, lookup_key="more", limits=(quota,)
        ),
        "sso": AddOn(
            name="sso", title="Single sign-on", price_id="price_sso1", lookup_key=None, features=frozenset({"sso"})
        ),
    }


def test_seats_and_add_ons_are_part_of_what_the_hash_is_of(policies: Callable[..., Path]) -> None:
    hashes = {
        load_policy(policies(api=text)).policy_hash
        for text in (
            TEAM.replace("SEATS", "5"),
            TEAM.replace("SEATS", "6"),
            TEAM.replace("SEATS", "5").replace("500 requests", "501 requests"),
            TEAM.replace("SEATS", "5").replace(", sso]", "]"),
        )
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("terms", "read"),
    [
        ("trial: 14d", CheckoutTerms(trial=Trial(days=14))),
        ("trial: 2 days", CheckoutTerms(trial=Trial(days=2))),
        ("trial: 48h", CheckoutTerms(trial=Trial(days=2))),
        ("trial: {for: 7d, without_card: pause}", CheckoutTerms(trial=Trial(days=7, without_card="pause"))),
        ("trial: {for: 7d, without_card: cancel}", CheckoutTerms(trial=Trial(days=7, without_card="cancel"))),
        ("billing_address: required", CheckoutTerms(billing_address=True)),
        ("promotion_codes: true", CheckoutTerms(promotion_codes=True)),
        ("promotion_codes: no", CheckoutTerms()),
        ("coupon: LAUNCH-2", CheckoutTerms(coupon="LAUNCH-2")),
        ("promotion_codes: no, coupon: LAUNCH", CheckoutTerms(coupon="LAUNCH")),
        ("tax: automatic", CheckoutTerms(tax=True)),
        ("title: Team", CheckoutTerms()),
    ],
)
def test_the_terms_of_a_checkout_are_the_plans(policies: Callable[..., Path], terms: str, read: CheckoutTerms) -> None:
    policy = load_policy(policies(api=TEAM.replace("seats: SEATS", terms)))
    assert policy.plans["team"].terms == read
