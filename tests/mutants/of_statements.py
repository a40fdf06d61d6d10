"""Faults in statements and in what they read."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CORE = ("tests/core/test_statement.py",)
_LIVES = ("tests/test_statements.py",)
_PROVING = "gateway/core/proving.py"

MUTANTS = (
    Mutant(
        "an invoice that is a draft is compared as if it were final",
        _PROVING,
        'if any(one.invoice.status == "draft" for one in live):',
        'if any(one.invoice.status == "never" for one in live):',
        _CORE,
    ),
    Mutant(
        "a voided invoice still asks for its lines",
        _PROVING,
        'live = [one for one in billed if one.invoice.status != "void"]',
        "live = list(billed)",
        _CORE,
    ),
    Mutant(
        "a report in time is taken for a late one",
        _PROVING,
        "told_from >= final_at",
        "told_from >= 0",
        _CORE,
    ),
    Mutant(
        "units that were given back have no reason",
        _PROVING,
        '("given-back", min(unreported, 0))',
        '("given-back", 0)',
        _CORE,
    ),
    Mutant(
        "a renewal's invoice belongs to the period that it begins",
        _PROVING,
        "return since < invoice.period_ends_at <= until",
        "return since <= invoice.period_ends_at < until",
        _CORE,
    ),
    Mutant(
        "a line of a year is laid beside its first month only",
        _PROVING,
        "                is_joined[place] = True\n",
        "                is_joined[place] = False\n",
        _CORE,
    ),
    Mutant(
        "a window of a yearly price is missed on invoices before its year is over",
        _PROVING,
        "if now < open_until:",
        "if now < window.ends_at:",
        _CORE,
    ),
    Mutant(
        "usage of which the ledger knows nothing is passed over",
        _PROVING,
        "if one.invoice.invoice_id in ids and one.line.quantity",
        "if one.invoice.invoice_id in ids and False",
        _CORE,
    ),
    Mutant(
        "tax is left out of what explains a total",
        "gateway/core/invoice.py",
        "lines - self.discount - self.credit + self.tax + self.shipping",
        "lines - self.discount - self.credit + self.shipping",
        _CORE,
    ),
    Mutant(
        "usage is not told from plans",
        "gateway/billing/invoices.py",
        '    if meter_id is not None:\n        return "usage"\n',
        "",
        _LIVES,
    ),
    Mutant(
        "only the first windows of a period are asked for",
        "gateway/statements.py",
        "list_metered_windows(customer_id, since, span.until + _YEAR_S)",
        "list_metered_windows(customer_id, since, span.until)",
        _LIVES,
    ),
    Mutant(
        "a draft is not measured again when it becomes final",
        "gateway/sandbox/engine/invoices.py",
        "invoice = measured_again(world, world.invoice(invoice_id))",
        "invoice = world.invoice(invoice_id)",
        ("tests/sandbox/test_metered_invoices.py",),
    ),
)
