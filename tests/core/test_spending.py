"""A cap holds for all that is billed in a period: at several prices, and at prices that go on from window to window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.account import MeteredItem, Subscription
from gateway.core.billing_facts import ItemFacts, SubscriptionFacts
from gateway.core.metered_items import find_metered, metered_items
from gateway.core.overage import PriceName
from gateway.core.policy import Policy
from gateway.core.spending import is_dearest_whole, most_charged, never_rises, units_at_all
from gateway.core.tariff import PriceStep, Tariff, charge_of
from gateway.policyfiles import load_policy

AMOUNTS = st.sampled_from(["0", "0.1", "1", "1.5", "7", "100"])
EVEN = st.builds(Tariff, currency=st.just("usd"), unit_amount=AMOUNTS, divide_by=st.sampled_from([1, 1, 10]))
STEPS = st.tuples(
    st.builds(PriceStep, up_to=st.integers(1, 30), unit_amount=AMOUNTS, flat_amount=AMOUNTS),
    st.builds(PriceStep, up_to=st.none(), unit_amount=AMOUNTS, flat_amount=AMOUNTS),
)
STEPPED = st.builds(Tariff, currency=st.just("usd"), steps=STEPS, mode=st.sampled_from(["graduated", "volume"]))
TARIFFS = EVEN | STEPPED
CENT, TENTH = Tariff(currency="usd", unit_amount="1"), Tariff(currency="usd", unit_amount="0.1")


@given(st.lists(TARIFFS, min_size=1, max_size=3), st.integers(0, 400), st.data())
def test_however_units_are_shared_among_prices_they_cost_no_more_than_the_amount(tariffs, amount, data):
    most = min(units_at_all(tariffs, amount, "usd"), 500)
    units = data.draw(st.integers(0, most))
    shares = []
    for _ in tariffs[1:]:
        shares.append(data.draw(st.integers(0, units - sum(shares))))
    shares.append(units - sum(shares))
    cost = sum(charge_of(tariff, share) for tariff, share in zip(tariffs, shares, strict=True) if share)
    assert cost <= amount
    assert cost <= most_charged(tariffs, units)


@given(TARIFFS, st.lists(st.integers(0, 60), max_size=4))
def test_a_price_that_never_rises_costs_no_more_over_many_windows_than_each_by_itself(tariff, windows):
    if never_rises(tariff):
        assert charge_of(tariff, sum(windows)) <= sum(
            charge_of(tariff, units) for units in windows if units
        ) or not sum(windows)


@pytest.mark.parametrize(
    ("tariff", "expected"),
    [
        (CENT, True),
        (Tariff(currency="usd", unit_amount="1", divide_by=10, rounds_up=False), False),
        (
            Tariff(currency="usd", steps=(PriceStep(up_to=9, unit_amount="0"), PriceStep(up_to=None, unit_amount="1"))),
            False,
        ),
        (
            Tariff(currency="usd", steps=(PriceStep(up_to=9, unit_amount="2"), PriceStep(up_to=None, unit_amount="1"))),
            True,
        ),
        (Tariff(currency="usd", steps=(PriceStep(up_to=9), PriceStep(up_to=None, flat_amount="5"))), False),
    ],
)
def test_what_may_rise_is_told_from_what_never_does(tariff, expected):
    assert never_rises(tariff) is expected


def test_one_price_buys_what_it_buys_and_an_unknown_one_nothing():
    assert units_at_all([CENT], 1000, "usd") == 1000
    assert units_at_all([TENTH, CENT], 1000, "usd") == 999
    assert units_at_all([TENTH, None], 1000, "usd") == 0
    assert units_at_all([TENTH], 1000, "eur") == 0


POLICY = """\
version: 1
default_tier: free
tiers:
  free: {limits: [10 requests per billing period]}
  pro:
    limits: [100 requests per billing period]
    overage: {stripe_meter: api_overage, price: lookup_key over, cap: none}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes:
  - match: "* /**"
"""


@pytest.fixture
def policy(tmp_path) -> Policy:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return load_policy(tmp_path)


def item(price_id, tariff=CENT, **changes):
    return ItemFacts(
        item_id=f"si_{price_id}",
        price_id=price_id,
        lookup_key=None,
        is_metered=True,
        tariff=tariff,
        **({"period_starts_at": 0, "period_ends_at": 100} | changes),
    )


def facts(*items):
    return SubscriptionFacts(subscription_id="sub_1", status="active", anchor_at=0, started_at=0, items=items)


def own(*items, **changes):
    return Subscription(
        subscription_id="sub_1",
        status="active",
        plan_id=None,
        period_starts_at=0,
        period_ends_at=100,
        metered=items,
        **({"anchor_at": 0} | changes),
    )


def test_an_item_that_is_gone_is_kept_for_a_month_and_billed_no_more(policy):
    before = own(MeteredItem(price_id="a", lookup_key="over", tariff=CENT, known_as="over"))
    [there, gone] = metered_items(facts(item("b")), policy, before, 50)
    assert (there.price_id, there.gone_at, gone.price_id, gone.gone_at) == ("b", None, "a", 50)
    assert find_metered([gone], PriceName(lookup_key="over")) is None
    assert metered_items(facts(), policy, own(gone), 60) == (gone,)
    assert metered_items(facts(), policy, own(gone), 50 + 32 * 86_400) == ()


def to_and_fro(policy, tariff, times):
    """What is recorded after so many changes between the price `a` and another one."""
    record = own()
    for now in range(times):
        there = item("a", tariff=tariff) if now % 2 == 0 else item("b", tariff=tariff)
        record = own(*metered_items(facts(there), policy, record, now))
    return [(one.price_id, one.gone_at) for one in record.metered]


@pytest.mark.parametrize("shape", ["even", "rising"])
def test_a_change_to_and_fro_counts_each_price_once(policy, shape):
    steps = (PriceStep(up_to=9, unit_amount="1"), PriceStep(up_to=None, unit_amount="2", flat_amount="5"))
    tariff = CENT if shape == "even" else Tariff(currency="usd", steps=steps)
    assert to_and_fro(policy, tariff, 9) == [("a", None), ("b", 8)]
    assert to_and_fro(policy, tariff, 10) == [("b", None), ("a", 9)]


@pytest.mark.parametrize(
    "tariff",
    [
        Tariff(currency="usd", steps=(PriceStep(up_to=9, unit_amount="2"), PriceStep(up_to=None, unit_amount="1"))),
        Tariff(currency="usd", steps=(PriceStep(up_to=None, unit_amount="1", flat_amount="5"),)),
        Tariff(currency="usd", unit_amount="0.5"),
        Tariff(currency="usd", unit_amount="10", divide_by=10),
    ],
    ids=["falls", "a flat amount each time", "rounded each time", "a package each time"],
)
def test_a_price_that_costs_more_each_time_that_it_comes_back_counts_each_time(policy, tariff):
    assert sorted(price_id for price_id, _ in to_and_fro(policy, tariff, 4)) == ["a", "a", "b", "b"]


@given(TARIFFS, st.integers(0, 40), st.integers(0, 40))
def test_a_price_that_is_dearest_whole_costs_no_more_in_parts(tariff, one, other):
    if is_dearest_whole(tariff):
        assert charge_of(tariff, one) + charge_of(tariff, other) <= charge_of(tariff, one + other)


def test_a_planned_change_belongs_to_the_window_that_begins_with_it(policy):
    before = own(MeteredItem(price_id="a", tariff=CENT), scheduled_at=40)
    [_, gone] = metered_items(facts(item("b")), policy, before, 50)
    assert gone.gone_at == 39


RISES = Tariff(currency="usd", steps=(PriceStep(up_to=9), PriceStep(up_to=None, unit_amount="1")))


@pytest.mark.parametrize(
    ("interval", "count", "is_read"), [("month", 1, True), ("month", 3, False), ("year", 1, False)]
)
def test_a_price_that_rises_over_more_than_a_window_counts_as_not_read(policy, interval, count, is_read):
    [rises] = metered_items(facts(item("a", RISES, interval=interval, interval_count=count)), policy, None, 50)
    assert (rises.tariff is not None) is is_read
    [even] = metered_items(facts(item("a", CENT, interval=interval, interval_count=count)), policy, None, 50)
    assert even.tariff == CENT
