"""A statement as CSV, to keep. Amounts are in the currency's smallest unit, instants Unix seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.csv_text import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.web.statement_view import StatementView

_COLUMNS = (
    "invoice",
    "status",
    "kind",
    "description",
    "starts_at",
    "ends_at",
    "used",
    "included",
    "overage",
    "reported",
    "counted",
    "quantity",
    "unit_amount",
    "amount",
    "currency",
    "verdict",
    "difference",
    "because",
)


def statement_csv(view: StatementView) -> str:
    """A row for each line of an invoice, then a row for each meter and window."""
    return csv_text(_COLUMNS, [[row.get(name) for name in _COLUMNS] for row in _rows(view)])


def _rows(view: StatementView) -> Iterator[dict[str, str | int | None]]:
    for invoice in view.invoices:
        shared: dict[str, str | int | None] = {
            "invoice": invoice.number or invoice.invoice_id,
            "status": invoice.status,
        }
        for line in invoice.lines:
            yield shared | {
                "kind": line.kind,
                "description": line.description,
                "starts_at": line.starts_at,
                "ends_at": line.ends_at,
                "quantity": line.quantity,
                "unit_amount": line.unit_amount_text,
                "amount": line.amount,
                "currency": invoice.currency,
            }
        yield shared | {
            "kind": "total",
            "amount": invoice.total,
            "currency": invoice.currency,
            "verdict": "differs" if invoice.unexplained else "agrees",
            "difference": invoice.unexplained,
        }
    for proof in view.usage:
        yield {
            "invoice": " ".join(proof.invoices),
            "kind": "proof",
            "description": proof.meter or proof.stripe_meter,
            "starts_at": proof.window_starts_at,
            "ends_at": proof.window_ends_at,
            "used": proof.used,
            "included": proof.included,
            "overage": proof.overage,
            "reported": proof.reported,
            "counted": proof.counted,
            "quantity": proof.invoiced,
            "amount": proof.amount,
            "currency": proof.currency,
            "verdict": proof.verdict,
            "difference": proof.difference,
            "because": "; ".join(one.words for one in proof.because),
        }
