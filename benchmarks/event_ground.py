"""A gateway with customers, a ledger of either kind, and the sandbox as Stripe: three processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, select

from benchmarks.event_load import Mix
from benchmarks.event_stripe import stripe_customer
from benchmarks.ground import Ground, our_python
from benchmarks.processes import Group, NotMeasured, running, wait_until_ready
from gateway.cli.ports import free_port
from gateway.ledger import Ledger, migrate
from gateway.ledger.tables import CUSTOMERS, INBOX
from gateway.provisioning import random_text
from gateway.supervised import PARENT_VARIABLE
from tests.ledger.conftest import PostgresqlServer, find_binaries

_SECRET_LENGTH = 40
_POLICIES = Path(__file__).parent.parent / "policies"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTown:
    """What is running."""

    port: int
    secret: str
    gateway: Group
    ledger_url: str
    counts: Path

    def requests(self) -> list[tuple[float, str]]:
        """Every request that Stripe was asked so far: when, and for what."""
        lines = self.counts.read_text().splitlines() if self.counts.exists() else []
        return [(float(at), f"{method} {kind}") for at, method, kind in (line.split() for line in lines)]

    def states(self) -> dict[str, str]:
        """Every event in the inbox, and how it stands."""
        return asyncio.run(_states(self.ledger_url))

    def open_events(self) -> int:
        """How many are not done yet."""
        counts = asyncio.run(_counts(self.ledger_url))
        return counts["pending"] + counts["claimed"]


@contextmanager
def event_town(ground: Ground, mix: Mix) -> Iterator[EventTown]:
    """All of it, for as long as the context lasts.

    Raises:
        NotMeasured: A part does not start.
    """
    directory, port = ground.subdirectory("events"), free_port()
    log, secret, counts = directory / "log", f"whsec_{random_text(_SECRET_LENGTH)}", directory / "requests"
    with _ledger(directory, mix) as url, _stripe(ground, mix, counts) as stripe:
        migrate(url)
        asyncio.run(_fill(url, mix.customers))
        env = {
            "STRIPE_SECRET_KEY": stripe["key"],
            "STRIPE_WEBHOOK_SECRET": secret,
            "TIERGATE_STRIPE_URL": stripe["stripe_url"],
            "TIERGATE_UPSTREAM_URL": stripe["upstream_url"],
            "TIERGATE_LEDGER_URL": url,
            "TIERGATE_KEY_PEPPER": random_text(_SECRET_LENGTH),
            "TIERGATE_ADMIN_TOKEN": random_text(_SECRET_LENGTH),
            "TIERGATE_SERVER_TOKEN": random_text(_SECRET_LENGTH),
            "TIERGATE_DATA_DIR": str(directory / "data"),
            "TIERGATE_POLICY_DIR": str(_POLICIES),
            "TIERGATE_PORT": str(port),
            PARENT_VARIABLE: str(os.getpid()),  # so that it does not outlive this process
        } | ({} if mix.per_s is None else {"TIERGATE_STRIPE_REQUESTS_PER_S": str(mix.per_s)})
        command = our_python("gateway.cli", "serve")
        with running(command, cores=ground.cores.gateway, log=log, env=env, cwd=directory) as process:
            wait_until_ready(process, port, log, "/_tiergate/ready")
            yield EventTown(port=port, secret=secret, gateway=Group(root=process.pid), ledger_url=url, counts=counts)


@contextmanager
def _ledger(directory: Path, mix: Mix) -> Iterator[str]:
    if not mix.on_postgresql:
        yield f"sqlite:///{directory / 'ledger.sqlite3'}"
        return
    binaries = find_binaries()
    if binaries is None:
        raise NotMeasured("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    server = PostgresqlServer(binaries, is_durable=True)
    try:
        yield server.url("postgres")
    finally:
        server.stop()


@contextmanager
def _stripe(ground: Ground, mix: Mix, counts: Path) -> Iterator[dict[str, str]]:
    log = ground.subdirectory("stripe") / "log"
    command = our_python("benchmarks.event_stripe", str(mix.customers), str(counts))
    with running(command, cores=ground.cores.others, log=log, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            raise NotMeasured("the Stripe simulator did not start")
        yield json.loads(line)


async def _fill(url: str, customers: int) -> None:
    """Customers that are bound to Stripe's and have never been read."""
    rows = [
        {
            "customer_id": f"bench{number:06d}",
            "user_id": f"user-{number}",
            "stripe_customer_id": stripe_customer(number),
            "created_at": 0,
            "blocked": False,
            "version": 1,
            "published_version": 1,
            "sync_fence": 0,
            "applied_fence": 0,
        }
        for number in range(customers)
    ]
    ledger = await Ledger.open(url, deadline_s=60)
    try:
        async with ledger._database.writing() as connection:  # noqa: SLF001 - by the front door it takes minutes
            await connection.execute(insert(CUSTOMERS), rows)
    finally:
        await ledger.aclose()


async def _states(url: str) -> dict[str, str]:
    ledger = await Ledger.open(url, deadline_s=60)
    try:
        async with ledger._database.reading() as connection:  # noqa: SLF001 - all of it, whatever became of it
            found = (await connection.execute(select(INBOX.c.event_id, INBOX.c.status))).all()
        return {row.event_id: row.status for row in found}
    finally:
        await ledger.aclose()


async def _counts(url: str) -> Counter[str]:
    ledger = await Ledger.open(url, deadline_s=60)
    try:
        return Counter((await ledger.inbox_counts()).by_status)
    finally:
        await ledger.aclose()
