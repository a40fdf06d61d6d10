"""`tiergate customers usage`: what one customer used, day by day or hour by hour."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import click

from gateway.cli.opening import open_parts, run
from gateway.cli.options import Who, examples, json_option, who_options
from gateway.cli.printing import note, print_columns, print_json
from gateway.ledger import DAY_S, HOUR_S
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.settings import Settings

_MOST_LINES = 5000
_STEPS = {"day": DAY_S, "hour": HOUR_S}


@click.command("usage", epilog=examples("tiergate customers usage --user-id user_42 --by hour --last 24 --per route"))
@who_options
@click.option("--by", type=click.Choice(["day", "hour"]), default="day", show_default=True, help="Length of a line.")
@click.option(
    "--last", type=click.IntRange(1, 3660), default=30, show_default=True, help="How many, with the one that runs."
)
@click.option("--per", type=click.Choice(["key", "route"]), multiple=True, help="Tell keys or routes apart.")
@json_option
def usage(who: Who, by: Literal["day", "hour"], last: int, per: tuple[str, ...], *, as_json: bool) -> None:
    """Show a customer's requests, refusals and billable units (UTC)."""
    run(_usage(load_settings(), who, by, last, per, as_json=as_json))


async def _usage(
    settings: Settings, who: Who, by: Literal["day", "hour"], last: int, per: tuple[str, ...], *, as_json: bool
) -> None:
    step = _STEPS[by]
    async with open_parts(settings) as parts:
        row = await parts.find_customer(who)
        to_at = parts.now // step * step + step
        lines = await parts.ledger.list_history(
            row.customer_id,
            from_at=max(0, to_at - last * step),
            to_at=to_at,
            by=by,
            per_key="key" in per,
            per_route="route" in per,
            limit=_MOST_LINES,
        )
    if as_json:
        print_json({"customer_id": row.customer_id, "by": by, "lines": [asdict(line) for line in lines]})
        return
    shape = "%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:%M"
    print_columns(
        (by.upper(), "METER", *(name.upper() for name in per), "REQUESTS", "DENIED", "UNITS"),
        [
            (
                datetime.fromtimestamp(line.starts_at, UTC).strftime(shape),
                line.meter,
                *(line.key_id if name == "key" else line.route for name in per),
                f"{line.requests:,}",
                f"{line.denied:,}",
                f"{line.units:,}",
            )
            for line in lines
        ],
    )
    if len(lines) == _MOST_LINES:
        note(f"There may be more than these {_MOST_LINES:,} lines; ask for fewer days.")
