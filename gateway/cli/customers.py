"""`tiergate customers`: who is billed, what they may do now, and what was done to them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from gateway.blocking import Blocking
from gateway.cli.granting import grant, ungrant
from gateway.cli.importing import import_customers
from gateway.cli.opening import ACTOR, find_policy, open_parts, run, say_if_unpublished
from gateway.cli.opening_stripe import open_billing
from gateway.cli.options import Who, examples, json_option, who_options
from gateway.cli.portrait import draw_portrait, print_portrait
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.cli.spend_caps import spend_cap
from gateway.cli.usage import usage
from gateway.core.user_id import UserIdInvalid, check_user_id
from gateway.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.cli.opening import Parts
    from gateway.ledger import CustomerRow
    from gateway.settings import Settings

_AUDIT_ROWS = 10


@click.group("customers", short_help="Create, import, show and block customers; grant tiers.")
def customers_group() -> None:
    """Create, import, list, show, block and unblock customers, grant tiers by hand, and look back at use."""


for _command in (usage, grant, ungrant, spend_cap, import_customers):
    customers_group.add_command(_command)


@customers_group.command(
    "create",
    epilog=examples("tiergate customers create --user-id user_42"),
    short_help="Record a customer before it has bought anything.",
)
@click.option("--user-id", required=True, metavar="USER", help="The id that your application gave the customer.")
@json_option
def create(user_id: str, *, as_json: bool) -> None:
    """Record a customer before it has bought anything, for instance to give it a key."""
    try:
        check_user_id(user_id)
    except UserIdInvalid as error:
        raise click.BadParameter(str(error), param_hint="'--user-id'") from None
    run(_create(load_settings(), user_id, as_json=as_json))


@customers_group.command("list", epilog=examples("tiergate customers list --limit 20"))
@click.option("--after", default="", metavar="ID", help="Continue behind this customer id.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many.")
@json_option
def list_customers(after: str, limit: int, *, as_json: bool) -> None:
    """List customers in the order of their ids, a page at a time."""
    run(_list(load_settings(), after, limit, as_json=as_json))


@customers_group.command(
    "show",
    epilog=examples("tiergate customers show --user-id user_42"),
    short_help="Show everything about one customer.",
)
@who_options
@json_option
def show(who: Who, *, as_json: bool) -> None:
    """Show everything about one customer: standing, tier, limits and use, keys, last changes."""
    run(_show(load_settings(), who, as_json=as_json))


@customers_group.command(
    "block",
    epilog=examples("tiergate customers block --user-id user_42 --because 'scrapes the catalogue'"),
    short_help="Refuse every call of a customer, whatever Stripe says.",
)
@who_options
@click.option("--because", required=True, metavar="REASON", help="For the audit log.")
@json_option
def block(who: Who, because: str, *, as_json: bool) -> None:
    """Refuse every call of a customer from now on, whatever Stripe says, and close its open checkout pages.

    Its subscription goes on.
    """
    run(_block(load_settings(), who, because, as_json=as_json))


@customers_group.command(
    "unblock",
    epilog=examples("tiergate customers unblock --user-id user_42"),
    short_help="Let a blocked customer in again.",
)
@who_options
@click.option("--because", default="unblocked by the operator", show_default=True, help="For the audit log.")
@json_option
def unblock(who: Who, because: str, *, as_json: bool) -> None:
    """Let a blocked customer in again, as far as its subscription goes."""
    run(_unblock(load_settings(), who, because, as_json=as_json))


async def _create(settings: Settings, user_id: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        row = await parts.provisioning.create_customer(user_id, actor=ACTOR)
        if as_json:
            print_json(customer_json(row))
        else:
            click.echo(f"Customer {row.customer_id} is {user_id!r}.")
            note(f"Next: tiergate keys issue --customer {row.customer_id}")


async def _list(settings: Settings, after: str, limit: int, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        rows = await parts.ledger.list_customers(after=after, limit=limit)
    next_after = rows[-1].customer_id if len(rows) == limit else None
    if as_json:
        print_json({"customers": [customer_json(row) for row in rows], "next_after": next_after})
        return
    print_columns(
        ("CUSTOMER", "USER ID", "STRIPE", "CREATED", "STATE"),
        [
            (
                row.customer_id,
                row.user_id,
                row.stripe_customer_id,
                instant_words(row.created_at),
                "blocked" if row.blocked else "open",
            )
            for row in rows
        ],
    )
    if next_after is not None:
        note(f"There may be more: tiergate customers list --after {next_after}")


async def _show(settings: Settings, who: Who, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        row = await parts.find_customer(who)
        portrait = await draw_portrait(parts, row)
        keys = await parts.provisioning.list(row.customer_id)
        audit = await parts.ledger.list_audit(row.customer_id, _AUDIT_ROWS)
    if as_json:
        print_json({**portrait.as_json(keys), "audit": [asdict(entry) for entry in audit]})
    else:
        print_portrait(portrait, keys, audit)


async def _block(settings: Settings, who: Who, because: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts, _open_blocking(parts) as blocking:
        row = await parts.find_customer(who)
        block = await blocking.block(row.customer_id, find_policy(settings), actor=ACTOR, because=because)
    closed = block.pages_closed
    if as_json:
        told = {"customer_id": row.customer_id, "blocked": True, "in_cache": block.is_published}
        print_json({**told, "checkouts_closed": closed})
    else:
        click.echo(f"Customer {row.customer_id} ({row.user_id}) is blocked.")
        if closed:
            click.echo(f"Checkout pages that were open are closed: {closed}.")
    say_if_unpublished(block.is_published)
    if closed is None:
        note(
            "Stripe did not say whether a checkout page is open, which could still be paid. It is closed when the "
            "customer is next read of Stripe, or by this command again; and it expires within a day."
        )


async def _unblock(settings: Settings, who: Who, because: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts, _open_blocking(parts) as blocking:
        row = await parts.find_customer(who)
        is_published = await blocking.unblock(row.customer_id, find_policy(settings), actor=ACTOR, because=because)
    if as_json:
        print_json({"customer_id": row.customer_id, "blocked": False, "in_cache": is_published})
    else:
        click.echo(f"Customer {row.customer_id} ({row.user_id}) is open again.")
    say_if_unpublished(is_published)


@asynccontextmanager
async def _open_blocking(parts: Parts) -> AsyncIterator[Blocking]:
    billing = open_billing(parts.settings)
    try:
        yield Blocking(ledger=parts.ledger, provisioning=parts.provisioning, billing=billing)
    finally:
        await billing.aclose()


def customer_json(row: CustomerRow) -> dict[str, Any]:
    """A customer for a program."""
    return {
        "customer_id": row.customer_id,
        "user_id": row.user_id,
        "stripe_customer_id": row.stripe_customer_id,
        "created_at": row.created_at,
        "blocked": row.blocked,
        "version": row.version,
        "in_cache": row.published_version == row.version,
    }
