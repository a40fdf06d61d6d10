"""Amounts of money as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import MOST_MONEY, MoneyInvalid, money_text, parse_amount, parse_money


@given(st.integers(0, MOST_MONEY), st.sampled_from(["usd", "jpy", "kwd", "eur"]))
def test_what_is_written_is_read_back(amount, currency):
    assert parse_money(money_text(amount, currency)) == (amount, currency)


@pytest.mark.parametrize(
    ("text", "currency", "amount"), [("50", "usd", 5000), ("1_000.5", "usd", 100_050), ("7", "jpy", 7), ("0", "usd", 0)]
)
def test_an_amount_may_be_written_shorter(text, currency, amount):
    assert parse_amount(text, currency) == amount


@pytest.mark.parametrize("currency", ["ugx", "isk"])
def test_currencies_that_stripe_counts_in_hundredths_which_do_not_exist_are_read_as_it_writes_them(currency):
    """Source: https://docs.stripe.com/currencies#special-cases"""
    assert parse_amount("5", currency) == 500
    assert money_text(500, currency) == f"5.00 {currency.upper()}"


@pytest.mark.parametrize("text", ["", "-1", "1.234", "1,5", "1e3", "50 USD", "9" * 13, "999999999999"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(MoneyInvalid):
        parse_amount(text, "usd")


@pytest.mark.parametrize("text", ["50", "USD 50", "50 dollars", "0.5 JPY"])
def test_money_names_its_currency_behind_the_number(text):
    with pytest.raises(MoneyInvalid):
        parse_money(text)
