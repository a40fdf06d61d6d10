"""`tiergate events`: the inbox of Stripe events."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.opening import ACTOR, open_parts, run
from gateway.cli.options import examples, json_option
from gateway.cli.printing import duration_words, instant_words, note, print_columns, print_facts, print_json
from gateway.ledger import EVENTS_KEPT_S, LAST_POSITION
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.ledger import InboxRow
    from gateway.settings import Settings


@click.group("events", short_help="Look at Stripe events, replay and acknowledge them.")
def events_group() -> None:
    """Look at the Stripe events that arrived, replay them, and acknowledge dead ones."""


@events_group.command("list", epilog=examples("tiergate events list --status dead"))
@click.option("--status", type=click.Choice(["pending", "claimed", "done", "dead"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many.")
@click.option(
    "--before", type=click.IntRange(1, LAST_POSITION), metavar="POSITION", help="Only older ones: the next page."
)
@json_option
def list_events(status: str | None, limit: int, before: int | None, *, as_json: bool) -> None:
    """List events, newest first.

    pending: waits for a worker, or for its next try. claimed: a worker has it. done. dead: given up;
    look at it with `show`, mend the cause, then `replay`, or `acknowledge` if there is nothing to work on.
    """
    run(_list(load_settings(), status, limit, before, as_json=as_json))


@events_group.command("show", epilog=examples("tiergate events show evt_1Nq2abcdEFGH"))
@click.argument("event_id")
@json_option
def show(event_id: str, *, as_json: bool) -> None:
    """Show one event: what became of it, and what Stripe sent."""
    run(_show(load_settings(), event_id, as_json=as_json))


@events_group.command(
    "replay", epilog=examples("tiergate events replay evt_1Nq2abcdEFGH", "tiergate events replay --all")
)
@click.argument("event_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every dead event: what made them so is mended.")
@json_option
def replay(event_id: str | None, *, everything: bool, as_json: bool) -> None:
    """Work on EVENT_ID again. Harmless at any time: an event only says that something is to be read again."""
    if everything is (event_id is not None):
        raise click.UsageError("Either one event, or --all.")
    settings = load_settings()
    run(_replay_dead(settings, as_json=as_json) if event_id is None else _replay(settings, event_id, as_json=as_json))


@events_group.command(
    "acknowledge",
    epilog=examples("tiergate events acknowledge evt_1Nq2abcdEFGH --because 'the meter is back'"),
    short_help="Have EVENT_ID, which is dead, done as it is.",
)
@click.argument("event_id")
@click.option("--because", required=True, metavar="REASON", help="For the audit log.")
@json_option
def acknowledge(event_id: str, because: str, *, as_json: bool) -> None:
    """Have EVENT_ID, which is dead, done without working on it again: you have seen to what it says.

    For those that say something to people, such as meter errors, and die again at every replay.
    """
    run(_acknowledge(load_settings(), event_id, because, as_json=as_json))


async def _list(settings: Settings, status: str | None, limit: int, before: int | None, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        rows = await parts.ledger.list_events(status=status, limit=limit, before=before)
        counts = await parts.ledger.inbox_counts()
        now = parts.now
    next_before = rows[-1].position if len(rows) == limit else None
    if as_json:
        print_json({"events": [_event_json(row) for row in rows], "next_before": next_before, **asdict(counts)})
        return
    print_columns(
        ("EVENT", "TYPE", "STATUS", "TRIES", "ARRIVED", "STRIPE CUSTOMER", "WHAT BECAME OF IT"),
        [
            (
                row.event_id,
                row.type,
                row.status,
                row.attempts,
                instant_words(row.received_at),
                row.stripe_customer_id,
                row.outcome or row.error,
            )
            for row in rows
        ],
    )
    totals = ", ".join(f"{count} {name}" for name, count in counts.by_status.items())
    note(totals + _waiting(counts.oldest_open_at, now))
    if next_before is not None:
        note(f"There may be more: tiergate events list --before {next_before}")


async def _show(settings: Settings, event_id: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        row = await parts.ledger.find_event(event_id)
    if row is None:
        raise _no_event(event_id)
    if as_json:
        print_json({**_event_json(row), "payload": _payload(row)})
        return
    print_facts(
        [
            ("Event", row.event_id),
            ("Type", row.type),
            ("Stripe customer", row.stripe_customer_id),
            ("Mode", "live" if row.livemode else "test"),
            ("API version", row.api_version),
            ("Arrived", instant_words(row.received_at)),
            ("Status", row.status),
            ("Tries", row.attempts),
            ("Finished" if row.finished_at else "Due", instant_words(row.finished_at or row.due_at)),
            ("Outcome", row.outcome),
            ("Last error", row.error),
        ]
    )
    click.echo(f"\n{json.dumps(_payload(row), indent=2)}")


async def _replay(settings: Settings, event_id: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        if not await parts.ledger.replay_event(event_id, parts.now):
            if await parts.ledger.find_event(event_id) is None:
                raise _no_event(event_id)
            raise click.ClickException(f"A worker has {event_id} just now. See `tiergate events show {event_id}`.")
    if as_json:
        print_json({"event_id": event_id, "status": "pending"})
    else:
        click.echo(f"{event_id} is due again: a running gateway takes it within seconds, a stopped one at its start.")


async def _acknowledge(settings: Settings, event_id: str, because: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        if not await parts.ledger.acknowledge_event(event_id, now=parts.now, actor=ACTOR, because=because):
            row = await parts.ledger.find_event(event_id)
            if row is None:
                raise _no_event(event_id)
            raise click.ClickException(f"{event_id} is not dead but {row.status}: only dead events are acknowledged.")
    if as_json:
        print_json({"event_id": event_id, "status": "done"})
    else:
        click.echo(f"{event_id} is acknowledged, and is forgotten {duration_words(EVENTS_KEPT_S)} from now.")


async def _replay_dead(settings: Settings, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        replayed = await parts.ledger.replay_dead(parts.now)
    if as_json:
        print_json({"replayed": replayed})
    else:
        click.echo(f"{replayed} dead events are due again: a running gateway takes them by and by.")


def _event_json(row: InboxRow) -> dict[str, Any]:
    fields = asdict(row)
    del fields["payload"]
    return fields


def _payload(row: InboxRow) -> Any:
    try:
        return json.loads(row.payload)
    except ValueError:
        return row.payload


def _no_event(event_id: str) -> click.ClickException:
    kept = duration_words(EVENTS_KEPT_S)
    return click.ClickException(
        f"There is no event {event_id!r}: it never arrived, or it was done more than {kept} ago. "
        "See `tiergate events list`; `tiergate sync` needs no event."
    )


def _waiting(since: int | None, now: int) -> str:
    return "" if since is None else f"; the oldest open one has waited {duration_words(now - since)}"
