"""`tiergate meters`: what Stripe's Billing Meters were told of overage, and what could not be told."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gateway.cli.opening import open_parts, run
from gateway.cli.options import examples, json_option
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.core.metering import KNOWN_FOR_S
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.ledger import EndedWindowRow
    from gateway.settings import Settings

_ENDED_AT_ONCE = "the subscription ended at once, and no invoice asks for it"
_UNBILLED = frozenset({"customer_id", "meter", "window_starts_at", "stripe_meter", "total", "closed_at", "unbilled"})


@click.group("meters")
def meters_group() -> None:
    """Look at reports of overage to Stripe, and send dead ones again."""


@meters_group.command("list", epilog=examples("tiergate meters list --status dead"))
@click.option("--status", type=click.Choice(["pending", "sent", "dead", "unbilled"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@json_option
def list_reports(status: str | None, limit: int, *, as_json: bool) -> None:
    """List reports, newest first.

    pending: waits for a worker, or for its next try. sent: Stripe has it. dead: given up, or not counted by
    Stripe; mend what the error says, then `retry`. unbilled: no report, but what no invoice asks for because the
    subscription ended at once; bill it by hand, or let it go.
    """
    run(_list(load_settings(), status, limit, as_json=as_json))


@meters_group.command(
    "retry", epilog=examples("tiergate meters retry tiergate-4be1c6c9b5f0f0d1e6a2", "tiergate meters retry --all")
)
@click.argument("identifier", required=False)
@click.option("--all", "everything", is_flag=True, help="Every dead report that Stripe refused, and none in doubt.")
@click.option(
    "--although-unknown",
    is_flag=True,
    help="Also if nobody could tell whether Stripe took it. First see in Stripe that its meter lacks these units.",
)
def retry(identifier: str | None, *, everything: bool, although_unknown: bool) -> None:
    """Send the report IDENTIFIER again, with all its tries."""
    if everything is (identifier is not None) or (everything and although_unknown):
        raise click.UsageError("Either one report, or --all, which sends none in doubt.")
    settings = load_settings()
    if identifier is None:
        run(_retry_refused(settings))
    else:
        run(_retry(settings, identifier, although_unknown=although_unknown))


async def _list(settings: Settings, status: str | None, limit: int, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        rows = [] if status == "unbilled" else await parts.ledger.list_reports(status=status, limit=limit)
        unbilled = await parts.ledger.list_unbilled(limit=limit) if status in {None, "unbilled"} else []
        counts, _ = await parts.ledger.report_counts()
    if as_json:
        shown = [{name: value for name, value in asdict(row).items() if name in _UNBILLED} for row in unbilled]
        print_json({"reports": [asdict(row) for row in rows], "unbilled": shown, "by_status": counts})
        return
    print_columns(
        ("REPORT", "MADE", "CUSTOMER", "METER", "UNITS", "TOTAL", "STATUS", "TRIES", "ERROR"),
        [*map(_unbilled_row, unbilled)]
        + [
            (
                row.identifier,
                instant_words(row.made_at),
                row.customer_id,
                row.stripe_meter,
                f"{row.units:,}",
                f"{row.total:,}",
                row.status,
                row.attempts,
                row.error,
            )
            for row in rows
        ],
    )
    note(", ".join(f"{count} {name}" for name, count in counts.items()))


async def _retry_refused(settings: Settings) -> None:
    """Those that Stripe took and did not count, or may have taken, are left: each needs somebody to look."""
    async with open_parts(settings) as parts:
        retried = await parts.ledger.retry_refused_reports(parts.now)
        counts, _ = await parts.ledger.report_counts()
    click.echo(f"{retried} reports are due again: a running gateway sends them by and by.")
    if counts["dead"]:
        note(f"{counts['dead']} stay dead, because Stripe has or may have them: tiergate meters list --status dead")


def _unbilled_row(row: EndedWindowRow) -> tuple[object, ...]:
    made = None if row.closed_at is None else instant_words(row.closed_at)
    units, total = f"{row.unbilled or 0:,}", f"{row.total:,}"
    return "", made, row.customer_id, row.stripe_meter, units, total, "unbilled", None, _ENDED_AT_ONCE


async def _retry(settings: Settings, identifier: str, *, although_unknown: bool) -> None:
    async with open_parts(settings) as parts:
        found = await parts.ledger.find_reports([identifier])
        if not found or found[0].status == "sent":
            raise click.ClickException(
                f"There is no report {identifier!r} that was not sent. See `tiergate meters list`."
            )
        tried_at = found[0].tried_at if found[0].sent_at is None else None
        is_unknown = tried_at is not None and parts.now - tried_at > KNOWN_FOR_S
        if is_unknown and not although_unknown:
            raise click.ClickException(
                "Nobody could tell whether Stripe took this report, and Stripe may not know its identifier any more:"
                f" sent again, its {found[0].units:,} units may be billed twice. See in Stripe that the meter lacks"
                " them, then add --although-unknown."
            )
        await parts.ledger.retry_report(identifier, parts.now, was_not_taken=is_unknown)
    click.echo(f"{identifier} is due again: a running gateway sends it within seconds.")
