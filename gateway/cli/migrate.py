"""`tiergate migrate`: the ledger's tables."""

from __future__ import annotations

import asyncio

import click

from gateway.cli.options import examples
from gateway.clock import SystemClock
from gateway.core.errors import LedgerUnavailable
from gateway.installation import InstallationChanged, check_installation
from gateway.ledger import Ledger, LedgerUrlInvalid, describe
from gateway.ledger import migrate as migrate_ledger
from gateway.settings import Settings, load_settings
from gateway.telemetry import configure_logging


@click.command("migrate", epilog=examples("tiergate migrate"))
def migrate() -> None:
    """Create the ledger's tables, or bring them up to this version. `tiergate serve` does it too.

    Safe to run at any time and several times at once.
    """
    settings = load_settings()
    configure_logging("console", "warning")
    bring_up_to_date(settings)
    click.echo(f"The ledger is up to date: {describe(settings.ledger_dsn)}.")


def bring_up_to_date(settings: Settings) -> None:
    """Create or update the tables, and hold the settings against what the ledger was made with.

    Raises:
        click.ClickException: The ledger cannot be used, or not with these settings; the message says why.
    """
    try:
        migrate_ledger(settings.ledger_dsn)
        asyncio.run(_check_installation(settings))
    except InstallationChanged as changed:
        raise click.ClickException(f"These settings do not belong to this ledger.\n{changed}") from None
    except LedgerUrlInvalid as error:
        raise click.ClickException(f"TIERGATE_LEDGER_URL: {error}.") from None
    except LedgerUnavailable as error:
        place = describe(settings.ledger_dsn)
        raise click.ClickException(f"The ledger ({place}) cannot be brought up to date: {error}") from None


async def _check_installation(settings: Settings) -> None:
    ledger = await Ledger.open(settings.ledger_dsn)
    try:
        await check_installation(ledger, settings, now=int(SystemClock().now()))
    finally:
        await ledger.aclose()
