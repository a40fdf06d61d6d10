"""Seats and add-ons: what they make of a tier, and what they never do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.account import Subscription
from gateway.core.bought import of_seats, tier_as_bought
from gateway.core.limit_text import EXACT_BELOW, LimitInvalid, limit_words, parse_key_limit, parse_limit
from gateway.core.limits import Concurrency, Quota, Rate, limit_field
from gateway.core.offer import AddOn
from gateway.core.policy import Policy, Tier
from tests.core.test_access import POLICY, account

LIMITS = (
    "10 requests per seat per second burst 20",
    "1_000 requests per seat per billing period",
    "500 requests per day",
    "20 concurrent",
)


def limits(*sentences: str) -> tuple[Rate | Quota | Concurrency, ...]:
    return tuple(parse_limit(sentence, ()) for sentence in sentences)


TEAM = Tier(name="team", rank=1, title="Team", description="", limits=limits(*LIMITS), features=frozenset({"exports"}))
PACK = AddOn(
    name="pack",
    title="Pack",
    price_id=None,
    lookup_key="pack",
    limits=(Quota(name="period", meter="requests", units=250, window_s=None),),
)
SSO = AddOn(name="sso", title="SSO", price_id="price_sso", lookup_key=None, features=frozenset({"sso"}))
SOLD = replace(POLICY, add_ons={"pack": PACK, "sso": SSO})


def bought(seats: int = 1, *add_ons: tuple[str, int], tier: Tier = TEAM, policy: Policy = SOLD) -> Tier:
    subscription = account(seats=seats, add_ons=add_ons).subscription
    assert isinstance(subscription, Subscription)
    return tier_as_bought(tier, subscription, policy)


def words(tier: Tier) -> list[str]:
    return [limit_words(limit) for limit in tier.limits]


def test_seats_multiply_the_limits_per_seat_and_no_others() -> None:
    assert words(bought(7)) == [
        "70 requests per second burst 140",
        "7_000 requests per billing period",
        "500 requests per day",
        "20 concurrent",
    ]


def test_another_number_of_seats_keeps_every_counter() -> None:
    fields = [limit_field(limit) for limit in TEAM.limits]
    assert [limit_field(limit) for limit in bought(9, ("pack", 2)).limits] == fields


def test_an_add_on_adds_its_units_once_for_each_that_was_bought_and_not_for_each_seat() -> None:
    assert words(bought(3, ("pack", 2)))[1] == "3_500 requests per billing period"


def test_an_add_on_adds_its_features() -> None:
    assert bought(1, ("sso", 1)).features == {"exports", "sso"}


def test_an_add_on_that_policy_does_not_know_any_more_adds_nothing() -> None:
    assert bought(1, ("gone", 3)) == bought(1)


def test_an_add_on_never_makes_a_limit_that_the_tier_does_not_have() -> None:
    unlimited = replace(TEAM, limits=())
    assert bought(1, ("pack", 1), tier=unlimited) == unlimited


def test_no_seats_are_a_quota_of_nothing_and_the_pace_of_one() -> None:
    assert words(bought(0))[:2] == ["10 requests per second burst 20", "0 requests per billing period"]


def test_a_tier_without_limits_per_seat_and_add_ons_is_the_policys_own() -> None:
    flat = replace(TEAM, limits=limits("500 requests per day"))
    assert not flat.is_per_seat
    assert bought(50, tier=flat) is flat


ALWAYS = st.sampled_from([True])
PER_SEAT = st.one_of(
    st.builds(
        Rate,
        units=st.integers(1, 10**6),
        window_ms=st.sampled_from([1000, 60_000, 86_400_000]),
        burst=st.integers(1, 10**6),
        per_seat=ALWAYS,
    ),
    st.builds(
        Quota,
        units=st.integers(0, EXACT_BELOW - 1),
        window_s=st.none() | st.just(86_400),
        per_seat=ALWAYS,
    ),
)


@given(limit=PER_SEAT, seats=st.integers(0, 10**7))
def test_however_many_seats_there_are_they_are_counted_exactly_and_never_lower_a_limit(
    limit: Rate | Quota, seats: int
) -> None:
    more = of_seats(limit, seats)
    assert not isinstance(more, Concurrency)
    assert more.units < EXACT_BELOW
    assert not more.per_seat
    assert more.units >= (limit.units if seats else 0)
    if isinstance(more, Rate):
        assert more.burst * more.window_ms < EXACT_BELOW
        assert more.burst >= limit.burst
    elif limit.units * seats < EXACT_BELOW:
        assert more.units == limit.units * seats


@pytest.mark.parametrize(
    "sentence",
    [
        "1_000 requests per seat per billing period",
        "5 tokens per seat per day on renders",
        "2 requests per seat per second burst 10",
        "10 requests per seat per 5 minutes burst 10",
    ],
)
def test_a_limit_per_seat_is_read_and_written_alike(sentence: str) -> None:
    limit = parse_limit(sentence, ("tokens",))
    assert not isinstance(limit, Concurrency)
    assert limit.per_seat
    assert limit_words(limit) == sentence
    whole = parse_limit(sentence.replace(" per seat", ""), ("tokens",))
    assert limit_field(limit) == limit_field(whole)
    assert limit.name == whole.name


def test_a_key_has_no_seats() -> None:
    with pytest.raises(LimitInvalid, match="a key has no seats"):
        parse_key_limit("5 requests per seat per day", (), ())
    assert parse_key_limit("5 requests per day", (), ()) == parse_limit("5 per day", ())
