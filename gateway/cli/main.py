"""The root of the command line, and how its errors look.

A command's module is imported when it is asked for: `tiergate keys` does not wait for the
web framework, and a supervising `tiergate serve` does not carry the demo.
"""

from __future__ import annotations

import importlib
import sys

import click

from gateway import __version__
from gateway.core.errors import TiergateError
from gateway.settings import SettingsInvalid

_COMMANDS = {
    "demo": "gateway.cli.demo:demo",
    "serve": "gateway.cli.serve:serve",
    "doctor": "gateway.cli.doctor:doctor",
    "policy": "gateway.cli.policy:policy_group",
    "customers": "gateway.cli.customers:customers_group",
    "keys": "gateway.cli.keys:keys_group",
    "credits": "gateway.cli.credits:credits_group",
    "statement": "gateway.cli.statement:statement",
    "sync": "gateway.cli.sync:sync",
    "webhook": "gateway.cli.webhook:webhook_group",
    "events": "gateway.cli.events:events_group",
    "audit": "gateway.cli.audit:audit_group",
    "alerts": "gateway.cli.alerts:alerts_group",
    "meters": "gateway.cli.meters:meters_group",
    "migrate": "gateway.cli.migrate:migrate",
    "ledger": "gateway.cli.ledger:ledger_group",
    "secret": "gateway.cli.keys:secret",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which people need them."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tiergate")
def cli() -> None:
    """Put Tiergate in front of an HTTP API and the API is for sale.

    Start with `tiergate demo`; then put your settings into .env and run `tiergate doctor`
    and `tiergate serve`.
    """


def main() -> None:
    """Run the command line; every failure is one readable message on standard error."""
    try:
        cli.main(prog_name="tiergate", standalone_mode=True)
    except SettingsInvalid as error:
        click.echo("tiergate cannot start; these settings need a look:\n", err=True)
        for fault in error.faults:
            click.echo(f"  - {fault}", err=True)
        click.echo("\nSettings come from the environment or from .env; .env.example explains each.", err=True)
        sys.exit(2)
    except TiergateError as error:
        click.echo(f"tiergate: {error} ({error.code})", err=True)
        sys.exit(1)
