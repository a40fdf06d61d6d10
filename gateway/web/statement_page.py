"""The customer's own statement: what was used beyond the plan, and every line of the invoices, added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from litestar import get

from gateway.core.statement_period import PeriodInvalid, find_span, usual_period
from gateway.core.statement_words import VERDICTS
from gateway.web.page_frame import FromVisit, Page
from gateway.web.page_words import Moment, moment, unit_words
from gateway.web.refusals import RequestInvalid
from gateway.web.statement_view import InvoiceProofView, StatementView
from gateway.web.stating import state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.policy import Meter
    from gateway.web.statement_view import UsageProofView

_LEADS = {
    "agrees": "Everything that was used is on your invoices, and their lines add up.",
    "not-yet-invoiced": "Some of what was used is not on a final invoice yet.",
    "differs": "Something does not add up. It says below what, and why as far as that can be told.",
    "not-compared": "The payment provider does not answer right now, so no invoices can be shown. Try again shortly.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRow:
    """One meter in one window."""

    label: str
    begins: Moment | None
    ends: Moment | None
    used: str
    included: str
    overage: str
    invoiced: str
    amount: str
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTable:
    """One invoice; its lines and what stands beside them."""

    invoice: InvoiceProofView
    made: Moment | None
    final: Moment | None
    """Of a draft: when it becomes final."""


@get("/account/statement")
async def show_account_statement(visit: FromVisit, period: str = "") -> Page:
    """The statement of a billing period: the last that is over, or the first of a new customer. Nothing is changed."""
    if visit.signed_in is None:
        return visit.see("/sign-in")
    who, runtime = visit.signed_in, visit.runtime
    who.require_manager()
    now = runtime.clock.now()
    try:
        span = find_span(period[:100] or usual_period(who.account, now), who.account, now)
    except PeriodInvalid as error:
        raise RequestInvalid(f"The period cannot be understood: {error}.") from None
    view = await state(who.account, span, runtime, now=now, for_seller=False)
    return visit.page(
        "statement.html",
        begins=moment(span.since),
        ends=moment(span.until),
        verdict=view.verdict,
        lead=_lead(view),
        proofs=_proofs(view, runtime.policy.current.meters),
        invoices=[_table(invoice) for invoice in view.invoices],
        is_compared=view.notice is None,
    )


def _lead(view: StatementView) -> str:
    if view.verdict == "agrees" and not view.usage and not view.invoices:
        return "There is no invoice of this period, and nothing was used beyond the plan."
    return _LEADS[view.verdict]


def _proofs(view: StatementView, meters: Mapping[str, Meter]) -> list[ProofRow]:
    return [_proof(proof, meters) for proof in view.usage]


def _proof(proof: UsageProofView, meters: Mapping[str, Meter]) -> ProofRow:
    difference = f" by {proof.difference:+,}" if proof.verdict == "differs" else ""
    return ProofRow(
        label=unit_words(proof.meter, meters) if proof.meter else proof.stripe_meter,
        begins=moment(proof.window_starts_at),
        ends=moment(proof.window_ends_at),
        used=_count(proof.used),
        included=_count(proof.included),
        overage=_count(proof.overage),
        invoiced=_count(proof.invoiced),
        amount=proof.amount_text or "-",
        verdict=f"{VERDICTS[proof.verdict]}{difference}",
        reasons=tuple(one.words for one in proof.because),
    )


def _table(invoice: InvoiceProofView) -> InvoiceTable:
    final = moment(invoice.finalizes_at) if invoice.status == "draft" else None
    return InvoiceTable(invoice=invoice, made=moment(invoice.created_at), final=final)


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
