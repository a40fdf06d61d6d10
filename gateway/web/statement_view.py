"""A statement as JSON. Amounts are whole numbers of the currency's smallest unit, with a text beside them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from gateway.core.money import minor_digits, money_text
from gateway.core.statement_words import advice_words, because_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.invoice import Invoice
    from gateway.core.statement import Report, Statement, UsageProof, Verdict

_AWAY = "The payment provider does not answer, so this is what was counted here, compared with nothing."


class ReportView(msgspec.Struct, kw_only=True):
    """One report that Stripe does not have: `units` bring the running total of the window to `total`."""

    identifier: str
    total: int
    units: int
    status: str
    """`pending` or `dead`."""
    error: str | None
    """For the seller only."""


class BecauseView(msgspec.Struct, kw_only=True):
    """Why quantities differ, or cannot be compared yet: `units` of the difference have this reason."""

    reason: str
    units: int
    words: str
    advice: str | None
    """What to do, for the seller only."""


class UsageProofView(msgspec.Struct, kw_only=True):
    """One meter in one window: what was used, reported, counted and asked for. Quantities are whole units."""

    meter: str
    """Empty: Stripe asks for usage of which the ledger knows nothing."""
    stripe_meter: str
    window_starts_at: int
    window_ends_at: int
    used: int | None
    included: int | None
    overage: int
    reported: int
    """Units of which reports were made."""
    reports: list[ReportView]
    """Those that Stripe does not have."""
    counted: int | None
    """What Stripe's meter says, for whole minutes; null: not asked, or not answered."""
    invoiced: int | None
    """Quantity on invoice lines; null: there is no line."""
    amount: int | None
    amount_text: str | None
    currency: str | None
    invoices: list[str]
    verdict: str
    """`agrees`, `not-yet-invoiced`, `differs` or `not-compared`."""
    difference: int
    """Overage that no invoice asks for; negative: asked for and not used. The units of `because` add up to it."""
    because: list[BecauseView]


class StatementLineView(msgspec.Struct, kw_only=True):
    """One amount of an invoice, or what stands beside its lines."""

    kind: str
    """`usage`, `fixed`, `proration`, `item`, `discount`, `credit`, `tax` or `shipping`."""
    description: str
    quantity: int | None
    unit_amount_text: str | None
    """For one unit, exactly: `0.001 USD`."""
    amount: int
    amount_text: str
    starts_at: int | None
    ends_at: int | None


class InvoiceProofView(msgspec.Struct, kw_only=True):
    """One invoice: its lines add up to `total`, but for `unexplained`."""

    invoice_id: str
    number: str | None
    status: str
    currency: str
    created_at: int
    finalized_at: int | None
    finalizes_at: int | None
    lines: list[StatementLineView]
    total: int
    total_text: str
    unexplained: int


class StatementView(msgspec.Struct, kw_only=True):
    """What `[from, to)` comes to, and whether it adds up."""

    customer_id: str
    user_id: str
    from_: int = msgspec.field(name="from")
    to: int
    verdict: str
    """`differs` if anything does; else `not-compared`, `not-yet-invoiced` or `agrees`, the first that is true."""
    notice: str | None
    """One sentence, if Stripe did not answer."""
    usage: list[UsageProofView]
    invoices: list[InvoiceProofView]


def view_statement(statement: Statement, *, customer_id: str, user_id: str, for_seller: bool) -> StatementView:
    """The statement for whoever may see it; the seller is told what to do, too."""
    return StatementView(
        customer_id=customer_id,
        user_id=user_id,
        from_=statement.since,
        to=statement.until,
        verdict=_overall(statement),
        notice=None if statement.is_compared else _AWAY,
        usage=[_usage(proof, for_seller=for_seller) for proof in statement.usage],
        invoices=[_invoice(invoice) for invoice in statement.invoices],
    )


def _overall(statement: Statement) -> Verdict:
    if statement.differs:
        return "differs"
    if not statement.is_compared:
        return "not-compared"
    waits = any(proof.verdict == "not-yet-invoiced" for proof in statement.usage)
    return "not-yet-invoiced" if waits else "agrees"


def _usage(proof: UsageProof, *, for_seller: bool) -> UsageProofView:
    window = proof.window
    return UsageProofView(
        meter=window.meter,
        stripe_meter=window.stripe_meter,
        window_starts_at=window.starts_at,
        window_ends_at=window.ends_at,
        used=window.used,
        included=window.included,
        overage=window.overage,
        reported=window.reported,
        reports=[_report(report, for_seller=for_seller) for report in window.reports],
        counted=proof.counted,
        invoiced=proof.invoiced,
        amount=proof.amount,
        amount_text=None if proof.amount is None else money_text(proof.amount, proof.currency or ""),
        currency=proof.currency,
        invoices=list(proof.invoices),
        verdict=proof.verdict,
        difference=proof.difference,
        because=[
            BecauseView(
                reason=one.reason,
                units=one.units,
                words=because_words(one),
                advice=advice_words(one) if for_seller else None,
            )
            for one in proof.because
        ],
    )


def _report(report: Report, *, for_seller: bool) -> ReportView:
    return ReportView(
        identifier=report.identifier,
        total=report.total,
        units=report.units,
        status=report.status,
        error=report.error if for_seller else None,
    )


def _invoice(invoice: Invoice) -> InvoiceProofView:
    return InvoiceProofView(
        invoice_id=invoice.invoice_id,
        number=invoice.number,
        status=invoice.status,
        currency=invoice.currency,
        created_at=invoice.created_at,
        finalized_at=invoice.finalized_at,
        finalizes_at=invoice.finalizes_at,
        lines=list(_lines(invoice)),
        total=invoice.total,
        total_text=money_text(invoice.total, invoice.currency),
        unexplained=invoice.unexplained,
    )


def _lines(invoice: Invoice) -> Iterator[StatementLineView]:
    """Every line, then what stands beside them."""
    for line in invoice.lines:
        yield StatementLineView(
            kind=line.kind,
            description=line.description,
            quantity=line.quantity,
            unit_amount_text=None if line.unit_amount is None else _exact_text(line.unit_amount, invoice.currency),
            amount=line.amount,
            amount_text=money_text(line.amount, invoice.currency),
            starts_at=line.starts_at,
            ends_at=line.ends_at,
        )
    beside = (
        ("discount", "Discounts", -invoice.discount),
        ("credit", "Credits", -invoice.credit),
        ("tax", "Tax", invoice.tax),
        ("shipping", "Shipping", invoice.shipping),
    )
    for kind, description, amount in beside:
        if amount:
            yield StatementLineView(
                kind=kind,
                description=description,
                quantity=None,
                unit_amount_text=None,
                amount=amount,
                amount_text=money_text(amount, invoice.currency),
                starts_at=None,
                ends_at=None,
            )


def _exact_text(minor: str, currency: str) -> str:
    """`0.1` cents -> `0.001 USD`; whole amounts have the currency's digits."""
    digits = minor_digits(currency)
    exact = Decimal(minor).scaleb(-digits)
    places = max(digits, -int(exact.normalize().as_tuple().exponent))
    return f"{exact:.{places}f} {currency.upper()}"
