"""`python -m gateway.sandbox`: the simulator and the sample upstream, until SIGTERM or the parent's end.

Prints one JSON line when both are ready.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from gateway.sandbox.serving import Listening, running, wait_for_end
from gateway.sandbox.simulator import DEFAULT_KEY


def _read_arguments(arguments: list[str] | None) -> Listening:
    parser = argparse.ArgumentParser(prog="python -m gateway.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--stripe-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--upstream-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--clock-file", type=Path, help="where to write the clock's offset (8 bytes)")
    parser.add_argument("--key", default=DEFAULT_KEY, help="the API key that clients must send")
    parser.add_argument("--run", help="what every id contains; random by default")
    parser.add_argument("--seed", action="store_true", help="create the example's products and prices")
    given = parser.parse_args(arguments)
    return Listening(
        host=given.host,
        stripe_port=given.stripe_port,
        upstream_port=given.upstream_port,
        clock_file=given.clock_file,
        key=given.key,
        run=given.run,
        seeded=given.seed,
    )


async def _serve(listening: Listening) -> None:
    async with running(listening) as now:
        ready = {
            "stripe_url": now.stripe_url,
            "upstream_url": now.upstream_url,
            "key": now.key,
            "clock_file": None if listening.clock_file is None else str(listening.clock_file),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await wait_for_end()


def main(arguments: list[str] | None = None) -> int:
    """Run until the end; 2 when the arguments are refused."""
    listening = _read_arguments(arguments)
    try:
        asyncio.run(_serve(listening))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
