"""`tiergate ledger`: a backup of the record."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.options import examples
from gateway.ledger import BackupRefused, LedgerUrlInvalid, back_up, describe
from gateway.settings import load_settings


@click.group("ledger")
def ledger_group() -> None:
    """Back up the ledger."""


@ledger_group.command("backup", epilog=examples("tiergate ledger backup /backups/ledger-$(date +%F).sqlite3"))
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy the ledger to FILE, whole, while gateways serve. FILE must not exist.

    Do not copy ledger.sqlite3 by other means: what was written last stands beside it, in ledger.sqlite3-wal.
    For a ledger in PostgreSQL use pg_dump. How to restore: docs/operations.md.
    """
    settings = load_settings(needs_upstream=False)
    try:
        back_up(settings.ledger_dsn, file.absolute())
    except LedgerUrlInvalid as error:
        raise click.ClickException(f"TIERGATE_LEDGER_URL: {error}.") from None
    except BackupRefused as error:
        raise click.ClickException(f"No backup was made: {error}.") from None
    click.echo(f"{file} holds the ledger ({describe(settings.ledger_dsn)}). Keep TIERGATE_KEY_PEPPER with it.")
