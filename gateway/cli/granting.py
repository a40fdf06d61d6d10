"""`tiergate customers grant` and `ungrant`: a tier by hand, for a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gateway.cli.opening import ACTOR, find_policy, open_parts, run, say_if_unpublished
from gateway.cli.options import DURATION, ENDING, Ending, Who, examples, json_option, who_options
from gateway.cli.printing import instant_words, note, print_json, printable
from gateway.granting import Granting, TierGrantInvalid, TierGrantNotFound, TierOrder
from gateway.policyfiles import load_policy
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.cli.opening import Parts
    from gateway.settings import Settings


@click.command(
    "grant",
    epilog=examples(
        "tiergate customers grant --user-id user_42 --tier pro --until 2027-01-01 --because 'pays by invoice'",
        "tiergate customers grant --user-id user_42 --tier pro --for 30d --because 'a present'",
    ),
    short_help="Give a customer a tier until an end.",
)
@who_options
@click.option("--tier", required=True, metavar="TIER", help="A tier of the policy.")
@click.option("--until", "ending", type=ENDING, metavar="DATE", help="When it ends: a date (its first moment, UTC).")
@click.option("--for", "lasting_s", type=DURATION, metavar="30d", help="Or for how long from now.")
@click.option("--because", required=True, metavar="REASON", help="For the audit log.")
@json_option
def grant(who: Who, tier: str, ending: Ending | None, lasting_s: int | None, because: str, *, as_json: bool) -> None:
    """Give a customer a tier until an end, with or without a subscription.

    The higher of the two counts. Nothing is charged and Stripe is not asked. What the customer
    has used stays used. Another grant replaces the one before.
    """
    if (ending is None) == (lasting_s is None):
        raise click.UsageError("Say when it ends: either --until DATE or --for 30d.")
    end = ending if ending is not None else Ending(after_s=lasting_s)
    run(_grant(load_settings(), who, end, tier, because, as_json=as_json))


@click.command("ungrant", epilog=examples("tiergate customers ungrant --user-id user_42 --because 'pays no more'"))
@who_options
@click.option("--because", default="taken back by the operator", show_default=True, help="For the audit log.")
@json_option
def ungrant(who: Who, because: str, *, as_json: bool) -> None:
    """Take a granted tier back now. What the subscription grants stays."""
    run(_ungrant(load_settings(), who, because, as_json=as_json))


async def _grant(settings: Settings, who: Who, end: Ending, tier: str, because: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        row = await parts.find_customer(who)
        order = TierOrder(tier=tier, ends_at=end.instant(parts.now), reason=because)
        policy = load_policy(settings.policy_dir)
        try:
            granted = await _granting(parts).grant(row.customer_id, order, policy, actor=ACTOR)
        except TierGrantInvalid as error:
            raise click.ClickException(str(error)) from None
        grant = granted.row.grant
        if as_json:
            print_json(
                {
                    "customer_id": row.customer_id,
                    "tier": grant.tier,
                    "granted_at": grant.granted_at,
                    "ends_at": grant.ends_at,
                    "is_new": granted.is_new,
                    "in_cache": granted.in_force,
                }
            )
        else:
            ends = instant_words(grant.ends_at)
            click.echo(f"{row.customer_id} ({printable(row.user_id)}) has the tier {grant.tier!r} until {ends}.")
        if not granted.is_new:
            note("It was granted to the same end before; nothing was changed.")
        elif granted.before is not None:
            was = granted.before.grant
            note(f"It replaces the tier {printable(was.tier)!r} until {instant_words(was.ends_at)}.")
        say_if_unpublished(granted.in_force)


async def _ungrant(settings: Settings, who: Who, because: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        row = await parts.find_customer(who)
        try:
            is_published = await _granting(parts).take_back(
                row.customer_id, find_policy(settings), actor=ACTOR, because=because
            )
        except TierGrantNotFound as error:
            raise click.ClickException(str(error)) from None
        if as_json:
            print_json({"customer_id": row.customer_id, "taken_back": True, "in_cache": is_published})
        else:
            click.echo(f"{row.customer_id} ({printable(row.user_id)}) has what its subscription grants.")
        say_if_unpublished(is_published)


def _granting(parts: Parts) -> Granting:
    return Granting(parts.ledger, parts.publisher, parts.clock)
