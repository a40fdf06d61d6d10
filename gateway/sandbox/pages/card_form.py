"""What a payer types: number, expiry, security code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request

from gateway.sandbox.cards import Card, CardRefused, read_number

_MOST_FIELDS = 20
_CENTURY = 2000
_MONTHS = 12
_SHORT_YEAR = 100
_CODE_LENGTHS = (3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCard:
    """A card that may be tried."""

    card: Card
    exp_month: int
    exp_year: int


async def read_fields(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The form's fields, without surrounding space."""
    body = await request.body()
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    return {name: value.strip() for name, value in pairs}


def read_card(fields: Mapping[str, str], now: float) -> TypedCard:
    """The card in `card_number`, `expiry` (MM / YY) and `cvc`; the last two may be left out by a program.

    Raises:
        CardRefused: with a message for the payer.
    """
    card = read_number(fields.get("card_number", ""))
    month, year = _read_expiry(fields.get("expiry") or "12 / 34")
    today = datetime.fromtimestamp(now, UTC)
    if (year, month) < (today.year, today.month):
        raise CardRefused("Your card has expired.", code="expired_card")
    code = fields.get("cvc") or "123"
    if not (code.isascii() and code.isdigit() and len(code) in _CODE_LENGTHS):
        raise CardRefused("Your card's security code is invalid.", code="invalid_cvc")
    return TypedCard(card=card, exp_month=month, exp_year=year)


def _read_expiry(text: str) -> tuple[int, int]:
    month, _, year = text.replace(" ", "").partition("/")
    if not (month.isdecimal() and year.isdecimal() and 1 <= int(month) <= _MONTHS):
        raise CardRefused("Your card's expiration date is invalid.", code="invalid_expiry_month")
    return int(month), int(year) + (_CENTURY if int(year) < _SHORT_YEAR else 0)
