"""Whose money is behind an invoice that a credit paid. Pure; amounts are in the currency's smallest unit.

A customer's balance at Stripe is used up before anything is charged. What stands on it comes from two sides: Stripe
gives back what is left of a period that is given up, and says of which invoice; and the seller gives, in many ways.
What is given back is still the money of the invoice that it was paid for: whoever gets that money back too has paid for
nothing. A gift was never anybody's money. Where both stand on the balance Stripe does not say which of them an invoice
used; here the customer's own is used first, the oldest of it before the rest, so nothing lasts longer than the money.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NOTHING: frozenset[str] = frozenset()
_Credits: TypeAlias = deque[tuple[frozenset[str], int]]
"""What is left of what was given back, oldest first: whose money it is, and how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidInvoice:
    """An invoice that Stripe calls paid, by whatever."""

    invoice_id: str
    finalized_at: int
    """When the balance was looked at. Unix seconds."""
    total: int
    """What it comes to, the balance aside; negative if it gives back more than it asks for."""
    starting_balance: int
    """The customer's when the invoice was made final; negative: a credit."""
    amount_paid: int
    """What was paid for it beside the balance."""
    gives_back: tuple[tuple[str, int], ...] = ()
    """Of which invoices it gives back what was not used, and how much of each."""


def money_behind(invoices: Iterable[PaidInvoice]) -> Mapping[str, frozenset[str]]:
    """Of each invoice, those by whose payments it was paid: itself, or those whose money came back as its credit.

    Args:
        invoices: All that a customer has paid; those of the same second in the order in which they were made.

    Returns:
        By the invoice's id; empty for one that asked for nothing, or was paid with a gift.
    """
    behind: dict[str, frozenset[str]] = {}
    credits_left: _Credits = deque()
    for one in sorted(invoices, key=lambda each: each.finalized_at):
        there = sum(worth for _, worth in credits_left)
        _use(credits_left, there - max(-one.starting_balance, 0))  # the seller took it off the balance
        own = [(behind[paid], worth) for paid, worth in one.gives_back if behind.get(paid)]
        credits_left.extend(own)
        used = _use(credits_left, one.total + sum(worth for _, worth in own))
        behind[one.invoice_id] = frozenset({one.invoice_id}) if one.amount_paid > 0 else used
    return behind


def _use(credits_left: _Credits, amount: int) -> frozenset[str]:
    """Take an amount off, or as much of it as there is. Whose money that was."""
    used = _NOTHING
    while amount > 0 and credits_left:
        whose, worth = credits_left.popleft()
        used |= whose
        if worth > amount:
            credits_left.appendleft((whose, worth - amount))
        amount -= worth
    return used
