"""`tiergate meters`: what Stripe's Billing Meters were told of overage, and what could not be told."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.opening import ACTOR, open_parts, run
from gateway.cli.options import ENDING, Ending, Who, examples, json_option, name_one
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.core.metering import KNOWN_FOR_S
from gateway.ledger import UnbilledFilter
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.ledger import EndedWindowRow
    from gateway.settings import Settings

_OF_WINDOWS = ("unbilled", "acknowledged")
_ENDED_AT_ONCE = "what billed it ended at once, and no invoice asks for it"
_NOT_ASKED_FOR = frozenset({"ended_at", "ended_as"})


@click.group("meters", short_help="Look at reports of overage, and send dead ones again.")
def meters_group() -> None:
    """Look at reports of overage to Stripe, send dead ones again, and acknowledge what is on no invoice."""


@meters_group.command("list", epilog=examples("tiergate meters list --status dead"))
@click.option("--status", type=click.Choice(["pending", "sent", "dead", *_OF_WINDOWS]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@json_option
def list_reports(status: str | None, limit: int, *, as_json: bool) -> None:
    """List reports, newest first.

    pending: waits for a worker, or for its next try. sent: Stripe has it. dead: given up, or not counted by
    Stripe; mend what the error says, then `retry`. unbilled: what no invoice asks for, because the
    subscription or its metered item ended at once; bill it by hand, or let it go, then `acknowledge`. acknowledged:
    such that was seen to.
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


@meters_group.command(
    "acknowledge",
    epilog=examples(
        "tiergate meters acknowledge --user-id user_42 --because 'on invoice 2026-0117, by hand'",
        "tiergate meters acknowledge --user-id user_42 --meter requests --window 2026-11-24T03:55:07Z --because waived",
        "tiergate meters acknowledge --all --because 'let go'",
    ),
    short_help="Say that you have seen to units that are not billed.",
)
@click.option("--customer", "customer_id", metavar="ID", help="Tiergate's own id of the customer.")
@click.option("--user-id", metavar="USER", help="The id that your application gave the customer.")
@click.option("--meter", metavar="METER", help="Only of this one, by the policy's name or by that of Stripe's meter.")
@click.option("--window", type=ENDING, metavar="40d|DATE", help="Only of the period in which this instant lies.")
@click.option("--all", "everything", is_flag=True, help="Of every customer.")
@click.option("--because", required=True, metavar="REASON", help="What became of the units, for the audit log.")
@json_option
def acknowledge(
    *,
    customer_id: str | None,
    user_id: str | None,
    meter: str | None,
    window: Ending | None,
    everything: bool,
    because: str,
    as_json: bool,
) -> None:
    """Say that you have seen to units that no invoice asks for: billed them by hand, or let them go.

    They stay in `list --status acknowledged` and on the statement, and nothing calls for action any more.
    """
    if everything and any(one is not None for one in (customer_id, user_id, meter, window)):
        raise click.UsageError("Either --all, or one customer.")
    who = None if everything else name_one(customer_id, user_id)
    run(_acknowledge(load_settings(), who, meter, window, because, as_json=as_json))


async def _list(settings: Settings, status: str | None, limit: int, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        rows = [] if status in _OF_WINDOWS else await parts.ledger.list_reports(status=status, limit=limit)
        windows = {
            name: await parts.ledger.list_unbilled(is_acknowledged=name == "acknowledged", limit=limit)
            for name in _OF_WINDOWS
            if status in {None, name}
        }
        counts, _ = await parts.ledger.report_counts()
    if as_json:
        shown = {name: [_window_json(row) for row in windows.get(name, ())] for name in _OF_WINDOWS}
        print_json({"reports": [asdict(row) for row in rows], **shown, "by_status": counts})
        return
    print_columns(
        ("REPORT", "MADE", "CUSTOMER", "METER", "UNITS", "TOTAL", "STATUS", "TRIES", "ERROR"),
        [_window_row(row) for name in windows for row in windows[name]]
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


async def _acknowledge(
    settings: Settings, who: Who | None, meter: str | None, window: Ending | None, because: str, *, as_json: bool
) -> None:
    async with open_parts(settings) as parts:
        customer_id = None if who is None else (await parts.find_customer(who)).customer_id
        at = None if window is None else window.at if window.at is not None else int(parts.now) - (window.after_s or 0)
        which = UnbilledFilter(customer_id=customer_id, meter=meter, at=at)
        found = await parts.ledger.acknowledge_unbilled(which, now=int(parts.now), actor=ACTOR, because=because)
    if not found and who is not None:
        raise click.ClickException("Nothing of that waits. See `tiergate meters list --status unbilled`.")
    if as_json:
        print_json({"acknowledged": [_window_json(row) for row in found]})
        return
    units = sum(row.unbilled or 0 for row in found)
    click.echo(f"{units:,} units in {len(found)} periods are acknowledged.")


def _window_json(row: EndedWindowRow) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name not in _NOT_ASKED_FOR}


def _window_row(row: EndedWindowRow) -> tuple[object, ...]:
    made = None if row.closed_at is None else instant_words(row.closed_at)
    units, total = f"{row.unbilled or 0:,}", f"{row.total:,}"
    since = datetime.fromtimestamp(row.window_starts_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = "unbilled" if row.acknowledged_at is None else "acknowledged"
    what = f"period since {since}: {_ENDED_AT_ONCE}"
    return "", made, row.customer_id, row.stripe_meter, units, total, status, None, what


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
