"""Amounts of money as people write them. They are kept as whole numbers of the currency's smallest unit. Pure."""

from __future__ import annotations

import re

_WITHOUT_MINOR_UNIT = frozenset(
    [
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    ]
)
_THREE_DIGITS = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
"""Source: https://docs.stripe.com/currencies#minor-units. Amounts of ISK and UGX are hundredths at Stripe (its special
cases), although nobody pays in any."""
_AMOUNT = re.compile(r"([0-9]{1,12}(?:_[0-9]{3})*)(?:\.([0-9]{1,3}))?")
_CURRENCY = re.compile(r"[a-z]{3}")

MOST_MONEY = 99_999_999_999
"""The largest amount that is taken; Stripe's own invoices end well below."""


class MoneyInvalid(ValueError):
    """Not an amount of money. `str()` says why."""


def minor_digits(currency: str) -> int:
    """How many digits of a currency (three lower-case letters) stand behind the point."""
    return 0 if currency in _WITHOUT_MINOR_UNIT else 3 if currency in _THREE_DIGITS else 2


def money_text(amount: int, currency: str) -> str:
    """`1900, "usd"` -> `19.00 USD`, by the currency's number of digits."""
    digits = minor_digits(currency)
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), 10**digits)
    return f"{sign}{whole}{f'.{rest:0{digits}d}' if digits else ''} {currency.upper()}"


def parse_amount(text: str, currency: str) -> int:
    """The smallest units of `50`, `49.90` or `1_000.00` of a currency.

    Raises:
        MoneyInvalid: No such number, more digits than the currency has, or above `MOST_MONEY`.
    """
    match = _AMOUNT.fullmatch(text.strip())
    digits = minor_digits(currency)
    if match is None:
        raise MoneyInvalid("an amount is written like 50 or 49.90")
    rest = match[2] or ""
    if len(rest) > digits:
        raise MoneyInvalid(f"{currency.upper()} has {digits or 'no'} digits behind the point")
    amount = int(match[1].replace("_", "") + rest.ljust(digits, "0"))
    if amount > MOST_MONEY:
        raise MoneyInvalid(f"an amount is at most {money_text(MOST_MONEY, currency)}")
    return amount


def parse_money(text: str) -> tuple[int, str]:
    """Smallest units and currency of `50.00 USD`.

    Raises:
        MoneyInvalid: It is not written so.
    """
    number, _, currency = " ".join(text.split()).lower().partition(" ")
    if _CURRENCY.fullmatch(currency) is None:
        raise MoneyInvalid("an amount of money is written like '50.00 USD'")
    return parse_amount(number, currency), currency
