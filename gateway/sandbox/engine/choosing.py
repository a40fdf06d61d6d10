"""What a payer may still choose on a checkout page before it is paid: quantities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.sandbox.engine.checkout import checkout_of
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
        fields: Of the page's form: `quantity_<line id>`. What is not there stays.

    Raises:
        ChoiceRefused: Not within what the seller allows.
    """
    session = checkout_of(world, session_id)
    lines = tuple(_line(line, fields.get(f"quantity_{line.id}")) for line in session.lines)
    chosen = replace(session, lines=lines)
    if chosen != session:
        put_checkout(world, chosen)
    return chosen


def _line(line: CheckoutLine, text: str | None) -> CheckoutLine:
    if text is None or line.range is None:
        return line
    least, most = line.range
    quantity = int(text) if text.isascii() and text.isdecimal() else -1
    if not least <= quantity <= most:
        raise ChoiceRefused(f"Choose a quantity between {least} and {most}.")
    return replace(line, quantity=quantity)
