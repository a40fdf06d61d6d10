"""`tiergate statement`: whether what a customer used is what its invoices ask for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click
import msgspec

from gateway.cli.opening import open_parts, run
from gateway.cli.opening_stripe import open_billing
from gateway.cli.options import Who, examples, json_option, who_options
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.core.access import in_force
from gateway.core.errors import StripeCustomerMissing
from gateway.core.statement_period import PeriodInvalid, find_span
from gateway.core.statement_words import advice_words, because_words
from gateway.policyfiles import load_policy
from gateway.settings import load_settings
from gateway.statements import draw_up
from gateway.sync.account import LedgerAccount
from gateway.web.statement_csv import statement_csv
from gateway.web.statement_view import view_statement

if TYPE_CHECKING:
    from gateway.core.statement import Statement
    from gateway.settings import Settings
    from gateway.web.statement_view import InvoiceProofView, StatementView, UsageProofView

_DIFFERS = 1


@click.command(
    "statement",
    epilog=examples(
        "tiergate statement --user-id user_42",
        "tiergate statement --user-id user_42 --period 2026-01-01..2026-07-01 --csv",
    ),
    short_help="Prove a customer's invoices against what was used.",
)
@who_options
@click.option(
    "--period", default="last", show_default=True, metavar="WHEN", help="current, last, a date, or DATE..DATE."
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV for a spreadsheet.")
def statement(who: Who, period: str, *, as_json: bool, as_csv: bool) -> None:
    """Prove a customer's invoices against what was used; exit with 1 if something differs.

    Nothing is changed, neither in the ledger nor at Stripe.
    """
    if as_json and as_csv:
        raise click.UsageError("Choose one of --json and --csv.")
    form = "json" if as_json else "csv" if as_csv else "words"
    differs = run(_statement(load_settings(), who, period, form))
    if differs:
        raise SystemExit(_DIFFERS)


async def _statement(settings: Settings, who: Who, period: str, form: str) -> bool:
    async with open_parts(settings) as parts:
        row = await parts.find_customer(who)
        account = await parts.ledger.load_account(row.customer_id)
        if account is None:
            raise click.ClickException("This customer was deleted meanwhile.")
        try:
            span = find_span(period, in_force(account, load_policy(settings.policy_dir), parts.now), parts.now)
        except PeriodInvalid as error:
            raise click.UsageError(f"--period: {error}.") from None
        billing = open_billing(settings)
        try:
            account_check = LedgerAccount(ledger=parts.ledger, billing=billing, clock=parts.clock)
            found = await draw_up(
                row.customer_id,
                span,
                ledger=parts.ledger,
                billing=billing,
                check_account=partial(account_check.check, learns=False),
                now=parts.now,
            )
        except StripeCustomerMissing as error:
            raise click.ClickException(_missing_words(row.customer_id, error)) from None
        finally:
            await billing.aclose()
    view = view_statement(found, customer_id=row.customer_id, user_id=row.user_id, for_seller=True)
    if form == "json":
        print_json(msgspec.to_builtins(view))
    elif form == "csv":
        click.echo(statement_csv(view), nl=False)
    else:
        _print(view, found)
    return found.differs


def _missing_words(customer_id: str, error: StripeCustomerMissing) -> str:
    return (
        f"Stripe does not have {error.stripe_customer_id}, which the ledger names for {customer_id}, and the key is of"
        " the ledger's account: test data was wiped, or the customer was imported with a wrong id. There is nothing to"
        f" compare. To end what was recorded of it: `tiergate sync --customer {customer_id}`."
    )


def _print(view: StatementView, found: Statement) -> None:
    click.echo(f"{instant_words(view.from_)} until {instant_words(view.to)}: {view.verdict.replace('-', ' ')}\n")
    if view.usage:
        print_columns(
            (
                "METER",
                "WINDOW FROM",
                "USED",
                "INCLUDED",
                "OVERAGE",
                "REPORTED",
                "STRIPE COUNTS",
                "INVOICED",
                "AMOUNT",
                "VERDICT",
            ),
            [_usage_row(proof) for proof in view.usage],
        )
    for invoice in view.invoices:
        _print_invoice(invoice)
    for proof in found.usage:
        for because in proof.because:
            where = proof.window.meter or proof.window.stripe_meter
            note(f"{where}, {instant_words(proof.window.starts_at)}: {because_words(because)}.")
            note(f"  To do: {advice_words(because)}.")
    if view.notice is not None:
        note(view.notice)


def _usage_row(proof: UsageProofView) -> tuple[object, ...]:
    return (
        proof.meter or proof.stripe_meter,
        instant_words(proof.window_starts_at),
        _count(proof.used),
        _count(proof.included),
        _count(proof.overage),
        _count(proof.reported),
        _count(proof.counted),
        _count(proof.invoiced),
        proof.amount_text,
        f"differs by {proof.difference:+,}" if proof.verdict == "differs" else proof.verdict.replace("-", " "),
    )


def _print_invoice(invoice: InvoiceProofView) -> None:
    click.echo(f"\nInvoice {invoice.number or invoice.invoice_id}, {invoice.status}")
    rows: list[tuple[object, ...]] = [
        (line.kind, line.description, _count(line.quantity), line.unit_amount_text, line.amount_text)
        for line in invoice.lines
    ]
    rows.append(("total", "", None, None, invoice.total_text))
    print_columns(("KIND", "LINE", "QUANTITY", "EACH", "AMOUNT"), rows)
    if invoice.unexplained:
        note(f"The lines do not come to the total: {invoice.unexplained:+,} of the smallest unit is unexplained.")


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"
