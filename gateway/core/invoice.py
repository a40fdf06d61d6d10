"""An invoice as the payment provider has it: what each line asks for, and what stands beside the lines. Pure.

Amounts are whole numbers of the currency's smallest unit, instants Unix seconds. The law of a whole invoice:
its lines, less discounts and credits, with tax and shipping, are its total; `unexplained` is what is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

LineKind: TypeAlias = Literal["usage", "fixed", "proration", "item"]
"""`usage`: what a meter counted. `fixed`: a plan, seats or an add-on, for a period ahead. `proration`: a part of one.
`item`: anything that was put on the invoice by hand."""
FINAL = frozenset({"open", "paid", "uncollectible"})
"""Statuses of an invoice whose amounts do not change any more and are asked for, or were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One amount of an invoice."""

    line_id: str
    kind: LineKind
    description: str
    amount: int
    quantity: int | None
    unit_amount: str | None
    """For one unit, in the smallest unit of the currency: an exact decimal such as `0.1`."""
    price_id: str | None
    stripe_meter: str | None
    """`event_name` of the Billing Meter, of a `usage` line."""
    starts_at: int
    ends_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """One invoice with all of its lines."""

    invoice_id: str
    number: str | None
    """None: a draft has none yet."""
    status: str
    """`draft`, `open`, `paid`, `uncollectible` or `void`."""
    currency: str
    lines: tuple[InvoiceLine, ...]
    total: int
    created_at: int
    period_ends_at: int
    """The end of the time that it settles: of a renewal, where the period that is over ends."""
    closes: bool = False
    """Whether it was made because a period is over. It settles that period, and not the one that begins with it."""
    finalized_at: int | None = None
    finalizes_at: int | None = None
    """Of a draft: when it becomes final by itself."""
    discount: int = 0
    """Taken off the lines, >= 0."""
    credit: int = 0
    """Paid by credit grants, >= 0."""
    tax: int = 0
    """Put on top of the lines; tax that prices include is not counted."""
    shipping: int = 0

    @property
    def explained(self) -> int:
        """What the lines and what stands beside them come to."""
        lines = sum(line.amount for line in self.lines)
        return lines - self.discount - self.credit + self.tax + self.shipping

    @property
    def unexplained(self) -> int:
        """How much more the invoice asks for than that; 0 of every invoice that is whole."""
        return self.total - self.explained

    @property
    def is_final(self) -> bool:
        """Whether it is asked for as it is."""
        return self.status in FINAL
