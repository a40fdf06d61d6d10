"""`python -m gateway.sandbox`: the simulator and the sample upstream, until SIGTERM or the parent's end.

Prints one JSON line when both are ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from gateway.sandbox.rules import DeliveryRules
from gateway.sandbox.serving import Listening, running, wait_for_end
from gateway.sandbox.simulator import DEFAULT_KEY


def _read_arguments(arguments: list[str] | None) -> tuple[Listening, bool]:
    usual = DeliveryRules()
    parser = argparse.ArgumentParser(prog="python -m gateway.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--stripe-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--upstream-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--clock-file", type=Path, help="where to write the clock's offset (8 bytes)")
    parser.add_argument("--key", default=DEFAULT_KEY, help="the API key that clients must send")
    parser.add_argument("--run", help="what every id contains; random by default")
    parser.add_argument("--seed", action="store_true", help="create the example's products and prices")
    parser.add_argument("--delivery-attempts", type=int, default=usual.attempts, help="before giving an event up")
    parser.add_argument("--first-retry-s", type=float, default=usual.first_retry_s, help="then twice as long, ...")
    parser.add_argument("--longest-retry-s", type=float, default=usual.longest_retry_s, help="... up to this")
    parser.add_argument("--stop-at-stdin-end", action="store_true", help="stop when stdin, a pipe, is closed")
    given = parser.parse_args(arguments)
    listening = Listening(
        host=given.host,
        stripe_port=given.stripe_port,
        upstream_port=given.upstream_port,
        clock_file=given.clock_file,
        key=given.key,
        run=given.run,
        seeded=given.seed,
        delivery_rules=DeliveryRules(
            attempts=given.delivery_attempts,
            first_retry_s=given.first_retry_s,
            longest_retry_s=given.longest_retry_s,
        ),
    )
    return listening, given.stop_at_stdin_end


async def _serve(listening: Listening, parent: int, *, at_stdin_end: bool) -> None:
    async with running(listening) as now:
        ready = {
            "stripe_url": now.stripe_url,
            "upstream_url": now.upstream_url,
            "key": now.key,
            "clock_file": None if listening.clock_file is None else str(listening.clock_file),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await wait_for_end(parent, at_stdin_end=at_stdin_end)


def main(arguments: list[str] | None = None) -> int:
    """Run until the end; 2 when the arguments are refused."""
    parent = os.getppid()
    listening, at_stdin_end = _read_arguments(arguments)
    try:
        asyncio.run(_serve(listening, parent, at_stdin_end=at_stdin_end))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
