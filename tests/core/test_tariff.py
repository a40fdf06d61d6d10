"""What an amount of money buys, against the plainest count there is: unit by unit."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tariff import MOST_UNITS, PriceStep, Tariff, charge_of, units_within

AMOUNTS = st.sampled_from(["0", "0.01", "0.0333", "0.5", "1", "1.999999999999", "7", "12.5"])
FLATS = st.sampled_from(["0", "0.4", "5", "20"])


@st.composite
def tariffs(draw):
    if draw(st.booleans()):
        return Tariff(
            currency="usd",
            unit_amount=draw(AMOUNTS),
            divide_by=draw(st.sampled_from([1, 1, 3, 10])),
            rounds_up=draw(st.booleans()),
        )
    ends = sorted(draw(st.sets(st.integers(1, 40), max_size=3)))
    steps = [PriceStep(up_to=end, unit_amount=draw(AMOUNTS), flat_amount=draw(FLATS)) for end in (*ends, None)]
    return Tariff(currency="usd", steps=tuple(steps), mode=draw(st.sampled_from(["graduated", "volume"])))


def plain_charge(tariff: Tariff, units: int) -> int:
    """As the documentation of Stripe's prices tells it, each line of the invoice rounded up."""
    if tariff.unit_amount is not None:
        packages = Fraction(units, tariff.divide_by)
        return ceil((ceil(packages) if tariff.rounds_up else int(packages)) * Fraction(tariff.unit_amount))
    ends = [step.up_to or 10**9 for step in tariff.steps]
    if tariff.mode == "volume":
        step = next(step for step, end in zip(tariff.steps, ends, strict=True) if units <= end)
        return ceil(units * Fraction(step.unit_amount)) + ceil(Fraction(step.flat_amount))
    total, low = 0, 0
    for step, end in zip(tariff.steps, ends, strict=True):
        if low and units <= low:
            break
        total += ceil((min(units, end) - low) * Fraction(step.unit_amount)) + ceil(Fraction(step.flat_amount))
        low = end
    return total


@given(tariffs(), st.integers(0, 120))
def test_a_charge_is_what_the_price_says_with_every_line_rounded_up(tariff, units):
    assert charge_of(tariff, units) == plain_charge(tariff, units)


@given(tariffs(), st.integers(1, 200))
def test_an_amount_buys_the_most_units_of_which_none_before_costs_more(tariff, amount):
    most = 0
    while most < 400 and plain_charge(tariff, most + 1) <= amount:
        most += 1
    found = units_within(tariff, amount)
    if most == 400:
        assert found >= 400
    else:
        assert found == most


@given(tariffs(), st.integers(1, 10**9))
def test_no_number_of_units_up_to_the_answer_costs_more_than_the_amount(tariff, amount):
    units = units_within(tariff, amount)
    for some in {units, units // 2, units // 3, max(0, units - 1)}:
        if some:
            assert charge_of(tariff, some) <= amount


@given(tariffs())
def test_an_amount_of_0_buys_nothing_not_even_what_is_free(tariff):
    assert units_within(tariff, 0) == 0


def test_a_volume_price_that_falls_is_stopped_before_the_number_that_costs_too_much():
    tariff = Tariff(
        currency="usd",
        mode="volume",
        steps=(PriceStep(up_to=10, unit_amount="10"), PriceStep(up_to=None, unit_amount="1")),
    )
    assert charge_of(tariff, 10) == 100
    assert charge_of(tariff, 20) == 20
    assert units_within(tariff, 50) == 5, "not 50, although 50 units cost 50: 6 to 10 units cost more"
    assert units_within(tariff, 100) == 100


@pytest.mark.parametrize("amount", ["0.000000000001", "0.1"])
def test_decimals_are_exact(amount):
    tariff = Tariff(currency="usd", unit_amount=amount)
    assert units_within(tariff, 3) == min(MOST_UNITS, int(3 / Fraction(amount)))


def test_what_is_free_has_no_end_but_that_of_counting():
    assert units_within(Tariff(currency="usd", unit_amount="0"), 1) == MOST_UNITS


def test_steps_that_end_sell_nothing_beyond():
    assert units_within(Tariff(currency="usd", steps=(PriceStep(up_to=7),)), 100) == 7
    assert units_within(Tariff(currency="usd"), 100) == 0
