"""What a test runs in a process of its own: `python processes.py COMMAND URL ...`. Answers are lines on stdout."""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial

from gateway.core.account import Subscription
from gateway.ledger import Ledger, migrate


def say(answer: object) -> None:
    """One line, at once."""
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()


def wait_for_start() -> None:
    """All processes say `ready`, and go on together when the test closes their stdin."""
    say("ready")
    sys.stdin.read()


async def claim(ledger: Ledger, worker: str, now: str) -> None:
    """Claim until nothing is due, finishing each event; prints what was claimed."""
    wait_for_start()
    while rows := await ledger.claim_events(worker=worker, now=int(now), lease_s=60, limit=3):
        for row in rows:
            say(row.event_id)
            if not await ledger.finish_events([row.event_id], worker, now=int(now), outcome="done"):
                say(f"lost {row.event_id}")


async def claim_and_hang(ledger: Ledger, worker: str, now: str) -> None:
    """Claim everything, and never finish it."""
    rows = await ledger.claim_events(worker=worker, now=int(now), lease_s=60, limit=100)
    say(len(rows))
    time.sleep(600)  # noqa: ASYNC251 - a worker that hangs, until it is killed


async def store(ledger: Ledger, prefix: str, count: str) -> None:
    """Store events `prefix-0`, ...; prints how many were new."""
    wait_for_start()
    new = 0
    for number in range(int(count)):
        new += await ledger.store_event(
            event_id=f"{prefix}-{number}",
            type="invoice.paid",
            stripe_customer_id=None,
            livemode=False,
            api_version=None,
            payload="{}",
            now=number,
        )
    say(new)


async def store_until_killed(ledger: Ledger, prefix: str) -> None:
    """Store events for ever; prints each id after it was acknowledged."""
    number = 0
    while True:
        await ledger.store_event(
            event_id=f"{prefix}-{number}",
            type="invoice.paid",
            stripe_customer_id=None,
            livemode=False,
            api_version=None,
            payload="x" * 2_000,
            now=number,
        )
        say(f"{prefix}-{number}")
        number += 1


async def sync(ledger: Ledger, customer_id: str, count: str) -> None:
    """Take a fence, read a slow source, apply, again and again; prints how often a later read had won."""
    from gateway.core.account import Subscription  # noqa: PLC0415 - only this command needs it

    wait_for_start()
    lost = 0
    for _ in range(int(count)):
        fence = await ledger.take_fence(customer_id)
        # The source's state at this instant is the fence itself: a later read sees a higher number.
        read = Subscription(
            subscription_id=f"sub_{fence}",
            status="active",
            plan_id=None,
            period_starts_at=0,
            period_ends_at=1,
            anchor_at=0,
        )
        await asyncio.sleep(0.001 * (fence % 5))
        recorded = await ledger.apply_subscription(
            customer_id, fence, partial(_as_read, read), now=1, actor="stripe", because="race"
        )
        lost += recorded is None
    say(lost)


def _as_read(read: Subscription, _before: Subscription | None) -> Subscription:
    return read


async def main(command: str, url: str, *arguments: str) -> None:
    ledger = await Ledger.open(url, deadline_s=30)
    try:
        await globals()[command](ledger, *arguments)
    finally:
        await ledger.aclose()


if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        wait_for_start()
        migrate(sys.argv[2])
        say("migrated")
    else:
        asyncio.run(main(*sys.argv[1:]))
