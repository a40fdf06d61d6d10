"""`tiergate demo`: the whole thing on this machine, to look at or to check itself."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx

from gateway.cli.house import House, HouseBroken, example_policies, temporary_house_directory
from gateway.cli.life import Different, World
from gateway.cli.life_steps import LIFE

_WATCH_S = 0.2


@click.command(short_help="Run it all on this machine, with a Stripe sandbox.")
@click.option("--check", is_flag=True, help="Play a customer's whole life, compare every step, then stop.")
@click.option(
    "--workers", type=click.IntRange(1, 16), default=None, help="Gateway processes.  [default: 1; 2 with --check]"
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the gateway; 0 takes a free one.")
@click.option(
    "--policies",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Policy directory.  [default: the shipped example]",
)
def demo(*, check: bool, workers: int | None, port: int, policies: Path | None) -> None:
    """Start a Stripe sandbox, a sample API, a cache, a ledger and the gateway; nothing to install or sign up for.

    Without --check it prints commands to copy, logs one line per decision, and runs until
    Ctrl-C, or until its terminal is closed. Everything it made is removed when it stops.
    """
    try:
        with temporary_house_directory() as directory, _interruptible():
            house = House(
                directory,
                policy_dir=(policies or example_policies()).absolute(),
                workers=workers or (2 if check else 1),
                port=port,
                on_line=(lambda _: None) if check else print_decision,
            )
            try:
                started = time.perf_counter()
                click.echo("Starting sandbox, sample API, cache, ledger and gateway ...")
                house.start()
                click.echo(f"Started in {time.perf_counter() - started:.1f} s.\n")
                sys.exit(play(house) if check else show(house))
            finally:
                house.stop()
    except HouseBroken as error:
        click.echo(f"\nThe demo cannot go on: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may have gone
            click.echo("\nStopped; nothing is left behind.")


def play(house: House) -> int:
    """Play the customer's life; print each step with what was expected and seen. Returns the exit code."""
    world = World(house)
    for number, step in enumerate(LIFE, 1):
        click.echo(f"{number:2}. {step.name}")
        click.echo(f"    expected: {step.expected}")
        try:
            seen = step.do(world)
        except (Different, httpx.HTTPError, KeyError, ValueError) as error:
            click.echo(f"    SEEN:     {type(error).__name__}: {error}\n")
            click.echo(
                f"Step {number} of {len(LIFE)} differs. What the gateway last wrote:\n{house.last_words('gateway')}"
            )
            return 1
        click.echo(f"    seen:     {seen}")
    click.echo(f"\nAll {len(LIFE)} steps as expected.")
    return 0


def show(house: House) -> int:
    """Print what is running and what to copy; then watch until Ctrl-C."""
    key = _demo_key(house)
    post = f"curl -s -H 'Authorization: Bearer {house.server_token}' -H 'Content-Type: application/json'"
    billing = f"{house.url}/api/v1"
    call = f"-H 'X-API-Key: {key}' {house.url}/v1/echo"
    click.echo(
        f"""\
  gateway       {house.url}        (policies: {house.policy_dir})
  sample API    {house.upstream_url}   (behind the gateway)
  Stripe        {house.stripe_url}   (sandbox; no real money)
  admin token   {house.admin_token}
  demo key      {key}   (customer 'demo', free tier)

Five things to try, in another terminal:

1. Call the sold API with a key:
   curl -i {call}

2. Hit the rate limit, and read why:
   for i in $(seq 40); do curl -s -o /dev/null -w '%{{http_code}} ' {call}; done; curl -s {call}

3. Open the pricing page and buy a plan (card 4242 4242 4242 4242, any future date):
   {house.url}/_tiergate/pricing

4. Start a checkout for a user of yours, as your server would, and pay at the address it answers:
   {post} -d '{{"plan_id": "pro-monthly", "user_id": "demo"}}' {billing}/create-checkout

5. Upgrade that user with proration: what it costs, then again with "preview": false:
   {post} -d '{{"plan_id": "enterprise-monthly", "user_id": "demo", "preview": true}}' {billing}/subscription/change

Every decision appears below. Ctrl-C stops everything.
"""
    )
    while True:
        time.sleep(_WATCH_S)
        failed = house.failed_part()
        if failed is not None:
            raise HouseBroken(failed)


def print_decision(line: str) -> None:
    """One readable line per decision; other log lines only if they are warnings or worse."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return
    if event.get("event") != "decision":
        if event.get("level") in {"warning", "error", "critical"}:
            click.echo(f"  ! {event.get('event')} {event.get('error', '')}")
        return
    left = " ".join(f"{name}:{units}" for name, units in (event.get("left") or {}).items())
    verdict = event["verdict"]
    colour = "green" if verdict == "admitted" else "red"
    at, shown = str(event.get("timestamp", ""))[11:23], click.style(f"{verdict:<20}", fg=colour)
    what = f"{event.get('status')} {event['method']:<5} {event['path']:<20} {event.get('tier') or '-':<10}"
    click.echo(f"  {at}  {shown} {what} left {left or '-'}  {event['decision_id']}")


def _demo_key(house: House) -> str:
    admin = {"authorization": f"Bearer {house.admin_token}"}
    customers = f"{house.url}/_tiergate/admin/customers"
    customer = httpx.post(customers, json={"user_id": "demo"}, headers=admin).raise_for_status().json()
    keys = f"{customers}/{customer['customer_id']}/keys"
    issued = httpx.post(keys, json={"name": "demo"}, headers=admin).raise_for_status().json()
    return str(issued["key"])


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that is closed, end the demo as Ctrl-C does. Under nohup, SIGHUP does not."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]

    def interrupt(*_: object) -> None:
        for number in numbers:  # the shell and the system may both say so: what is being stopped must be stopped
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
