"""`tiergate credits`: units of one customer beside its quota."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.opening import ACTOR, open_parts, run, say_if_unpublished
from gateway.cli.options import ENDING, Ending, Who, examples, json_option, who_options
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.core.limit_text import REQUESTS
from gateway.crediting import Crediting, CreditOrder
from gateway.policyfiles import load_policy
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.cli.opening import Parts
    from gateway.ledger import GrantRow
    from gateway.settings import Settings


@click.group("credits", short_help="Grant, list and revoke units beyond a quota.")
def credits_group() -> None:
    """Grant, list and revoke credits: units for what a quota cannot cover."""


@credits_group.command(
    "grant",
    epilog=examples(
        "tiergate credits grant 5000 --user-id user_42 --reference ticket-118 --because 'lost a day to our outage'",
        "tiergate credits grant 200000 --meter tokens --user-id user_42 --expires 90d",
    ),
    short_help="Give a customer UNITS, spent when its quota is used up.",
)
@click.argument("units", type=click.IntRange(1, 2**53 - 1))
@who_options
@click.option("--meter", default=REQUESTS, show_default=True, help="What they are units of.")
@click.option("--reference", metavar="TEXT", help="Your name for this grant. Asked for again, it is granted once.")
@click.option("--expires", type=ENDING, metavar="30d|DATE", help="When they end. Default: as the policy says.")
@click.option("--never-expires", is_flag=True, help="They last until they are used, whatever the policy says.")
@click.option("--because", default="granted by the operator", show_default=True, help="For the audit log.")
@json_option
def grant(who: Who, expires: Ending | None, *, as_json: bool, because: str, **order: Any) -> None:
    """Give a customer UNITS, spent when its quota of the meter is used up, soonest to expire first."""
    run(_grant(load_settings(), who, expires, {**order, "reason": because}, as_json=as_json))


@credits_group.command("list", epilog=examples("tiergate credits list --user-id user_42"))
@who_options
@click.option("--all", "everything", is_flag=True, help="Those that are used up, revoked or expired too.")
@json_option
def list_credits(who: Who, *, everything: bool, as_json: bool) -> None:
    """List a customer's credits, oldest first. What is used is as of the last settlement."""
    run(_list(load_settings(), who, everything=everything, as_json=as_json))


@credits_group.command(
    "revoke", epilog=examples("tiergate credits revoke 7hT0aB9cQ2xZ --user-id user_42 --because 'granted twice'")
)
@click.argument("grant_id")
@who_options
@click.option("--because", default="revoked by the operator", show_default=True, help="For the audit log.")
@json_option
def revoke(grant_id: str, who: Who, because: str, *, as_json: bool) -> None:
    """Take back what is left of GRANT_ID. What was spent of it stays spent."""
    run(_revoke(load_settings(), who, grant_id, because, as_json=as_json))


async def _grant(settings: Settings, who: Who, expires: Ending | None, order: dict[str, Any], *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        customer = await parts.find_customer(who)
        granted = await _crediting(parts).grant(
            customer.customer_id,
            CreditOrder(expires_at=None if expires is None else expires.instant(parts.now), **order),
            load_policy(settings.policy_dir),
            actor=ACTOR,
        )
        row = granted.row
        if as_json:
            print_json({**grant_json(row), "is_new": granted.is_new, "in_cache": granted.in_force})
        else:
            until = instant_words(row.grant.expires_at)
            ends = "never expire" if until is None else f"expire at {until}"
            click.echo(f"{row.grant.grant_id}: {row.grant.units:,} {row.grant.meter}; they {ends}.")
        if not granted.is_new:
            note(f"They were granted before, under the reference {row.reference!r}; nothing was added.")
        say_if_unpublished(granted.in_force)


async def _list(settings: Settings, who: Who, *, everything: bool, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        customer = await parts.find_customer(who)
        rows = await _crediting(parts).list(customer.customer_id, include_ended=everything)
    if as_json:
        print_json({"customer_id": customer.customer_id, "credits": [grant_json(row) for row in rows]})
        return
    print_columns(
        ("GRANT", "METER", "UNITS", "USED", "EXPIRES", "REFERENCE", "STATE", "WHY"),
        [
            (
                row.grant.grant_id,
                row.grant.meter,
                f"{row.grant.units:,}",
                f"{row.used:,}",
                instant_words(row.grant.expires_at) or "never",
                row.reference,
                row.ended or "live",
                row.reason,
            )
            for row in rows
        ],
    )


async def _revoke(settings: Settings, who: Who, grant_id: str, because: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        customer = await parts.find_customer(who)
        is_published = await _crediting(parts).revoke(customer.customer_id, grant_id, actor=ACTOR, because=because)
        if as_json:
            print_json({"grant_id": grant_id, "revoked": True, "in_cache": is_published})
        else:
            click.echo(f"Credits {grant_id} are revoked.")
        say_if_unpublished(is_published)


def _crediting(parts: Parts) -> Crediting:
    return Crediting(parts.ledger, parts.publisher, parts.clock)


def grant_json(row: GrantRow) -> dict[str, Any]:
    """A grant for a program."""
    return {
        "grant_id": row.grant.grant_id,
        "customer_id": row.customer_id,
        "reference": row.reference,
        "meter": row.grant.meter,
        "units": row.grant.units,
        "used": row.used,
        "granted_at": row.grant.granted_at,
        "expires_at": row.grant.expires_at,
        "reason": row.reason,
        "ended": row.ended,
        "ended_at": row.ended_at,
    }
