"""`tiergate webhook`: the endpoint, or the event destination, through which Stripe tells what changed."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from gateway.billing import API_VERSION
from gateway.cli.env_file import EnvFile
from gateway.cli.opening import run
from gateway.cli.opening_stripe import open_billing, require_stripe
from gateway.cli.options import examples
from gateway.cli.printing import note
from gateway.cli.webhook_kinds import Found, Kind, MeterErrors, Snapshots, Thin, kind_to_mend
from gateway.core.errors import BillingKeyRefused, BillingRefused, BillingUnavailable
from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.billing import Billing, NewEndpoint
    from gateway.settings import Settings

_SECRET = "STRIPE_WEBHOOK_SECRET"  # noqa: S105 - a setting's name
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@click.group("webhook", short_help="Make and mend the way by which Stripe tells of changes.")
def webhook_group() -> None:
    """Make and mend the endpoint through which Stripe tells what changed."""


@webhook_group.command(
    "ensure",
    epilog=examples(
        "tiergate webhook ensure --write-env .env",
        "tiergate webhook ensure --thin --write-env .env",
        "tiergate webhook ensure --meter-errors --print-secret",
    ),
)
@click.option("--thin", is_flag=True, help="An event destination that sends all of it as thin events.")
@click.option(
    "--meter-errors",
    is_flag=True,
    help="An event destination for what no endpoint gets: usage that Stripe took and does not count.",
)
@click.option(
    "--write-env",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Put the secret of a new one first into {_SECRET} in this file, readable by its owner only.",
)
@click.option("--print-secret", is_flag=True, help="Print the secret of a new one, once, and keep it nowhere.")
def ensure(write_env: Path | None, *, thin: bool, meter_errors: bool, print_secret: bool) -> None:
    """Have Stripe tell this gateway what it acts on, and nothing else.

    Makes the endpoint at TIERGATE_PUBLIC_URL if there is none, in the API version of this
    release; enables one that is there, and gives it exactly the events that the gateway acts
    on. With --thin it does so with an event destination, and with --meter-errors with one that
    stands beside an endpoint. Others are never touched. A restricted key needs write for
    Webhook Endpoints, or for Event Destinations.

    Stripe tells the signing secret only as it makes an endpoint, so say where it shall go.
    """
    if write_env is not None and print_secret:
        raise click.UsageError("Either --write-env FILE or --print-secret.")
    if thin and meter_errors:
        raise click.UsageError("Either --thin or --meter-errors: what sends all sends these too.")
    kind = Thin() if thin else MeterErrors() if meter_errors else Snapshots()
    run(ensure_webhook(load_settings(needs_webhook_secret=False), kind, write_env, print_secret=print_secret))


async def ensure_webhook(
    settings: Settings, kind: Kind | None, write_env: Path | None, *, print_secret: bool = False
) -> None:
    """Have all that matters come here, in one way.

    Args:
        settings: Of this gateway.
        kind: Which way; None: as most of it comes now, by an endpoint where nothing does, and if all of it comes,
            nothing is done.
        write_env: The file for the secret of a new one.
        print_secret: Print that secret instead.

    Raises:
        ClickException: Stripe, the key, the address or the file is in the way; the message says what to do.
    """
    require_stripe(settings)
    url = settings.webhook_url
    billing = open_billing(settings)
    tried: Kind = kind if kind is not None else Snapshots()
    try:
        kind = kind if kind is not None else await kind_to_mend(billing, url)
        if kind is None:
            note(f"Every event that matters comes to {url}: there is nothing to mend.")
            return
        tried = kind
        ours = await kind.fetch(billing, url)
        if ours:
            await _mend(billing, kind, ours, url)
        else:
            _check_reachable(settings, url)
            if write_env is None and not print_secret:
                raise click.ClickException(
                    f"Stripe has no {kind.noun} for {url}. Nothing was made: say where its signing secret shall go, "
                    "--write-env FILE or --print-secret."
                )
            await _make(billing, kind, url, write_env)
        for other in await kind.fetch_beside(billing, url):
            _say_twice(other)
    except BillingKeyRefused as error:
        raise click.ClickException(
            f"{error} A restricted key needs write for {tried.permission} (dashboard: Developers, API keys)."
        ) from None
    except BillingRefused as error:
        raise click.ClickException(f"{error} {tried.advice}") from None
    except BillingUnavailable as error:
        raise click.ClickException(f"{error} Run it again: it goes on from what is there.") from None
    finally:
        await billing.aclose()


def _check_reachable(settings: Settings, url: str) -> None:
    if settings.stripe_url is None and urlsplit(url).hostname in _LOOPBACK:
        host = url.partition("://")[2]
        raise click.ClickException(
            f"Stripe cannot reach {url}. Set TIERGATE_PUBLIC_URL to the address at which the world finds this gateway; "
            f"on your own machine: stripe listen --forward-to {host}"
        )


async def _mend(billing: Billing, kind: Kind, ours: list[Found], url: str) -> None:
    """The best of those that lead here; one is enough, and to delete the others is for people."""
    best = min(ours, key=lambda one: (not one.is_enabled, one.api_version not in {None, API_VERSION}, len(one.missing)))
    wrong = [
        words
        for words, is_so in (
            ("enabled it", not best.is_enabled),
            (f"added {', '.join(best.missing)}", bool(best.missing)),
            (f"took out {', '.join(best.extra)}", bool(best.extra)),
        )
        if is_so
    ]
    if wrong:
        await kind.repair(billing, best)
        click.echo(f"{best.found_id} for {url} is mended: {'; '.join(wrong)}.")
    else:
        click.echo(f"{best.found_id} for {url} is enabled and gets {kind.gets}.")
    if best.api_version not in {None, API_VERSION}:
        note(
            f"It sends API version {best.api_version}, and Stripe changes that of no endpoint. Nothing breaks: events "
            f"are only hints. For {API_VERSION}, delete it (dashboard: Webhooks) and run this again."
        )
    for other in ours:
        if other is not best and other.is_enabled and other.is_telling:
            _say_twice(other.found_id)
    note(f"Its signing secret is in the dashboard (Webhooks); {_SECRET} must have it.")


def _say_twice(other_id: str) -> None:
    note(f"{other_id} leads here too: events come twice. That is harmless; delete one of them when convenient.")


async def _make(billing: Billing, kind: Kind, url: str, write_env: Path | None) -> None:
    """The place for the secret is opened before: a secret that cannot be kept is lost."""
    try:
        file = None if write_env is None else EnvFile(write_env)
    except (OSError, UnicodeError) as error:
        raise click.ClickException(f"{write_env} cannot be written ({error}). Nothing was made.") from None
    with closing(file) if file is not None else nullcontext():
        made = await kind.create(billing, url)
        if file is None:
            click.echo(f"{_SECRET}={made.secret}")
            note(f"{made.endpoint_id} for {url} is made. This is the only time its secret is shown.")
            return
        await _keep(billing, kind, made, file)
    note(f"Its signing secret is in {write_env}, first in {_SECRET}. Restart the gateway.")
    click.echo(f"{made.endpoint_id} for {url} is made{kind.made}.")


async def _keep(billing: Billing, kind: Kind, made: NewEndpoint, file: EnvFile) -> None:
    try:
        file.put_first(_SECRET, made.secret, _is_secret)
    except OSError as error:
        await kind.remove(billing, made.endpoint_id)
        what = f"The secret could not be written ({error}); the {kind.noun} was taken away."
        raise click.ClickException(what) from None


def _is_secret(text: str) -> bool:
    """A secret of an endpoint before, by which events on their way are signed; no example."""
    return text.startswith("whsec_") and text.isascii() and text.removeprefix("whsec_").isalnum()
