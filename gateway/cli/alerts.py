"""`tiergate alerts`: what the seller was told about customers' quotas, and what could not be told."""

from __future__ import annotations

import json
from dataclasses import asdict
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import click

from gateway.alerts import open_channels
from gateway.cli.opening import open_parts, run
from gateway.cli.options import examples, json_option
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.core.alerts import trial_body
from gateway.notify import NotTaken
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.ledger import AlertRow
    from gateway.settings import Settings


@click.group("alerts", short_help="Look at alerts, send dead ones again, try their ways.")
def alerts_group() -> None:
    """Look at alerts about customers' quotas, send dead ones again, and try the ways they go."""


@alerts_group.command("list", epilog=examples("tiergate alerts list --status dead"))
@click.option("--status", type=click.Choice(["pending", "claimed", "done", "dead"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@json_option
def list_alerts(status: str | None, limit: int, *, as_json: bool) -> None:
    """List alerts, newest first.

    pending: waits for a worker, or for its next try. claimed: a worker sends it. done: taken. dead: given up;
    mend the receiver, then `retry`.
    """
    run(_list(load_settings(), status, limit, as_json=as_json))


@alerts_group.command(
    "retry",
    epilog=examples("tiergate alerts retry alert_3cf95c2f757b5cbccfdd2c2a642bbdc7"),
    short_help="Send ALERT_ID again where it was not taken.",
)
@click.argument("alert_id")
def retry(alert_id: str) -> None:
    """Send ALERT_ID again on every way on which it was not taken, with all its tries."""
    run(_retry(load_settings(), alert_id))


@alerts_group.command(
    "test", epilog=examples("tiergate alerts test"), short_help="Send a test event now on every way that is set."
)
def test() -> None:
    """Send an event of type alerts.test now, once, on every way that settings name."""
    if not run(_test(load_settings())):
        raise SystemExit(1)


async def _list(settings: Settings, status: str | None, limit: int, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        rows = await parts.ledger.list_alerts(status=status, limit=limit)
        counts = await parts.ledger.alert_counts()
    if as_json:
        print_json({"alerts": [_alert_json(row) for row in rows], "by_status": counts})
        return
    print_columns(
        ("ALERT", "WAY", "NOTICED", "CUSTOMER", "COUNTER", "REACHED", "STATUS", "TRIES", "LAST ERROR"),
        [
            (
                row.alert_id,
                row.channel,
                instant_words(row.noticed_at),
                row.customer_id,
                row.counter,
                f"{row.percent} %",
                row.status,
                row.attempts,
                row.error,
            )
            for row in rows
        ],
    )
    note(", ".join(f"{count} {name}" for name, count in counts.items()))


async def _retry(settings: Settings, alert_id: str) -> None:
    async with open_parts(settings) as parts:
        ways = await parts.ledger.retry_alert(alert_id, parts.now)
    if not ways:
        raise click.ClickException(f"There is no alert {alert_id!r} that was not taken. See `tiergate alerts list`.")
    click.echo(f"{alert_id} is due again: a running gateway sends it within seconds.")


async def _test(settings: Settings) -> bool:
    async with open_parts(settings) as parts, open_channels(settings) as channels:
        if not channels:
            raise click.ClickException(
                "No way is set: TIERGATE_ALERT_URL for a webhook, TIERGATE_SMTP_HOST for e-mail."
            )
        event_id, taken = f"alert_test_{token_hex(8)}", 0
        for channel in channels:
            try:
                await channel.send(event_id, trial_body(parts.now))
            except NotTaken as error:
                click.echo(f"{channel.name}: not taken, {error}")
            else:
                taken += 1
                click.echo(f"{channel.name}: taken ({event_id})")
    return taken == len(channels)


def _alert_json(row: AlertRow) -> dict[str, Any]:
    return {**asdict(row), "body": json.loads(row.body)}
