"""`tiergate sync`: bring customers in step with Stripe now."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.cli.audit import access_words
from gateway.cli.opening import ACTOR, Parts, open_parts, run, say_if_unpublished
from gateway.cli.opening_stripe import open_sync
from gateway.cli.options import examples, json_option, name_one
from gateway.cli.printing import console, instant_words, note, print_json, printable
from gateway.settings import load_settings
from gateway.sync import OF_A_PART, ON_COMMAND, TOO_MANY_MISSING, Comparing, Reconciler, ReconciliationBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.cli.options import Who
    from gateway.settings import Settings
    from gateway.sync import Comparison, SyncOutcome, SyncReport

_PAGE = 1000
_BECAUSE = "tiergate sync"
_RESULTS = {
    "applied": "in step with Stripe",
    "superseded": "a gateway has just synchronised it, with a later read",
    "missing": "Stripe has no such customer; nothing was changed",
    "unbound": "has nothing to do with Stripe yet",
}


@click.command(
    "sync",
    epilog=examples(
        "tiergate sync --user-id user_42",
        "tiergate sync --all --dry-run",
        "tiergate sync --all",
        "tiergate sync --all --resume",
        "tiergate sync --all --allow-ending 12",
    ),
    short_help="Read subscriptions from Stripe now.",
)
@click.option("--all", "everyone", is_flag=True, help="Every customer.")
@click.option("--customer", "customer_id", metavar="ID", help="Tiergate's own id of the customer.")
@click.option("--user-id", metavar="USER", help="The id that your application gave the customer.")
@click.option("--dry-run", is_flag=True, help="With --all: say what would change, and change nothing.")
@click.option("--resume", is_flag=True, help="With --all: go on with the one that was broken off, wherever it ran.")
@click.option(
    "--allow-ending",
    "may_end",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --all: end at most N whom Stripe lacks. If that is enough, later runs end a few by themselves again.",
)
@click.option("--end-missing", "ends_all", is_flag=True, help="With --all: end whom Stripe lacks, however many.")
@click.option("--after", metavar="ID", help="With --all: only those behind this customer. It is no reconciliation.")
@click.option(
    "--per-second",
    type=click.FloatRange(0.1, 80),
    default=10.0,
    show_default=True,
    help="With --all: requests a second. Stripe allows 100 (25 in test mode), all programs together.",
)
@json_option
def sync(customer_id: str | None, user_id: str | None, *, everyone: bool, as_json: bool, **options: Any) -> None:
    """Read subscriptions from Stripe now, and put what they grant in force.

    Events do this by themselves, and a running gateway reads everybody once a day; this is
    for after an outage, a change of price mapping in the policy, or a doubt. Exit code 1 if
    any customer could not be synchronised, or if it stopped early; then it says how to go on.
    With --dry-run, exit code 1 if any customer is not as Stripe has it.
    """
    if everyone and (customer_id is not None or user_id is not None):
        raise click.UsageError("Either --all, or one customer.")
    wanted = _Wanted(**options)
    if not everyone and wanted != _Wanted(per_second=wanted.per_second):
        raise click.UsageError("--dry-run, --resume, --allow-ending, --end-missing and --after go with --all.")
    if wanted.resume and (wanted.dry_run or wanted.after is not None):
        raise click.UsageError("--resume knows where to go on; it takes neither --after nor --dry-run.")
    if wanted.resume and (wanted.ends_all or wanted.may_end is not None):
        raise click.UsageError(
            "--allow-ending and --end-missing are of a run that begins: the one that was broken off may have held "
            "some already. Leave --resume out."
        )
    if wanted.ends_all and wanted.may_end is not None:
        raise click.UsageError("Either --allow-ending, or --end-missing, which ends them all.")
    if everyone:
        work = _compare_all if wanted.dry_run else _sync_all
        raise SystemExit(run(work(load_settings(), wanted, as_json=as_json)))
    who = name_one(customer_id, user_id)
    run(_sync_one(load_settings(), who, as_json=as_json))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    per_second: float
    dry_run: bool = False
    resume: bool = False
    may_end: int | None = None
    ends_all: bool = False
    after: str | None = None


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


async def _sync_all(settings: Settings, wanted: _Wanted, *, as_json: bool) -> int:
    async with open_parts(settings) as parts, open_sync(parts) as syncing:
        reconciler = Reconciler(ledger=parts.ledger, sync=syncing, clock=parts.clock)
        row = await parts.ledger.find_reconciliation()
        if wanted.resume and (row is None or row.cursor is None):
            raise click.ClickException("None was broken off: `tiergate sync --all` begins one.")
        begins_behind = row.cursor if wanted.resume and row is not None else wanted.after
        total = await _count(parts, begins_behind or "")
        try:
            with _progress(total) as show:
                report = await reconciler.run(
                    lambda so_far: show(so_far.checked + so_far.unbound + so_far.failed),
                    anew=not wanted.resume,
                    after=wanted.after,
                    may_end=inf if wanted.ends_all else wanted.may_end,
                    per_second=wanted.per_second,
                    cause=ON_COMMAND if wanted.after is None else OF_A_PART,
                )
        except ReconciliationBusy:
            raise click.ClickException(await _busy_words(parts)) from None
        if as_json:
            print_json(asdict(report))
        else:
            _print_report(report, is_part=wanted.after is not None)
        say_if_unpublished(parts.has_cache or not report.changed)
    return int(bool(report.failed) or report.stopped_because is not None)


async def _busy_words(parts: Parts) -> str:
    row = await parts.ledger.find_reconciliation()
    if row is None or row.claimed_until is None:
        return "Another program has just reconciled all customers."
    return (
        f"Another worker or command is reading all customers: {row.checked:,} are done. If it was killed, "
        f"its claim runs out at {instant_words(row.claimed_until)}."
    )


async def _compare_all(settings: Settings, wanted: _Wanted, *, as_json: bool) -> int:
    async with open_parts(settings) as parts, open_sync(parts) as syncing:
        comparing = Comparing(sync=syncing, ledger=parts.ledger, clock=parts.clock)
        with _progress(await _count(parts, wanted.after or "")) as show:
            report = await comparing.compare_all(
                lambda so_far: show(so_far.checked + so_far.unbound),
                after=wanted.after or "",
                per_second=wanted.per_second,
            )
    if as_json:
        print_json(asdict(report))
    else:
        _print_comparison(report, is_part=wanted.after is not None)
    return int(bool(report.differences or report.to_plan or report.failed) or report.stopped_because is not None)


def _print_comparison(report: Comparison, *, is_part: bool) -> None:
    for one in report.differences:
        before, after = access_words(one.access_before), access_words(one.access_after)
        click.echo(f"{one.customer_id} ({printable(one.user_id)}): {before} -> {after}")
        if one.is_missing:
            note("  Stripe has no such customer")
            continue
        for name, (recorded, told) in one.changes.items():
            note(f"  {name}: {_shown(recorded)} -> {_shown(told)}")
    for customer_id in report.to_plan:
        click.echo(f"{customer_id}: the change that was planned would be planned again")
    click.echo(
        f"{report.checked} customers compared, {len(report.differences)} differ, {report.failed} failed; "
        f"{report.unbound} have nothing to do with Stripe yet. Nothing was changed."
    )
    if words := missing_words(report, is_part=is_part):
        note(words)
    if report.stopped_because is not None:
        note(f"Stopped early: {report.stopped_because}")
        note(f"To go on: tiergate sync --all --dry-run --after {report.cursor}" if report.cursor else "")


def missing_words(report: Comparison, *, is_part: bool) -> str:
    """What to do about those whom Stripe does not have; empty: there are none. A number is one of everybody."""
    missing = sum(one.is_missing for one in report.differences)
    if not missing:
        return ""
    if is_part or report.stopped_because is not None:
        return (
            f"Stripe does not have {missing} of them, and there may be more: `tiergate sync --all --dry-run`, to its "
            "end, says how many are to be allowed."
        )
    return f"Stripe does not have {missing} of them: `tiergate sync --all --allow-ending {missing}` would end these."


async def _count(parts: Parts, after: str) -> int:
    total = 0
    while rows := await parts.ledger.list_customers(after=after, limit=_PAGE):
        total += len(rows)
        after = rows[-1].customer_id
    return total


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("synchronising"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("sync", total=total)
        yield lambda done: progress.update(task, completed=done)


def _shown(value: Any) -> str:
    return "nothing" if value is None else printable(value)


def _print_report(report: SyncReport, *, is_part: bool) -> None:
    click.echo(
        f"{report.checked} customers checked, {report.changed} changed, {report.failed} failed; "
        f"{report.unbound} have nothing to do with Stripe yet, {report.needing_attention} need somebody to act."
    )
    for customer_id in report.planned:
        note(f"  {customer_id}: the change that was planned is planned again")
    held = set(report.held)
    for customer_id in report.missing:
        note(f"  {customer_id}: Stripe has no such customer{', and it keeps what it has' * (customer_id in held)}")
    for customer_id, finding in report.findings:
        note(f"  {customer_id}: {finding.code}: {printable(finding.detail)}")
    for line in stop_lines(report, is_part=is_part):
        note(line)


def stop_lines(report: SyncReport, *, is_part: bool) -> list[str]:
    """Why it did not do all that it found to do, and how to go on; none: it did."""
    lines = [TOO_MANY_MISSING] if report.held else []
    if report.is_complete or report.stopped_because is None:
        return lines
    go_on = f"tiergate sync --all --after {report.cursor}" if is_part else "tiergate sync --all --resume"
    return [
        *lines,
        f"Stopped early: {report.stopped_because}",
        f"To go on: {go_on}" if report.cursor else "Nobody was checked.",
    ]


def _outcome_words(outcome: SyncOutcome) -> str:
    words = _RESULTS[outcome.result]
    if outcome.result == "applied":
        words += ", something changed" if outcome.changed else ", as it was"
    if outcome.subscription is not None:
        words += f"; {outcome.subscription.status}, plan {outcome.subscription.plan_id or 'not mapped'}"
    return words
