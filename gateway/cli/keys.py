"""`tiergate keys`: API keys of one customer. `tiergate secret`: a secret for `.env`."""

from __future__ import annotations

import secrets
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.opening import ACTOR, open_parts, policy_refused, run, say_if_unpublished
from gateway.cli.options import ENDING, DurationType, Ending, Who, examples, json_option, who_options
from gateway.cli.printing import instant_words, note, print_columns, print_json
from gateway.core.key_order import KeyOrder
from gateway.core.key_place import key_place, parse_key_place
from gateway.core.webhook_signature import SECRET_PREFIX
from gateway.policyfiles import LimitInvalid, PolicyInvalid, load_policy, parse_key_limit
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.core.limits import Limit
    from gateway.ledger import KeyRow
    from gateway.provisioning import IssuedKey
    from gateway.settings import Settings

_SECRET_BYTES = 32
OVERLAP = DurationType(longest_s=30 * 86_400)


def _read_place(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, str] | None:
    try:
        return None if text is None else parse_key_place(text)
    except ValueError:
        raise click.BadParameter("not what a page before ended with.") from None


@click.group("keys")
def keys_group() -> None:
    """Issue, list, rotate and revoke API keys."""


@keys_group.command(
    "issue",
    epilog=examples(
        "tiergate keys issue --user-id user_42 --name production",
        "tiergate keys issue --user-id user_42 --name reports \\",
        "    --scope 'GET /v1/reports/**' --limit '100 per day' --expires 90d",
        "tiergate keys issue --user-id user_42 --name office --allow-ip 203.0.113.0/24",
    ),
)
@who_options
@click.option("--name", default="default", show_default=True, help="What the key is for, in your words.")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="Only these calls; repeatable.")
@click.option("--limit", "limits", multiple=True, metavar="LIMIT", help="A limit of the key's own; repeatable.")
@click.option("--allow-ip", "allow", multiple=True, metavar="ADDRESS|CIDR", help="Only from there; repeatable.")
@click.option("--expires", type=ENDING, metavar="30d|DATE", help="When it stops working. Default: never.")
@json_option
def issue(
    who: Who,
    name: str,
    scopes: tuple[str, ...],
    limits: tuple[str, ...],
    allow: tuple[str, ...],
    expires: Ending | None,
    *,
    as_json: bool,
) -> None:
    """Issue a key and print it, once: only its digest is kept.

    The key goes to standard output, everything else to standard error.
    """
    settings = load_settings()
    order = KeyOrder(name=name, scopes=scopes, limits=_parse_limits(limits, settings), limit_texts=limits, allow=allow)
    run(_issue(settings, who, order, expires, as_json=as_json))


@keys_group.command("list", epilog=examples("tiergate keys list --user-id user_42"))
@who_options
@click.option("--all", "everything", is_flag=True, help="Revoked keys too.")
@click.option("--after", callback=_read_place, metavar="PLACE", help="Continue where the page before ended.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many.")
@json_option
def list_keys(who: Who, after: tuple[int, str] | None, limit: int, *, everything: bool, as_json: bool) -> None:
    """List a customer's keys, oldest first, a page at a time. Their texts are kept nowhere."""
    run(_list(load_settings(), who, after, limit, everything=everything, as_json=as_json))


@keys_group.command(
    "rotate",
    epilog=examples("tiergate keys rotate 4fT0aB9cQ2xZ --user-id user_42 --overlap 2h"),
    short_help="Replace KEY_ID by a new key that may do the same.",
)
@click.argument("key_id")
@who_options
@click.option("--overlap", type=OVERLAP, default="24h", show_default=True, help="How long the old key still works.")
@json_option
def rotate(key_id: str, who: Who, overlap: int, *, as_json: bool) -> None:
    """Replace KEY_ID by a new key with the same name, scopes, limits, addresses and expiry; print that, once.

    A key is rotated once: then its successor is the one to rotate.
    """
    run(_rotate(load_settings(), who, key_id, overlap, as_json=as_json))


@keys_group.command(
    "revoke",
    epilog=examples("tiergate keys revoke 4fT0aB9cQ2xZ --user-id user_42 --because 'found in a public repository'"),
)
@click.argument("key_id")
@who_options
@click.option("--because", default="revoked by the operator", show_default=True, help="For the audit log.")
@json_option
def revoke(key_id: str, who: Who, because: str, *, as_json: bool) -> None:
    """End KEY_ID now. It is refused from the next request on, by every worker."""
    run(_revoke(load_settings(), who, key_id, because, as_json=as_json))


@click.command(
    "secret",
    epilog=examples(
        'echo "TIERGATE_KEY_PEPPER=$(tiergate secret)" >> .env',
        'echo "TIERGATE_ASSERTION_KEYS=$(tiergate secret)" >> .env',
        'echo "TIERGATE_ALERT_SECRET=$(tiergate secret --signing)" >> .env',
    ),
    short_help="Print a fresh random secret for .env.",
)
@click.option("--signing", is_flag=True, help="For TIERGATE_ALERT_SECRET: whsec_ and base64.")
def secret(*, signing: bool) -> None:
    """Print a fresh random secret, for one of the settings in .env: 32 bytes in base64url."""
    if signing:
        click.echo(SECRET_PREFIX + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())
        return
    click.echo(secrets.token_urlsafe(_SECRET_BYTES))


def _parse_limits(texts: tuple[str, ...], settings: Settings) -> tuple[Limit, ...]:
    if not texts:
        return ()
    try:
        policy = load_policy(settings.policy_dir)
        return tuple(parse_key_limit(text, policy.meters, policy.route_groups) for text in texts)
    except LimitInvalid as error:
        hint = f" Did you mean {error.suggestion!r}?" if error.suggestion else ""
        raise click.BadParameter(f"{error}.{hint}", param_hint="'--limit'") from None
    except PolicyInvalid as error:
        raise policy_refused(error) from None


async def _issue(settings: Settings, who: Who, order: KeyOrder, expires: Ending | None, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        customer = await parts.find_customer(who)
        expires_at = None if expires is None else expires.instant(parts.now)
        issued = await parts.provisioning.issue(
            customer.customer_id, replace(order, expires_at=expires_at), actor=ACTOR
        )
        _print_issued(issued, customer.customer_id, as_json=as_json)
        say_if_unpublished(parts.has_cache)


async def _list(
    settings: Settings, who: Who, after: tuple[int, str] | None, limit: int, *, everything: bool, as_json: bool
) -> None:
    async with open_parts(settings) as parts:
        customer = await parts.find_customer(who)
        rows = await parts.provisioning.list(customer.customer_id, include_revoked=everything, after=after, limit=limit)
    last = rows[-1].record if len(rows) == limit else None
    next_after = None if last is None else key_place(last.created_at, last.key_id)
    if as_json:
        keys = [key_json(row) for row in rows]
        print_json({"customer_id": customer.customer_id, "keys": keys, "next_after": next_after})
        return
    print_keys(rows, parts.now)
    if next_after is not None:
        more = f"tiergate keys list --customer {customer.customer_id} --after {next_after}"
        note(f"There may be more: {more}{' --all' if everything else ''}")


async def _rotate(settings: Settings, who: Who, key_id: str, overlap_s: int, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        customer = await parts.find_customer(who)
        issued = await parts.provisioning.rotate(customer.customer_id, key_id, overlap_s=overlap_s, actor=ACTOR)
        _print_issued(issued, customer.customer_id, as_json=as_json)
        if not as_json:
            note(f"The old key {key_id} works until {instant_words(parts.now + overlap_s)}.")
        say_if_unpublished(parts.has_cache)


async def _revoke(settings: Settings, who: Who, key_id: str, because: str, *, as_json: bool) -> None:
    async with open_parts(settings) as parts:
        customer = await parts.find_customer(who)
        is_published = await parts.provisioning.revoke(customer.customer_id, key_id, actor=ACTOR, because=because)
        if as_json:
            print_json({"key_id": key_id, "revoked": True, "in_cache": is_published})
        elif is_published:
            click.echo(f"Key {key_id} is revoked, everywhere.")
        else:
            click.echo(f"Key {key_id} is revoked in the ledger.")
        say_if_unpublished(is_published)


def _print_issued(issued: IssuedKey, customer_id: str, *, as_json: bool) -> None:
    record = issued.record
    if as_json:
        print_json(
            {
                "key": issued.minted.text,
                "key_id": record.key_id,
                "customer_id": customer_id,
                "name": record.name,
                "last4": record.last4,
                "created_at": record.created_at,
                "expires_at": record.expires_at,
                "scopes": list(record.scopes),
                "allow_ips": list(record.allow),
            }
        )
        return
    ends = "without expiry" if record.expires_at is None else f"until {instant_words(record.expires_at)}"
    note(f"Key {record.key_id} ({record.name!r}) of customer {customer_id}, {ends}. It is shown this once:")
    click.echo(issued.minted.text)


def print_keys(rows: list[KeyRow], now: int) -> None:
    """Keys as columns."""
    print_columns(
        ("KEY ID", "NAME", "KEY", "CREATED", "LAST USED", "STATE", "SCOPES", "OWN LIMITS", "ONLY FROM"),
        [
            (
                row.record.key_id,
                row.record.name,
                f"tg_{row.mode}_...{row.record.last4}",
                instant_words(row.record.created_at),
                instant_words(row.last_used_at),
                _state_words(row, now),
                ", ".join(row.record.scopes) or "all",
                ", ".join(row.limit_texts) or "none",
                ", ".join(row.record.allow) or "anywhere",
            )
            for row in rows
        ],
    )


def key_json(row: KeyRow) -> dict[str, Any]:
    """A key for a program: everything but its digest."""
    return {
        "key_id": row.record.key_id,
        "name": row.record.name,
        "mode": row.mode,
        "last4": row.record.last4,
        "created_at": row.record.created_at,
        "last_used_at": row.last_used_at,
        "expires_at": row.record.expires_at,
        "revoked_at": row.revoked_at,
        "replaced_by": row.replaced_by,
        "scopes": list(row.record.scopes),
        "limits": list(row.limit_texts),
        "allow_ips": list(row.record.allow),
    }


def _state_words(row: KeyRow, now: int) -> str:
    if row.revoked_at is not None:
        return f"revoked {instant_words(row.revoked_at)}"
    ends_at = row.record.expires_at
    if ends_at is None:
        return "live"
    if ends_at <= now:
        return f"expired {instant_words(ends_at)}"
    replaced = "" if row.replaced_by is None else f", replaced by {row.replaced_by}"
    return f"live until {instant_words(ends_at)}{replaced}"
