"""`tiergate sync`: bring customers in step with Stripe now."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.opening import ACTOR, Parts, open_parts, run, say_if_unpublished
from gateway.cli.opening_stripe import open_sync
from gateway.cli.options import examples, json_option, name_one
from gateway.cli.printing import console, note, print_json, printable
from gateway.settings import load_settings
from gateway.sync import SyncReport

if TYPE_CHECKING:
    from gateway.cli.options import Who
    from gateway.settings import Settings
    from gateway.sync import Sync, SyncOutcome

_PAGE = 1000
_BECAUSE = "tiergate sync"
_RESULTS = {
    "applied": "in step with Stripe",
    "superseded": "a gateway has just synchronised it, with a later read",
    "missing": "Stripe has no such customer; nothing was changed",
    "unbound": "has nothing to do with Stripe yet",
}


@click.command("sync", epilog=examples("tiergate sync --user-id user_42", "tiergate sync --all"))
@click.option("--all", "everyone", is_flag=True, help="Every customer.")
@click.option("--customer", "customer_id", metavar="ID", help="Tiergate's own id of the customer.")
@click.option("--user-id", metavar="USER", help="The id that your application gave the customer.")
@click.option("--after", default="", metavar="ID", help="With --all: go on behind this customer.")
@click.option(
    "--per-second",
    type=click.FloatRange(0.1, 80),
    default=10.0,
    show_default=True,
    help="With --all: customers a second. Stripe allows 100 requests (25 in test mode), all programs together.",
)
@json_option
def sync(
    customer_id: str | None, user_id: str | None, after: str, per_second: float, *, everyone: bool, as_json: bool
) -> None:
    """Read subscriptions from Stripe now, and put what they grant in force.

    Events do this by themselves; this is for after an outage, a change of price mapping in
    the policy, or a doubt. Exit code 1 if any customer could not be synchronised, or if it
    stopped early; then it says how to go on.
    """
    if everyone and (customer_id is not None or user_id is not None):
        raise click.UsageError("Either --all, or one customer.")
    if everyone:
        raise SystemExit(run(_sync_all(load_settings(), after, per_second, as_json=as_json)))
    who = name_one(customer_id, user_id)
    run(_sync_one(load_settings(), who, as_json=as_json))


async def _sync_one(settings: Settings, who: Who, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        row = await parts.find_customer(who)
        async with open_sync(parts) as syncing:
            outcome = await syncing.sync_customer(row.customer_id, _BECAUSE, actor=ACTOR)
        if as_json:
            print_json({"customer_id": row.customer_id, **asdict(outcome)})
        else:
            click.echo(f"{row.customer_id} ({printable(row.user_id)}): {_outcome_words(outcome)}.")
            for finding in outcome.findings:
                note(f"  {finding.code}: {printable(finding.detail)}")
        say_if_unpublished(parts.has_cache or not outcome.changed)


async def _sync_all(settings: Settings, after: str, per_second: float, *, as_json: bool) -> int:
    async with open_parts(settings) as parts, open_sync(parts) as syncing:
        report = await _with_progress(syncing, await _count(parts, after), after, per_second)
        if as_json:
            print_json(asdict(report))
        else:
            _print_report(report)
        say_if_unpublished(parts.has_cache or not report.changed)
    return int(bool(report.failed) or report.stopped_because is not None)


async def _count(parts: Parts, after: str) -> int:
    total = 0
    while rows := await parts.ledger.list_customers(after=after, limit=_PAGE):
        total += len(rows)
        after = rows[-1].customer_id
    return total


async def _with_progress(syncing: Sync, total: int, after: str, per_second: float) -> SyncReport:
    columns = (TextColumn("synchronising"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("sync", total=total)

        def show(report: SyncReport) -> None:
            progress.update(task, completed=report.checked + report.unbound + report.failed)

        return await syncing.sync_all(show, after=after, per_second=per_second, because=_BECAUSE, actor=ACTOR)


def _print_report(report: SyncReport) -> None:
    click.echo(
        f"{report.checked} customers checked, {report.changed} changed, {report.failed} failed; "
        f"{report.unbound} have nothing to do with Stripe yet."
    )
    for customer_id in report.missing:
        note(f"  {customer_id}: Stripe has no such customer")
    for customer_id, finding in report.findings:
        note(f"  {customer_id}: {finding.code}: {printable(finding.detail)}")
    if report.stopped_because is not None:
        note(f"Stopped early: {report.stopped_because}")
        note(f"To go on: tiergate sync --all --after {report.cursor}" if report.cursor else "Nobody was checked.")


def _outcome_words(outcome: SyncOutcome) -> str:
    words = _RESULTS[outcome.result]
    if outcome.result == "applied":
        words += ", something changed" if outcome.changed else ", as it was"
    if outcome.subscription is not None:
        words += f"; {outcome.subscription.status}, plan {outcome.subscription.plan_id or 'not mapped'}"
    return words
