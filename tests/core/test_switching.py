"""Which way a change of plan goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.switching import Rung, direction_of

PRO = Rung(price_id="price_pro", rank=1, interval="month", interval_count=1, amount=2900, currency="usd")
OTHER = replace(PRO, price_id="price_other")


@pytest.mark.parametrize(
    ("after", "direction"),
    [
        (PRO, "same"),
        (replace(PRO, amount=1), "same"),
        (replace(OTHER, rank=2, amount=1, interval="week"), "upgrade"),
        (replace(OTHER, rank=0, amount=9_900, interval="year"), "downgrade"),
        (replace(OTHER, interval="year", amount=100), "upgrade"),
        (replace(OTHER, interval="week", amount=9_900), "downgrade"),
        (replace(OTHER, interval_count=3), "upgrade"),
        (replace(OTHER, amount=3_000), "upgrade"),
        (replace(OTHER, amount=2_800), "downgrade"),
        (OTHER, "upgrade"),
    ],
    ids=[
        "the same price",
        "the same price read again",
        "a higher tier",
        "a lower tier",
        "a longer interval",
        "a shorter interval",
        "more intervals",
        "dearer",
        "cheaper",
        "alike in everything",
    ],
)
def test_a_change_goes_by_tier_then_interval_then_price(after: Rung, direction: str) -> None:
    assert direction_of(PRO, after) == direction


def test_whoever_has_a_price_that_grants_no_tier_goes_up_to_any_that_does() -> None:
    assert direction_of(replace(PRO, rank=-1), replace(OTHER, rank=0)) == "upgrade"


def test_what_cannot_be_told_is_an_upgrade() -> None:
    assert direction_of(replace(PRO, interval=None, amount=None), replace(OTHER, amount=None)) == "upgrade"


def test_between_one_amount_and_a_price_with_tiers_every_change_is_an_upgrade() -> None:
    assert direction_of(PRO, replace(OTHER, amount=None)) == "upgrade"
    assert direction_of(replace(PRO, amount=None), OTHER) == "upgrade"


def test_amounts_of_two_currencies_are_not_compared() -> None:
    cheaper_by_number = replace(OTHER, amount=2500, currency="eur")
    assert direction_of(PRO, cheaper_by_number) == "upgrade"
    assert direction_of(PRO, replace(cheaper_by_number, currency="usd")) == "downgrade"
