"""The proof of an invoice: what was used, what Stripe was told of it, what it counts, and what it asks for.

Pure. Instants are Unix seconds, quantities whole units; overage is what was used beyond what the plan includes.
How it is made: `core.proving`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from gateway.core.invoice import Invoice

Verdict: TypeAlias = Literal["agrees", "not-yet-invoiced", "differs", "not-compared"]
Reason: TypeAlias = Literal[
    "acknowledged",
    "adjusted",
    "dead-report",
    "draft",
    "ended-at-once",
    "given-back",
    "invoice-pending",
    "late-report",
    "no-invoice",
    "not-ours",
    "not-reported",
    "pending-report",
    "price-changed",
    "running",
    "stripe-away",
    "unknown",
    "void",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report that Stripe does not have: it brings the running total of the window to `total`, by `units`."""

    identifier: str
    total: int
    units: int
    status: str
    """`pending` or `dead`."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredWindow:
    """What the ledger knows of one meter in one window of a customer."""

    meter: str
    stripe_meter: str
    starts_at: int
    ends_at: int
    included: int | None
    """Units that the plan included; None: not known."""
    used: int | None
    """All units, those that the plan included too; None: not known."""
    overage: int
    """Units beyond what is included, as they were settled last."""
    reported: int = 0
    """Units of which reports were made, whatever became of them."""
    reports: tuple[Report, ...] = ()
    """Those that Stripe does not have."""
    unbilled: int = 0
    """Units that no invoice asked for when their subscription had ended at once."""
    acknowledged: int = 0
    """Those of them that the seller has seen to."""
    told: tuple[tuple[int, int], ...] = ()
    """What Stripe has since the first of its invoices became final: from when on it was told, and units. Each final
    invoice begins a new one."""

    @property
    def sent(self) -> int:
        """Units that Stripe has."""
        return self.reported - sum(report.units for report in self.reports)

    def units_of(self, status: str) -> int:
        """Units of the reports with that status."""
        return sum(report.units for report in self.reports if report.status == status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """Why quantities differ: `units` of the difference have this reason (0: it is not about units)."""

    reason: Reason
    units: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageProof:
    """One meter in one window, compared."""

    window: MeteredWindow
    verdict: Verdict
    difference: int = 0
    """Units of overage that no invoice asks for; negative: units that are asked for and were not used."""
    because: tuple[Because, ...] = ()
    counted: int | None = None
    """What Stripe's meter says, for the window's minutes; None: not asked, or not answered."""
    invoiced: int | None = None
    """Quantity on invoice lines; None: there is no line."""
    amount: int | None = None
    """What those lines ask for."""
    currency: str | None = None
    invoices: tuple[str, ...] = ()
    """Their numbers, or ids where there is no number yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """All that a period comes to."""

    since: int
    until: int
    """Not included."""
    usage: tuple[UsageProof, ...]
    invoices: tuple[Invoice, ...]
    is_compared: bool
    """False: Stripe did not answer, so there are no invoices, and no verdicts."""

    @property
    def differs(self) -> bool:
        """Whether anything does not add up."""
        return any(proof.verdict == "differs" for proof in self.usage) or any(
            invoice.unexplained for invoice in self.invoices
        )
