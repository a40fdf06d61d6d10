"""What a plan's checkout page offers and asks for: trial, discounts, tax, billing address.

| key | means |
|---|---|
| `trial: 14d` | so many days are free for who has not had a trial before; a card is asked for |
| `trial: {for: 14d, without_card: pause}` | none is asked for; a trial that ends without one is paused, or `cancel` |
| `billing_address: required` | the whole billing address is asked for |
| `promotion_codes: true` | buyers may type a promotion code |
| `coupon: LAUNCH` | who buys for the first time has that coupon of Stripe's; not together with `promotion_codes` |
| `tax: automatic` | Stripe works the tax out, from the address that is asked for |
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from gateway.core.limit_text import LimitInvalid, parse_duration_s
from gateway.core.offer import MOST_TRIAL_DAYS, CheckoutTerms, Trial
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.quantities import read_flag
from gateway.policyfiles.shapes import as_fields, as_text, shown

if TYPE_CHECKING:
    from collections.abc import Mapping as Lookup

    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

TERM_KEYS = ("trial", "billing_address", "promotion_codes", "coupon", "tax")
_COUPON = re.compile(r"[A-Za-z0-9_-]{1,200}")
_DAY_S = 86_400
_EXAMPLE = "write '14d' or '{for: 14d, without_card: pause}'"


def read_terms(fields: Lookup[str, Node], what: str, faults: FaultLog) -> CheckoutTerms:
    """The terms among a plan's fields; those that cannot be read are left out, with a fault."""
    codes = "promotion_codes" in fields and read_flag(fields["promotion_codes"], f"'promotion_codes' of {what}", faults)
    coupon = _read_coupon(fields["coupon"], what, faults) if "coupon" in fields else None
    if codes and coupon is not None:
        message = f"{what} has 'coupon' and 'promotion_codes': Stripe takes one of them at a checkout; keep one"
        faults.add(fields["coupon"].place, message)
    return CheckoutTerms(
        trial=_read_trial(fields["trial"], what, faults) if "trial" in fields else None,
        billing_address="billing_address" in fields
        and _read_word(fields["billing_address"], f"'billing_address' of {what}", "required", faults),
        promotion_codes=bool(codes),
        coupon=coupon,
        tax="tax" in fields and _read_word(fields["tax"], f"'tax' of {what}", "automatic", faults),
    )


def _read_trial(node: Node, what: str, faults: FaultLog) -> Trial | None:
    if not isinstance(node, Mapping):
        days = _read_days(node, what, faults)
        return None if days is None else Trial(days=days)
    fields = as_fields(node, f"the trial of {what}", faults, known=("for", "without_card"))
    if "for" not in fields:
        faults.add(node.place, f"the trial of {what} has no 'for': {_EXAMPLE}")
        return None
    days = _read_days(fields["for"], what, faults)
    without_card = _read_without_card(fields["without_card"], what, faults) if "without_card" in fields else None
    return None if days is None else Trial(days=days, without_card=without_card)


def _read_days(node: Node, what: str, faults: FaultLog) -> int | None:
    """Stripe counts a trial in whole days."""
    text = as_text(node, f"the trial of {what}", faults)
    if text is None:
        return None
    try:
        seconds = parse_duration_s(text.value)
    except LimitInvalid:
        faults.add(text.place, f"the trial of {what} is a number of days, not {shown(text.value)}: {_EXAMPLE}")
        return None
    days, rest = divmod(seconds, _DAY_S)
    if rest or not 1 <= days <= MOST_TRIAL_DAYS:
        faults.add(text.place, f"the trial of {what} is a number of whole days from 1d to {MOST_TRIAL_DAYS}d")
        return None
    return days


def _read_coupon(node: Node, what: str, faults: FaultLog) -> str | None:
    """The id of a coupon; whether Stripe has it, `tiergate doctor` looks."""
    text = as_text(node, f"the coupon of {what}", faults)
    if text is None:
        return None
    if _COUPON.fullmatch(text.value) is None:
        message = f"the coupon of {what} is the id of a coupon at Stripe, like 'LAUNCH', not {shown(text.value)}"
        faults.add(text.place, message)
        return None
    return text.value


def _read_without_card(node: Node, what: str, faults: FaultLog) -> Literal["pause", "cancel"] | None:
    text = as_text(node, f"'without_card' of {what}", faults)
    if text is None:
        return None
    if text.value == "pause":
        return "pause"
    if text.value == "cancel":
        return "cancel"
    message = f"'without_card' of {what} is 'pause' or 'cancel', not {shown(text.value)}"
    faults.add_unknown(text.place, message, text.value, ("pause", "cancel"))
    return None


def _read_word(node: Node, what: str, word: str, faults: FaultLog) -> bool:
    """A key that has one word to say, or is left out."""
    if isinstance(node, Text) and node.value == word:
        return True
    said = shown(node.value) if isinstance(node, Text) else "something else"
    faults.add(node.place, f"{what} is {word!r}, or left out, not {said}", suggestion=word)
    return False
