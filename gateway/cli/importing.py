"""`tiergate customers import`: customers that were at Stripe before this gateway, or that its ledger lost."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.adopting import Adopting, CursorUnknown, ImportOrder
from gateway.cli.opening import ACTOR, open_parts, run, say_if_unpublished
from gateway.cli.opening_stripe import open_sync
from gateway.cli.options import examples, json_option
from gateway.cli.printing import console, note, print_json, printable
from gateway.core.adoption import METADATA
from gateway.installation import find_changes
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.adopting import ImportReport
    from gateway.settings import Settings


class _SourceType(click.ParamType[str]):
    """`metadata:KEY`, `email` or `id`."""

    name = "source"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The source; fails with the three."""
        if value not in {"email", "id"} and (not value.startswith(METADATA) or value == METADATA):
            self.fail(f"{value!r} is neither metadata:KEY nor email nor id.", param, ctx)
        return value


@click.command(
    "import",
    epilog=examples(
        "tiergate customers import --from-stripe --dry-run",
        "tiergate customers import --from-stripe --user-id-from metadata:account_id --write-metadata",
        "tiergate customers import --from-stripe --of-ledger unnamed --dry-run",
    ),
    short_help="Make customers of those whom Stripe has.",
)
@click.option("--from-stripe", is_flag=True, required=True, help="From the Stripe account in the settings.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option(
    "--user-id-from",
    "source",
    type=_SourceType(),
    default="metadata:user_id",
    show_default=True,
    metavar="metadata:KEY|email|id",
    help="Where your application's id of each customer is.",
)
@click.option("--after", metavar="CUS", help="Go on behind this Stripe customer.")
@click.option("--per-second", type=click.FloatRange(0.1, 80), default=10.0, show_default=True, help="Requests.")
@click.option("--write-metadata", is_flag=True, help="Put Tiergate's ids into the metadata at Stripe.")
@click.option(
    "--of-ledger",
    "of_ledgers",
    multiple=True,
    metavar="ID|unnamed",
    help="This ledger lost the customers of that one: make them again. Of its own it does so always.",
)
@json_option
def import_customers(
    source: str,
    after: str | None,
    per_second: float,
    of_ledgers: tuple[str, ...],
    *,
    from_stripe: bool,
    dry_run: bool,
    write_metadata: bool,
    as_json: bool,
) -> None:
    """Make customers of those whom Stripe has, and give them what their subscriptions grant.

    Each is bound to the customer with its user id, or to a new one, and read at once. Whoever
    is bound already stays so: doing it again changes nothing. Nobody is made twice. What cannot
    be decided is listed with what to do, and makes the exit code 1. Nothing is written to Stripe
    without --write-metadata.

    Customers that this ledger made and does not have, as after a restore from a backup, are made
    again under the ids that their metadata names.
    """
    del from_stripe
    order = ImportOrder(
        source=source,
        after=after,
        per_second=per_second,
        is_dry=dry_run,
        writes_metadata=write_metadata,
        of_ledgers=frozenset(of_ledgers),
    )
    raise SystemExit(run(_import(load_settings(), order, as_json=as_json)))


async def _import(settings: Settings, order: ImportOrder, *, as_json: bool) -> int:
    async with open_parts(settings) as parts, open_sync(parts) as syncing:
        for change in await find_changes(parts.ledger, settings):
            raise click.ClickException(f"{change.what}. {change.fix}")
        adopting = Adopting(
            ledger=parts.ledger, sync=syncing, provisioning=parts.provisioning, clock=parts.clock, actor=ACTOR
        )
        try:
            report = await _with_progress(adopting, order)
        except CursorUnknown:
            raise click.ClickException(f"Stripe lists no customer {order.after!r} to go on behind.") from None
        if as_json:
            conflicts = [{**asdict(one), "fix": one.fix} for one in report.conflicts]
            print_json({**asdict(report), "conflicts": conflicts, "dry_run": order.is_dry})
        else:
            _print_report(report, order)
        say_if_unpublished(parts.has_cache or not report.granted)
    return int(bool(report.conflicts) or report.stopped_because is not None)


async def _with_progress(adopting: Adopting, order: ImportOrder) -> ImportReport:
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("import", total=None)
        return await adopting.run(
            order, lambda report: progress.update(task, total=report.listed, completed=report.done)
        )


def _print_report(report: ImportReport, order: ImportOrder) -> None:
    would = "would be " if order.is_dry else ""
    click.echo(
        f"{report.listed} Stripe customers: {report.created} {would}made, {report.restored} {would}made again, "
        f"{report.bound} {would}bound to customers that were there, {report.known} known, "
        f"{len(report.conflicts)} conflicts."
        + (" Nothing was written." if order.is_dry else f" Access of {report.granted} changed.")
    )
    for one in report.conflicts:
        note(f"  {one.stripe_customer_id}: {one.code}: {printable(one.detail)}")
        note(f"    {one.fix}")
    if report.stopped_because is not None:
        note(f"Stopped early: {report.stopped_because}")
        note(f"To go on: the same command{f' with --after {report.cursor}' if report.cursor else ' again'}")
