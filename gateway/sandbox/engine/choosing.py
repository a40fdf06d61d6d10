"""What a payer may still choose on a checkout page before it is paid: quantities, and a promotion code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.sandbox.engine.checkout import checkout_of
from gateway.sandbox.engine.discounts import find_code
from gateway.sandbox.engine.saving import put_checkout
from gateway.sandbox.records import CheckoutLine, CheckoutSession
from gateway.sandbox.world import World


class ChoiceRefused(Exception):
    """Nothing was chosen; the message is for the payer."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def choose(world: World, session_id: str, fields: Mapping[str, str]) -> CheckoutSession:
    """The session as the payer wants it.

    Args:
        world: Holds it.
        session_id: An open one.
        fields: Of the page's form: `quantity_<line id>` and `promotion_code`. What is not there stays; an empty
            code takes the discount away again.

    Raises:
        ChoiceRefused: Not within what the seller allows.
    """
    session = checkout_of(world, session_id)
    lines = tuple(_line(line, fields.get(f"quantity_{line.id}")) for line in session.lines)
    chosen = _with_code(world, replace(session, lines=lines), fields.get("promotion_code"))
    if chosen != session:
        put_checkout(world, chosen)
    return chosen


def _with_code(world: World, session: CheckoutSession, text: str | None) -> CheckoutSession:
    if text is None or not session.allow_promotion_codes:
        return session
    if not text:
        return replace(session, coupon_id=None, promotion_code_id=None)
    code = find_code(world, text, session.customer_id)
    if code is None:
        raise ChoiceRefused("This code is invalid.")
    return replace(session, coupon_id=code.coupon_id, promotion_code_id=code.id)


def _line(line: CheckoutLine, text: str | None) -> CheckoutLine:
    if text is None or line.range is None:
        return line
    least, most = line.range
    quantity = int(text) if text.isascii() and text.isdecimal() else -1
    if not least <= quantity <= most:
        raise ChoiceRefused(f"Choose a quantity between {least} and {most}.")
    return replace(line, quantity=quantity)
