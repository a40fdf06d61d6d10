"""`python -m benchmarks.event_stripe CUSTOMERS COUNTS`: the sandbox as Stripe, with subscribers in it from the start.

Every request to its API is noted in the file COUNTS, a line each: seconds since the epoch, method and kind of
object. So what a gateway asks of Stripe is counted by the one that is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.sandbox import Listening, running
from gateway.sandbox.engine.subscriptions import next_end
from gateway.sandbox.records import Customer, Item, Subscription
from gateway.sandbox.serving import wait_for_end

if TYPE_CHECKING:
    from gateway.sandbox.simulator import Simulator
    from gateway.sandbox.world import World

PRICE = "price_pro_monthly"


def stripe_customer(number: int) -> str:
    """Its id at Stripe."""
    return f"cus_bench{number:06d}"


def subscription(number: int) -> str:
    """Id of the one subscription that it has."""
    return f"sub_bench{number:06d}"


def settle_in(world: World, customers: int) -> None:
    """Subscribers, all at once: a subscription through the front door takes three requests."""
    for number in range(customers):
        owner = Customer(id=stripe_customer(number), created=world.now)
        world.tables.customers[owner.id] = owner
        item = Item(
            id=f"si_bench{number:06d}",
            price_id=PRICE,
            quantity=1,
            created=world.now,
            period_starts_at=world.now,
            period_ends_at=next_end(world.price(PRICE), world.now, world.now),
        )
        bought = Subscription(
            id=subscription(number),
            customer_id=owner.id,
            created=world.now,
            currency="usd",
            anchor=world.now,
            items=(item,),
            status="active",
        )
        world.tables.subscriptions[bought.id] = bought


def count_requests(simulator: Simulator, counts: Path) -> None:
    """Note every request: each of them is asked once whether it meets a fault."""
    take_api_fault, file = simulator.take_api_fault, counts.open("a", buffering=1)

    def noted(method: str, path: str) -> object:
        file.write(f"{time.time():.3f} {method} {path.split('/')[2]}\n")
        return take_api_fault(method, path)

    simulator.take_api_fault = noted  # type: ignore[method-assign, assignment]  # the one place that all pass


async def _serve(customers: int, counts: Path, parent: int) -> None:
    async with running(Listening(seeded=True)) as now:
        now.simulator.carry_out(lambda world: settle_in(world, customers))
        count_requests(now.simulator, counts)
        told = {"stripe_url": now.stripe_url, "upstream_url": now.upstream_url, "key": now.key}
        print(json.dumps(told), flush=True)
        await wait_for_end(parent)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), os.getppid()))
