"""`tiergate ledger`: a backup of the record, and whose record it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.opening import ACTOR, find_policy, open_parts, run
from gateway.cli.opening_stripe import open_billing
from gateway.cli.options import examples
from gateway.core.audited import assess_by
from gateway.core.errors import BillingRefused, BillingUnavailable, StripeAccountWrong
from gateway.installation import accept_change, find_changes
from gateway.ledger import BackupRefused, LedgerUrlInvalid, back_up, describe
from gateway.settings import load_settings
from gateway.sync import LedgerAccount

if TYPE_CHECKING:
    from gateway.cli.opening import Parts
    from gateway.installation import Subject
    from gateway.settings import Settings

_MEANING: dict[Subject, str] = {
    "stripe": "Every customer loses its Stripe customer and its subscription, as the ledger has them. "
    "Nothing changes at Stripe.",
    "pepper": "Every API key that was issued under the old pepper stays invalid.",
}


@click.group("ledger")
def ledger_group() -> None:
    """Back up the ledger; go on with it under other settings."""


@ledger_group.command("backup", epilog=examples("tiergate ledger backup /backups/ledger-$(date +%F).sqlite3"))
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy the ledger to FILE, whole, while gateways serve. FILE must not exist.

    Do not copy ledger.sqlite3 by other means: what was written last stands beside it, in ledger.sqlite3-wal.
    For a ledger in PostgreSQL use pg_dump. How to restore: docs/operations.md.
    """
    settings = load_settings()
    try:
        back_up(settings.ledger_dsn, file.absolute())
    except LedgerUrlInvalid as error:
        raise click.ClickException(f"TIERGATE_LEDGER_URL: {error}.") from None
    except BackupRefused as error:
        raise click.ClickException(f"No backup was made: {error}.") from None
    click.echo(f"{file} holds the ledger ({describe(settings.ledger_dsn)}). Keep TIERGATE_KEY_PEPPER with it.")


@ledger_group.command(
    "accept",
    epilog=examples("tiergate ledger accept stripe"),
    short_help="Go on with this ledger under other settings.",
)
@click.argument("subject", type=click.Choice(["stripe", "pepper"]))
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept(subject: Subject, *, yes: bool) -> None:
    """Go on with this ledger under another Stripe account or another TIERGATE_KEY_PEPPER.

    A ledger is of use with the account and the pepper that it was made with, so `tiergate serve` refuses others.

    stripe: customers and keys stay; nobody has a subscription any more, and who buys becomes a customer of
    the new account. Stop gateways that run under the old key first: they would go on to sell there. Nothing is done
    with a key of the ledger's own account. pepper: every issued key stays invalid; issue new ones.
    """
    settings = load_settings()
    if not yes:
        click.confirm(f"{_MEANING[subject]} Go on?", abort=True)
    run(_accept(settings, subject))


async def _accept(settings: Settings, subject: Subject) -> None:
    policy = find_policy(settings)
    async with open_parts(settings) as parts:
        account_id = await _new_account(parts) if subject == "stripe" else None
        assess = None if policy is None else assess_by(policy, parts.now)
        left = await accept_change(
            parts.ledger, settings, subject, now=parts.now, actor=ACTOR, account_id=account_id, assess=assess
        )
    click.echo(
        f"The ledger now belongs to this {subject}."
        + (f" {left} customers start there without a subscription." if subject == "stripe" else "")
    )


async def _new_account(parts: Parts) -> str | None:
    """The account of the key, if it is another one than the ledger's or of another mode; None: it may not be read.

    Raises:
        ClickException: It is the ledger's, or nobody can say.
    """
    is_other_mode = any(one.subject == "stripe" for one in await find_changes(parts.ledger, parts.settings))
    billing, account_id = open_billing(parts.settings), None
    try:
        account_id = await billing.account.find_id()
        if is_other_mode:
            return account_id
        await LedgerAccount(ledger=parts.ledger, billing=billing, clock=parts.clock).check(learns=False)
    except StripeAccountWrong:
        return account_id
    except (BillingUnavailable, BillingRefused) as error:
        if is_other_mode:
            return None
        raise click.ClickException(
            f"Nothing was changed, because Stripe did not say whose key this is: {error} Try again when it answers."
        ) from None
    finally:
        await billing.aclose()
    raise click.ClickException(
        "Nothing was changed: the Stripe key is of the account that the ledger belongs to. To end customers whom Stripe"
        " does not have any more: `tiergate sync --all --end-missing`."
    )
