"""Statements against an obvious oracle: books that are kept beside them, for lives of usage, reports and invoices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.invoice import Invoice, InvoiceLine
from gateway.core.proving import RunningPeriod, make_statement
from gateway.core.statement import MeteredWindow, Report, Statement, UsageProof
from gateway.core.statement_period import Span

START, END, NEXT = 1_000_000, 2_000_000, 3_000_000
FINAL_AT = END + 3_600
METER = "api_overage"


@dataclass(frozen=True)
class Made:
    """A report, and when Stripe had it."""

    report: Report
    sent_at: int | None


def report(units: int, total: int, status: str = "sent", sent_at: int | None = END - 10) -> Made:
    return Made(Report(identifier=f"to-{total}", total=total, units=units, status=status), sent_at)


def window(overage: int, *made: Made, **fields: object) -> MeteredWindow:
    one = MeteredWindow(
        meter="requests",
        stripe_meter=METER,
        starts_at=START,
        ends_at=END,
        included=1_000,
        used=1_000 + overage,
        overage=overage,
        reported=sum(one.report.units for one in made),
        reports=tuple(one.report for one in made if one.report.status != "sent"),
        told=tuple((one.sent_at or 0, one.report.units) for one in made if one.report.status == "sent"),
    )
    return replace(one, **fields)  # type: ignore[arg-type]


def usage_line(quantity: int, amount: int = 0, **fields: object) -> InvoiceLine:
    line = InvoiceLine(
        line_id=f"il_{quantity}_{amount}",
        kind="usage",
        description="usage",
        amount=amount,
        quantity=quantity,
        unit_amount="0.1",
        price_id="price_1",
        stripe_meter=METER,
        starts_at=START,
        ends_at=END,
    )
    return replace(line, **fields)  # type: ignore[arg-type]


def invoice(*lines: InvoiceLine, **fields: object) -> Invoice:
    one = Invoice(
        invoice_id="in_1",
        number="A-1",
        status="paid",
        currency="usd",
        lines=lines,
        total=sum(line.amount for line in lines),
        created_at=END,
        period_ends_at=END,
        closes=True,
        finalized_at=FINAL_AT,
    )
    return replace(one, **fields)  # type: ignore[arg-type]


def stated(
    windows: list[MeteredWindow],
    invoices: list[Invoice] | None,
    *,
    now: int = FINAL_AT + 60,
    counted: int | None = None,
) -> Statement:
    told = {} if counted is None else {(METER, START): counted}
    return make_statement(windows, invoices, told, span=Span(since=START, until=END), now=now)


def only(statement: Statement) -> UsageProof:
    [proof] = statement.usage
    return proof


def reasons(proof: UsageProof) -> list[tuple[str, int]]:
    return [(one.reason, one.units) for one in proof.because]


def test_what_was_reported_and_invoiced_agrees() -> None:
    proof = only(stated([window(300, report(100, 100), report(200, 300))], [invoice(usage_line(300, 30))], counted=300))
    assert (proof.verdict, proof.difference, proof.because) == ("agrees", 0, ())
    assert (proof.invoiced, proof.amount, proof.counted, proof.invoices) == (300, 30, 300, ("A-1",))


@pytest.mark.parametrize(
    ("one", "quantity", "counted", "expected"),
    [
        (window(300, report(300, 300, sent_at=FINAL_AT + 5)), 0, 300, [("late-report", 300)]),
        (window(300, report(100, 100), report(200, 300, "dead")), 100, 100, [("dead-report", 200)]),
        (window(300, report(100, 100), report(200, 300, "pending", None)), 100, 100, [("pending-report", 200)]),
        (window(300, report(100, 100)), 100, 100, [("not-reported", 200)]),
        (window(50, report(100, 100)), 100, 100, [("given-back", -50)]),
        (window(100, report(100, 100)), 60, 60, [("adjusted", 40)]),
        (window(100, report(100, 100)), 60, None, [("unknown", 40)]),
        (
            window(300, report(100, 100), report(50, 150, "dead"), report(50, 200, sent_at=FINAL_AT + 5)),
            90,
            140,
            [("not-reported", 100), ("dead-report", 50), ("late-report", 50), ("adjusted", 10)],
        ),
    ],
)
def test_a_difference_is_told_with_its_reasons(
    one: MeteredWindow, quantity: int, counted: int | None, expected: list[tuple[str, int]]
) -> None:
    proof = only(stated([one], [invoice(usage_line(quantity))], counted=counted))
    assert (proof.verdict, proof.difference) == ("differs", one.overage - quantity)
    assert reasons(proof) == expected


def test_a_draft_is_not_compared_yet_but_dead_reports_are_told_of() -> None:
    draft = invoice(usage_line(100), status="draft", number=None, finalized_at=None)
    proof = only(stated([window(300, report(100, 100), report(200, 300, "dead"))], [draft]))
    assert (proof.verdict, proof.invoices) == ("not-yet-invoiced", ("in_1",))
    assert reasons(proof) == [("draft", 200), ("dead-report", 200)]


@pytest.mark.parametrize(
    ("now", "verdict", "reason"),
    [
        (END - 1, "not-yet-invoiced", "running"),
        (END + 60, "not-yet-invoiced", "invoice-pending"),
        (END + 5 * 86_400, "differs", "no-invoice"),
    ],
)
def test_without_an_invoice_it_depends_on_the_time(now: int, verdict: str, reason: str) -> None:
    proof = only(stated([window(300, report(300, 300))], [], now=now))
    assert (proof.verdict, reasons(proof), proof.invoiced) == (verdict, [(reason, 300)], None)


def test_nothing_used_and_nothing_invoiced_agrees() -> None:
    assert only(stated([window(0)], [], now=END + 9 * 86_400)).verdict == "agrees"


def test_a_voided_invoice_asks_for_nothing() -> None:
    proof = only(stated([window(300, report(300, 300))], [invoice(usage_line(300), status="void")]))
    assert (proof.verdict, reasons(proof)) == ("differs", [("void", 300)])


def test_tiers_and_a_change_of_price_make_several_lines_of_one_window() -> None:
    lines = [usage_line(100, 0), usage_line(50, 100), usage_line(150, 150, price_id="price_2", starts_at=START + 500)]
    proof = only(stated([window(300, report(300, 300))], [invoice(*lines)]))
    assert (proof.verdict, proof.invoiced, proof.amount) == ("agrees", 300, 250)
    assert reasons(proof) == [("price-changed", 0)]


def test_usage_that_the_ledger_does_not_know_differs() -> None:
    statement = stated([], [invoice(usage_line(7, 1))])
    proof = only(statement)
    assert (proof.verdict, proof.difference, reasons(proof)) == ("differs", -7, [("not-ours", -7)])
    assert statement.differs


def test_meters_that_share_one_of_stripes_are_compared_together() -> None:
    both = [window(100, report(100, 100)), window(200, report(200, 200), meter="exports")]
    proof = only(stated(both, [invoice(usage_line(300))]))
    assert (proof.verdict, proof.window.meter, proof.window.overage) == ("agrees", "exports + requests", 300)


YEAR = 12 * (END - START)


def months(*overages: int) -> list[MeteredWindow]:
    """Windows of a yearly price, each with one report."""
    length = END - START
    return [
        window(
            units,
            report(units, units),
            starts_at=START + place * length,
            ends_at=END + place * length,
        )
        for place, units in enumerate(overages)
    ]


def test_a_line_of_a_year_is_compared_with_all_windows_of_it() -> None:
    year = invoice(usage_line(60, ends_at=START + YEAR), created_at=START + YEAR, period_ends_at=START + YEAR)
    span = Span(since=END, until=NEXT)
    statement = make_statement(months(10, 20, 30), [year], {}, span=span, now=START + YEAR + 9)
    proof = only(statement)
    assert (proof.verdict, proof.window.overage, proof.invoiced, proof.window.starts_at) == ("agrees", 60, 60, START)
    assert [one.invoice_id for one in statement.invoices] == ["in_1"]


def test_a_change_of_price_within_a_year_still_leaves_one_sum() -> None:
    split = END + 5
    lines = [usage_line(25, ends_at=split), usage_line(35, starts_at=split, ends_at=START + YEAR, price_id="price_2")]
    statement = make_statement(
        months(10, 20, 30), [invoice(*lines)], {}, span=Span(since=START, until=END), now=START + YEAR + 9
    )
    assert (only(statement).verdict, only(statement).invoiced) == ("agrees", 60)


def test_a_window_that_is_over_waits_for_an_invoice_that_comes_later() -> None:
    running = [RunningPeriod(stripe_meter=METER, starts_at=START, ends_at=START + YEAR)]
    span, late = Span(since=START, until=END), END + 9 * 86_400
    proof = only(make_statement(months(10), [], {}, span=span, now=late, running=running))
    assert (proof.verdict, reasons(proof)) == ("not-yet-invoiced", [("running", 10)])
    other = [replace(running[0], stripe_meter="other")]
    assert only(make_statement(months(10), [], {}, span=span, now=late, running=other)).verdict == "differs"


def test_a_reset_of_the_anchor_does_not_mix_two_windows() -> None:
    reset = START + 500
    windows = [window(10, report(10, 10)), window(20, report(20, 20), starts_at=reset, ends_at=reset + END - START)]
    lines = [usage_line(10, ends_at=reset), usage_line(20, starts_at=reset, ends_at=reset + END - START)]
    statement = stated(windows, [invoice(*lines)])
    assert [(one.verdict, one.invoiced) for one in statement.usage] == [("agrees", 10), ("agrees", 20)]


def test_nothing_agrees_or_differs_while_stripe_is_away() -> None:
    statement = stated([window(300, report(300, 300))], None)
    assert (only(statement).verdict, statement.differs, statement.is_compared) == ("not-compared", False, False)


def test_an_invoice_belongs_to_the_period_that_it_settles() -> None:
    first = invoice(invoice_id="first", period_ends_at=START, closes=False)
    before = invoice(invoice_id="before", period_ends_at=START)
    within = invoice(invoice_id="within", period_ends_at=START + 5, closes=False)
    last = invoice(invoice_id="last")
    after = invoice(invoice_id="after", closes=False)
    given = [first, before, within, last, after]
    assert [one.invoice_id for one in stated([], given).invoices] == ["first", "within", "last"]
    later = make_statement([], given, {}, span=Span(since=END, until=NEXT), now=NEXT)
    assert [one.invoice_id for one in later.invoices] == ["after"]


def test_discounts_credits_tax_and_shipping_make_the_total() -> None:
    whole = invoice(usage_line(10, 1_000), discount=100, credit=50, tax=85, shipping=5, total=940)
    assert (whole.unexplained, stated([window(10, report(10, 10))], [whole]).differs) == (0, False)
    odd = replace(whole, total=941)
    assert (odd.unexplained, stated([window(10, report(10, 10))], [odd]).differs) == (1, True)


UNITS = st.integers(min_value=1, max_value=1_000)
STEPS = st.lists(
    st.tuples(st.sampled_from(["use", "give back", "report", "report late", "die", "wait", "cancel at stripe"]), UNITS),
    max_size=12,
)


@given(steps=STEPS, knows=st.booleans(), status=st.sampled_from(["paid", "open", "uncollectible"]))
def test_the_units_of_the_reasons_add_up_to_the_difference(
    steps: list[tuple[str, int]],
    knows: bool,  # noqa: FBT001 - hypothesis gives it
    status: str,
) -> None:
    overage = told = counted = invoiced = 0
    reports: list[Made] = []
    for word, units in steps:
        if word == "use":
            overage += units
        elif word == "give back":
            overage = max(0, overage - units)
        elif word == "cancel at stripe":
            counted -= min(units, invoiced)
            invoiced -= min(units, invoiced)
        elif overage > told:
            step = min(units, overage - told)
            told += step
            kind = {"die": "dead", "wait": "pending"}.get(word, "sent")
            sent_at = None if kind != "sent" else FINAL_AT + 9 if word == "report late" else END - 9
            reports.append(report(step, told, kind, sent_at))
            counted += step if kind == "sent" else 0
            invoiced += step if word == "report" else 0
    line = usage_line(invoiced, invoiced // 10)
    one = window(overage, *reports)
    proof = only(stated([one], [invoice(line, status=status)], counted=counted if knows else None))
    assert proof.verdict == ("agrees" if overage == invoiced else "differs")
    assert proof.difference == overage - invoiced
    assert sum(because.units for because in proof.because) == proof.difference
    if "cancel at stripe" not in {word for word, _ in steps}:
        assert not {"adjusted", "unknown"} & {because.reason for because in proof.because}
