"""`tiergate audit`: who or what changed access, from what to what, and why."""

from __future__ import annotations

import functools
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.opening import open_parts, run
from gateway.cli.options import ENDING, Ending, Who, examples, json_option
from gateway.cli.output import output_to
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.ledger import LAST_POSITION, AuditFilter
from gateway.settings import load_settings
from gateway.web.audit_export import Form, export_audit

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.cli.opening import Parts
    from gateway.settings import Settings


@click.group("audit")
def audit_group() -> None:
    """Look into the audit log, and export it. It can be added to and not changed."""


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose rows; the command gets them as `wanted`."""

    @click.option("--customer", "customer_id", metavar="ID", help="Only of this customer, by Tiergate's own id.")
    @click.option("--user-id", metavar="USER", help="Only of this customer, by the id of your application.")
    @click.option("--since", type=ENDING, metavar="7d|DATE", help="Only of the last 7 days, or since a date (UTC).")
    @click.option("--until", type=ENDING, metavar="7d|DATE", help="Only what is older.")
    @click.option("--actor", metavar="WHO", help="Only by: stripe, operator, admin, reconciliation, customer:ID, ...")
    @click.option("--action", metavar="WHAT", help="Only: subscription-changed, tier-granted, customer-blocked, ...")
    @functools.wraps(command)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        names = ("customer_id", "user_id", "since", "until", "actor", "action")
        return command(*args, wanted={name: kwargs.pop(name) for name in names}, **kwargs)

    return chosen


@audit_group.command("list", epilog=examples("tiergate audit list --user-id user_42 --since 7d"))
@filter_options
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option(
    "--before", type=click.IntRange(1, LAST_POSITION), metavar="NUMBER", help="Only older ones: the next page."
)
@json_option
def list_audit(wanted: dict[str, Any], limit: int, before: int | None, *, as_json: bool) -> None:
    """List entries, newest first."""
    run(_list(load_settings(), wanted, limit, before, as_json=as_json))


@audit_group.command(
    "export",
    epilog=examples(
        "tiergate audit export --format csv --since 2026-01-01 > audit.csv",
        "tiergate audit export --after 1834 >> audit.jsonl",
    ),
    short_help="Write all entries, oldest first.",
)
@filter_options
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "--after", type=click.IntRange(0, LAST_POSITION), default=0, metavar="NUMBER", help="Only newer ones: go on here."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
    metavar="FILE",
    help="Write it to FILE, instead of what is there; with --after, behind it.  [default: print it]",
)
def export(wanted: dict[str, Any], form: Form, after: int, output: Path) -> None:
    """Write all entries, oldest first, up to the newest one there is as it begins.

    Whoever keeps a copy goes on from there with `--after`: no entry is left out, and none
    comes twice. FILE is whole or as it was, whatever happens meanwhile.
    """
    run(_export(load_settings(), wanted, form, after, None if str(output) == "-" else output))


async def _list(settings: Settings, wanted: dict[str, Any], limit: int, before: int | None, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        rows = await parts.ledger.list_audit(limit=limit, before=before, which=await _filter(parts, **wanted))
    next_before = rows[-1].audit_id if len(rows) == limit else None
    if as_json:
        print_json({"entries": [asdict(row) for row in rows], "next_before": next_before})
        return
    print_columns(
        ("NUMBER", "WHEN", "CUSTOMER", "WHO", "WHAT", "WHY", "BEFORE", "AFTER"),
        [
            (
                row.audit_id,
                instant_words(row.at),
                row.customer_id,
                row.actor,
                row.action,
                row.because,
                access_words(row.access_before),
                access_words(row.access_after),
            )
            for row in rows
        ],
    )
    if next_before is not None:
        note(f"There may be more: the same command with --before {next_before}")


async def _export(settings: Settings, wanted: dict[str, Any], form: Form, after: int, file: Path | None) -> None:
    async with open_parts(settings) as parts:
        which = await _filter(parts, **wanted)
        upto = await parts.ledger.last_audit_id()
        with output_to(file, appends=after > 0) as (output, has_some):
            async for text in export_audit(parts.ledger, which, form, after=after, upto=upto, has_header=not has_some):
                output.write(text)
    note(f"To go on later: the same command with --after {max(upto, after)}")


async def _filter(
    parts: Parts,
    *,
    customer_id: str | None,
    user_id: str | None,
    since: Ending | None,
    until: Ending | None,
    **rest: str | None,
) -> AuditFilter:
    if customer_id is not None and user_id is not None:
        raise click.UsageError("Name one customer: either --customer ID or --user-id USER.")
    if user_id is not None:
        customer_id = (await parts.find_customer(Who(customer_id=None, user_id=user_id))).customer_id
    return AuditFilter(
        customer_id=customer_id, since=_instant(since, parts.now), until=_instant(until, parts.now), **rest
    )


def _instant(ago: Ending | None, now: int) -> int | None:
    """A date is an instant; a duration is so long ago."""
    if ago is None:
        return None
    return ago.at if ago.at is not None else now - (ago.after_s or 0)


def access_words(access: dict[str, Any] | None) -> str | None:
    """`pro, good`; `refused, lapsed`; None if nobody looked."""
    return None if access is None else f"{access['tier'] or 'refused'}, {access['standing']}"
