"""The candidates of a run, in the order of the tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial

from benchmarks import peers
from benchmarks.candidate import (
    CADDY,
    DIRECT,
    ENVOY,
    NGINX,
    NGINX_LUA,
    OURS_EXACT,
    OURS_LEASED,
    OURS_MANY,
    OURS_PLAIN,
    Candidate,
    Running,
)
from benchmarks.ground import Ground
from benchmarks.ours import Shape, ours
from benchmarks.processes import NotMeasured

MANY = 10_000

CANDIDATES = (
    Candidate(name=DIRECT, note="the API itself, without a gateway", start=peers.direct),
    Candidate(name=NGINX, note="plain proxy, no policy", start=peers.nginx),
    Candidate(
        name=NGINX_LUA,
        note="per request one EVALSHA of our own charge script: account, 2 rates, 1 quota; one key",
        start=peers.nginx_lua,
    ),
    Candidate(name=ENVOY, note="plain proxy, no policy", start=peers.envoy),
    Candidate(name=CADDY, note="plain proxy, no policy", start=peers.caddy),
    Candidate(
        name=OURS_PLAIN,
        note="an unlimited tier: the key is checked on every request, in the cache too; nothing is counted",
        start=partial(ours, shape=Shape(policy="unlimited")),
    ),
    Candidate(
        name=OURS_EXACT,
        note="full enforcement: key, 2 rates, 1 quota, exact on every request; one key",
        start=partial(ours, shape=Shape()),
    ),
    Candidate(
        name=OURS_LEASED,
        note="as exact, but most calls are let through by leases that were charged before",
        start=partial(ours, shape=Shape(settings=(("TIERGATE_LEASES", "on"),))),
    ),
    Candidate(
        name=OURS_MANY,
        note=f"as exact, {MANY:,} customers with one key each, in turn",
        start=partial(ours, shape=Shape(customers=MANY)),
    ),
)


def start_all(
    stack: ExitStack, ground: Ground, upstream: int, names: Iterable[str]
) -> tuple[dict[str, Running], dict[str, str]]:
    """Start candidates; they stop when the stack does.

    Returns:
        Those that serve, and why the others do not, by name.
    """
    started, faults = {}, {}
    wanted = set(names)
    for candidate in CANDIDATES:
        if candidate.name not in wanted:
            continue
        try:
            started[candidate.name] = stack.enter_context(candidate.start(ground, upstream))
            print(f"started: {candidate.name}", file=sys.stderr, flush=True)
        except NotMeasured as fault:
            faults[candidate.name] = str(fault)
            print(f"not measured: {candidate.name}: {fault}", file=sys.stderr, flush=True)
    return started, faults
