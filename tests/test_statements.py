"""Statements of real lives: a ledger, the SDK, and invoices that the sandbox made."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.invoice import FINAL
from gateway.core.statement import Statement, UsageProof
from gateway.sandbox import ApiFault, Faults
from gateway.web.statement_view import view_statement
from tests.metered_life import DEARER, INCLUDED, METERED, YEARLY, Life, living

pytestmark = pytest.mark.slow

DAY_S, HOUR_S = 86_400, 3_600


@pytest.fixture
async def life(migrated_sqlite: Path, tmp_path: Path) -> AsyncIterator[Life]:
    async with living(Path(shutil.copy(migrated_sqlite, tmp_path / "ledger.sqlite3"))) as one:
        yield one


def only(statement: Statement) -> UsageProof:
    [proof] = statement.usage
    return proof


async def test_a_period_adds_up_from_the_counter_to_the_total(life: Life) -> None:
    start = life.window
    end = life.ends[start]
    await life.use(1_200)
    await life.advance(90)
    await life.report()
    await life.use(34)
    await life.report()
    running = only(await life.state(start, end))
    assert (running.verdict, [one.reason for one in running.because]) == ("not-yet-invoiced", ["running"])

    await life.advance_to(end + 60)
    draft = only(await life.state(start, end))
    assert (draft.verdict, [one.reason for one in draft.because]) == ("not-yet-invoiced", ["draft"])

    await life.advance(HOUR_S)
    statement = await life.state(start, end)
    proof = only(statement)
    assert (proof.verdict, proof.window.used, proof.window.included) == ("agrees", INCLUDED + 1_234, INCLUDED)
    assert (proof.window.overage, proof.window.reported, proof.counted, proof.invoiced) == (1_234, 1_234, 1_234, 1_234)
    assert (proof.amount, proof.window.reports) == (123, ()), "what Stripe has is a sum"
    first, renewal = statement.invoices
    assert (renewal.closes, first.total, renewal.total, renewal.unexplained) == (True, 2_900, 2_900 + 123, 0)
    assert [line.kind for line in renewal.lines] == ["fixed", "usage"]
    assert not statement.differs


async def test_what_is_told_after_the_invoice_is_final_is_a_late_report(life: Life) -> None:
    start = life.window
    end = life.ends[start]
    await life.use(500)
    await life.report()
    await life.use(250)
    await life.advance_to(end + 2 * HOUR_S)
    await life.report()
    proof = only(await life.state(start, end))
    assert (proof.verdict, proof.difference) == ("differs", 250)
    assert [(one.reason, one.units) for one in proof.because] == [("late-report", 250)]


async def test_an_event_that_was_cancelled_at_stripe_is_told_from_one_that_was_lost(life: Life) -> None:
    start = life.window
    end = life.ends[start]
    await life.use(500)
    await life.advance(90)
    await life.report()
    life.cancel_last_event()
    await life.advance_to(end + 2 * HOUR_S)
    proof = only(await life.state(start, end))
    assert [(one.reason, one.units) for one in proof.because] == [("adjusted", 500)]


async def test_a_change_of_price_in_a_period_makes_two_lines_that_add_up(life: Life) -> None:
    start = life.window
    end = life.ends[start]
    await life.use(1_000)
    await life.report()
    await life.advance(10 * DAY_S)
    life.change(1, DEARER, "create_prorations")
    await life.use(100)
    await life.advance(60)
    await life.report()
    await life.advance_to(end + 2 * HOUR_S)
    proof = only(await life.state(start, end))
    assert (proof.verdict, proof.invoiced, proof.amount) == ("agrees", 1_100, 100 + 70)
    assert [one.reason for one in proof.because] == ["price-changed"]


async def test_usage_after_a_cancellation_at_once_is_on_no_invoice_and_that_is_said(life: Life) -> None:
    start = life.window
    end = life.ends[start]
    await life.use(1_000)
    await life.report()
    life.end(at_once=True)
    await life.advance_to(end + 4 * DAY_S)
    proof = only(await life.state(start, end))
    assert (proof.verdict, proof.difference) == ("differs", 1_000)
    assert [one.reason for one in proof.because] == ["no-invoice"]


async def test_while_stripe_is_away_the_ledger_still_tells_what_it_knows(life: Life) -> None:
    start = life.window
    await life.use(1_000)
    await life.report()
    life.simulator.set_faults(Faults(api=(ApiFault(path="/v1/", status=503, times=0),)))
    statement = await life.state(start, life.ends[start])
    proof = only(statement)
    assert (proof.verdict, proof.window.overage, proof.window.reported) == ("not-compared", 1_000, 1_000)
    view = view_statement(statement, customer_id="c", user_id="u", for_seller=False)
    assert (view.verdict, view.invoices, view.notice is not None) == ("not-compared", [], True)


async def test_months_of_a_yearly_price_wait_for_its_invoice_and_are_compared_with_it_together(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    file = Path(shutil.copy(migrated_sqlite, tmp_path / "ledger.sqlite3"))
    async with living(file, prices=("price_pro_yearly", YEARLY)) as life:
        for units in (1_000, 0, 500):
            await life.use(units)
            await life.advance(90)
            await life.report()
            await life.advance_to(life.ends[life.window] + 60)
        first, _, third = life.windows[:3]
        await life.advance(20 * DAY_S)
        waiting = only(await life.state(*first))
        assert (waiting.verdict, [one.reason for one in waiting.because]) == ("not-yet-invoiced", ["running"])
        while life.now < life.subscription.anchor + 367 * DAY_S:
            await life.advance(20 * DAY_S)
        for month in (first, third):
            statement = await life.state(*month)
            proof = only(statement)
            assert (proof.verdict, proof.window.overage, proof.invoiced, proof.amount) == ("agrees", 1_500, 1_500, 150)
            assert statement.invoices[-1].total == 29_000 + 150


WORDS = (
    *("use", "use", "use", "give back", "report", "report", "report", "dead", "pending"),
    *("days", "days", "roll", "price", "plan", "cancel event", "end"),
)
BEHAVIORS = ("create_prorations", "always_invoice", "none")


async def live_a_while(life: Life, rng: random.Random) -> list[tuple[int, int]]:
    """Some months of a life; returns the windows that it had."""
    for _ in range(rng.randint(10, 30)):
        word = rng.choice(WORDS)
        if word in {"price", "plan", "end"}:
            change_something(life, word, rng)
        else:
            await go_on(life, word, rng)
    return life.windows


async def go_on(life: Life, word: str, rng: random.Random) -> None:
    if word == "use":
        await life.use(rng.randint(1, 5_000))
    elif word == "give back":
        await life.use(-rng.randint(1, 500))
    elif word in {"report", "dead", "pending"}:
        await life.report("sent" if word == "report" else word)
    elif word == "cancel event":
        life.cancel_last_event()
    elif word == "days":
        await life.advance(rng.randint(60, 12 * DAY_S))
    else:
        await life.advance_to(life.ends[life.window] + rng.choice([-30, 60, HOUR_S + 60, 2 * DAY_S]))


def change_something(life: Life, word: str, rng: random.Random) -> None:
    if life.subscription.ended_at is not None:
        return
    if word == "end":
        if rng.random() < 0.3:
            life.end(at_once=rng.random() < 0.5, invoice_now=rng.random() < 0.5)
        return
    place, prices = (
        (1, [METERED, DEARER]) if word == "price" else (0, ["price_pro_monthly", "price_enterprise_monthly"])
    )
    life.change(place, rng.choice(prices), rng.choice(BEHAVIORS))


def check_amounts(life: Life, statement: Statement) -> None:
    """Every line of an invoice is there, and they come to the total to the cent."""
    view = view_statement(statement, customer_id="c", user_id="u", for_seller=True)
    for invoice in view.invoices:
        made = life.world.invoice(invoice.invoice_id)
        assert invoice.total == made.total
        assert sum(line.amount for line in invoice.lines) == invoice.total - invoice.unexplained
        assert invoice.unexplained == 0
        assert sorted(line.amount for line in invoice.lines) == sorted(line.amount for line in made.lines)


def check_usage(life: Life, proof: UsageProof) -> None:
    """The books that the test kept, and the lines that the sandbox made, say the same."""
    start, end = proof.window.starts_at, proof.window.ends_at
    overage = life.overage.get(start, 0)
    lines = [
        (line, invoice)
        for invoice in life.invoices
        for line in invoice.lines
        if line.is_usage and start <= line.period_starts_at < end and invoice.status != "void"
    ]
    quantity = sum(line.quantity for line, _ in lines)
    assert (proof.window.overage, proof.invoiced or 0) == (overage, quantity)
    assert (proof.amount or 0) == sum(line.amount for line, _ in lines)
    if proof.verdict == "agrees":
        assert overage == quantity
        assert {invoice.status for _, invoice in lines} <= FINAL
    if proof.verdict == "differs":
        assert proof.difference == overage - quantity != 0
        assert sum(one.units for one in proof.because) == proof.difference
        assert life.now >= end


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 40))])
async def test_statements_of_any_life_add_up_to_its_invoices(life: Life, seed: int) -> None:
    windows = await live_a_while(life, random.Random(seed))
    seen: list[str] = []
    for start, end in windows:
        statement = await life.state(start, end)
        check_amounts(life, statement)
        for proof in statement.usage:
            check_usage(life, proof)
        mine = [one for one in statement.invoices if start <= one.period_ends_at <= end]
        seen += [one.invoice_id for one in mine]
    assert set(seen) == {one.id for one in life.invoices}
