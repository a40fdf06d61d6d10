"""Added latency and CPU per request of full enforcement, against the API called directly.

One run alternates rounds of both, with the same load generator, the same upstream and the
same number of connections, and prints medians. Ratios hold when the machine's speed drifts;
single absolute figures do not.

    make bench
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass

import httpx
import psutil

from gateway.cli.house import House, temporary_house_directory

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "4000"))
CONNECTIONS = 16
POLICY = """\
version: 1
default_tier: bench
tiers:
  bench:
    limits:
      - 1_000_000 per second burst 1_000_000
      - 50_000_000 per minute burst 50_000_000
      - 1_000_000_000 requests per billing period
plans: {}
routes:
  - match: "* /v1/**"
"""


@dataclass(frozen=True)
class Round:
    """Figures of one round."""

    p50_us: float
    p99_us: float
    per_s: float
    cpu_us: float


def process_tree(root: int) -> list[psutil.Process]:
    """A process and everything below it."""
    process = psutil.Process(root)
    return [process, *process.children(recursive=True)]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time that these processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def megabytes(processes: list[psutil.Process]) -> float:
    """Memory that is theirs alone, and their share of what is shared."""
    facts = [process.memory_full_info() for process in processes]
    return sum(getattr(fact, "pss", fact.uss) for fact in facts) / 1e6  # pss: Linux only


async def caller(host: str, port: int, request: bytes, count: int, taken_us: list[float]) -> None:
    """One keep-alive connection that sends `count` requests, one after the other."""
    reader, writer = await asyncio.open_connection(host, port)
    for _ in range(count):
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {head[:200]!r}")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        taken_us.append((time.perf_counter() - started) * 1e6)
    writer.close()


async def play(url: str, headers: str, processes: list[psutil.Process], connections: int) -> Round:
    """One round of load on one address."""
    parts = httpx.URL(url)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()
    taken_us: list[float] = []
    cpu, started = cpu_seconds(processes), time.perf_counter()
    each = REQUESTS // connections
    await asyncio.gather(*(caller(parts.host, parts.port or 80, request, each, taken_us) for _ in range(connections)))
    wall = time.perf_counter() - started
    cpu = cpu_seconds(processes) - cpu
    taken_us.sort()
    return Round(
        p50_us=statistics.median(taken_us),
        p99_us=taken_us[int(len(taken_us) * 0.99)],
        per_s=len(taken_us) / wall,
        cpu_us=cpu / len(taken_us) * 1e6,
    )


def key_of(house: House) -> str:
    """A fresh customer's key."""
    admin = {"authorization": f"Bearer {house.admin_token}"}
    customer = httpx.post(f"{house.url}/_tiergate/admin/customers", json={"user_id": "bench"}, headers=admin).json()
    keys = f"{house.url}/_tiergate/admin/customers/{customer['customer_id']}/keys"
    return str(httpx.post(keys, json={"name": "bench"}, headers=admin).json()["key"])


def show(name: str, rounds: list[Round]) -> None:
    """One row of the table."""
    median = {f: statistics.median(getattr(r, f) for r in rounds) for f in ("p50_us", "p99_us", "per_s", "cpu_us")}
    print(f"{name:34} {median['p50_us']:9.0f} {median['p99_us']:9.0f} {median['per_s']:9.0f} {median['cpu_us']:9.0f}")


def main() -> None:
    """Print the table."""
    with temporary_house_directory() as directory:
        policies = directory / "policies"
        policies.mkdir()
        (policies / "bench.yaml").write_text(POLICY)
        house = House(directory, policy_dir=policies, settings={"TIERGATE_DECISION_LOG": "denied"})
        started = time.perf_counter()
        house.start()
        print(f"everything started in {time.perf_counter() - started:.2f} s", file=sys.stderr)
        try:
            key = key_of(house)
            gateway = process_tree(house.pids()["gateway"])
            upstream = process_tree(house.pids()["sandbox"])
            print(
                f"{'(medians of ' + str(ROUNDS) + ' rounds)':34} {'p50 us':>9} {'p99 us':>9} {'req/s':>9} {'cpu us':>9}"
            )
            for connections in (1, CONNECTIONS):
                direct, gated = [], []
                for number in range(ROUNDS + 1):
                    a = asyncio.run(play(f"{house.upstream_url}/v1/echo", "", upstream, connections))
                    b = asyncio.run(play(f"{house.url}/v1/echo", f"x-api-key: {key}\r\n", gateway, connections))
                    if number:  # the first round warms up
                        direct.append(a)
                        gated.append(b)
                show(f"direct, {connections} connections", direct)
                show(f"gateway, {connections} connections", gated)
            for process in [*gateway, *upstream]:
                print(f"{process.name():34} {megabytes([process]):9.1f} MB")
            print(f"{'all of the demo':34} {megabytes([*gateway, *upstream]):9.1f} MB")
        finally:
            house.stop()


if __name__ == "__main__":
    main()
