"""One customer, one quota, several workers that are killed in between: does the count end exactly at the limit?

    the cache's counter  ==  the limit  ==  what the ledger has at the end
    answered with 200    ==  passed on to the API, less what died with a worker
    passed on to the API  <=  the limit; the rest was charged by workers that were killed before they passed it on

A killed worker can take with it the charges of the calls it had in progress, one on each of its connections, and the
units it had leased. Nothing else may be missing, and nothing at all if none was killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import psutil

from gateway.cache.keyspace import use_key
from tests.accuracy.callers import Callers
from tests.accuracy.upstream import CountingApi
from tests.fakes.gateway_process import Gateway, running_gateway
from tests.fakes.raw import open_raw

_CONNECTIONS = 64
_LOOK_S = 0.5
_STILL_S = 5.0
"""Callers are answered, and nothing was passed on for so long: all that was left has been spent."""
_DEAD_S = 90.0
"""The same, whatever callers are answered: a worker needs up to 20 s to start on a busy machine."""
_SETTLED_S = 60.0
_LEASED_S = 2 * 0.5
"""A worker holds a lease and the one after it, each for `TIERGATE_LEASE_TTL_MS`, which is 500 unless set."""
_PACE_SHARE = 0.7
"""Of the time, in which the quota is used up at the pace that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is to be done."""

    seconds: float
    """For so long, at least, callers call and workers die."""
    settings: tuple[tuple[str, str], ...] = ()
    workers: int = 4
    pace: float = 1500.0
    kill_every_s: float | None = 10.0
    """None: nobody is killed."""

    @property
    def limit(self) -> int:
        """The quota: used up well before the end."""
        return int(self.seconds * self.pace * _PACE_SHARE)

    @property
    def most_lost_each(self) -> int:
        """Units that may die with one worker: a call on each connection, and what it holds in leases."""
        is_leased = dict(self.settings).get("TIERGATE_LEASES") == "on"
        return _CONNECTIONS + int(self.pace / self.workers * _LEASED_S) * is_leased


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How it ended."""

    limit: int
    counted: int
    """In the cache."""
    settled: int
    """In the ledger."""
    passed_on: int
    """Requests that the API has seen."""
    answered: int
    """With 200."""
    refused: int
    """With 429."""
    other: dict[int, int]
    """Other answers, by status."""
    lost: int
    """Requests whose connection broke before an answer."""
    killed: int
    """Workers."""
    most_lost_each: int
    """Units that may have died with each of them."""

    def faults(self) -> list[str]:
        """What is not as it should be, in words."""
        found = []
        if self.counted != self.limit:
            found.append(f"the cache has counted {self.counted:,} of a limit of {self.limit:,}")
        if self.settled != self.limit:
            found.append(f"the ledger holds {self.settled:,} of a limit of {self.limit:,}")
        if self.passed_on > self.limit:
            found.append(f"{self.passed_on:,} calls were let through, {self.passed_on - self.limit:,} too many")
        if self.limit - self.passed_on > self.killed * self.most_lost_each:
            found.append(f"{self.limit - self.passed_on:,} units are gone, with {self.killed} workers killed")
        if not self.killed and (self.answered, self.lost) != (self.limit, 0):
            found.append(f"{self.answered:,} were answered and {self.lost:,} lost although no worker was killed")
        if not self.refused:
            found.append("nobody was refused: the limit was never reached")
        return found


async def run_trial(trial: Trial, tell: Callable[[str], None]) -> Verdict:
    """Start everything, let it run, and look at the counts at the end.

    Args:
        trial: What is to be done.
        tell: Called with a line about the progress, now and then.
    """
    api = CountingApi()
    await api.start()
    policy = (
        "version: 1\ndefault_tier: plain\ntiers:\n  plain:\n    limits:\n"
        f"      - {trial.limit} requests per billing period\n      - 1_000_000 per second burst 1_000_000\n"
        "plans: {}\nroutes:\n  - match: '* /v1/**'\n"
    )
    rig = running_gateway(api.port, policy=policy, workers=trial.workers, settings=dict(trial.settings))
    gateway = await asyncio.to_thread(rig.__enter__)
    try:
        callers = Callers(gateway.port, gateway.key, connections=_CONNECTIONS, pace=trial.pace)
        callers.start()
        killed = await _let_run(trial, gateway, (api, callers), tell)
        await callers.stop()
        counted = await _counted(gateway)
        settled = await _settled(gateway, counted)
    finally:
        await asyncio.to_thread(rig.__exit__, None, None, None)
        await api.stop()
    others = {status: count for status, count in callers.answers.items() if status not in {200, 429}}
    return Verdict(
        limit=trial.limit,
        counted=counted,
        settled=settled,
        passed_on=api.requests,
        answered=callers.answers[200],
        refused=callers.answers[429],
        other=others,
        lost=callers.lost,
        killed=killed,
        most_lost_each=trial.most_lost_each,
    )


async def _let_run(
    trial: Trial, gateway: Gateway, ends: tuple[CountingApi, Callers], tell: Callable[[str], None]
) -> int:
    """Until the time is over and everybody is refused. Returns how many workers were killed."""
    api, callers = ends
    loop, chance = asyncio.get_running_loop(), random.Random(1)
    began_at = moved_at = told_at = loop.time()
    kill_at = began_at + trial.kill_every_s if trial.kill_every_s is not None else None
    killed, seen, is_spent = 0, -1, False
    while loop.time() < began_at + trial.seconds or not is_spent:
        refused = callers.answers[429]
        await asyncio.sleep(_LOOK_S)
        now = loop.time()
        if api.requests != seen:
            seen, moved_at = api.requests, now
        is_refusing = callers.answers[429] > refused  # else it is the workers that are missing, not the units
        is_spent = now >= moved_at + (_STILL_S if is_refusing else _DEAD_S)
        if kill_at is not None and trial.kill_every_s is not None and kill_at <= now < began_at + trial.seconds:
            killed += _kill_one(gateway, chance)
            kill_at = now + trial.kill_every_s
        if now >= told_at:
            told_at = now + 10
            tell(f"{now - began_at:5.0f} s: {seen:,} of {trial.limit:,} passed on, {killed} workers killed")
    return killed


def _kill_one(gateway: Gateway, chance: random.Random) -> int:
    """Kill a worker as a machine would that fails."""
    workers = [child for child in psutil.Process(gateway.process.pid).children() if "spawn_main" in _words(child)]
    if not workers:
        return 0
    os.kill(chance.choice(workers).pid, signal.SIGKILL)
    return 1


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


async def _counted(gateway: Gateway) -> int:
    async with open_raw(gateway.cache_url, decode_responses=False) as client:
        fields = await client.hgetall(use_key(gateway.customer_id))
    return sum(int(value.rpartition(b"|")[2]) for name, value in fields.items() if name.startswith(b"q:"))


async def _settled(gateway: Gateway, counted: int) -> int:
    """What the ledger holds, once it has what the cache has, or has had the time for it."""
    deadline = asyncio.get_running_loop().time() + _SETTLED_S
    while True:
        with closing(sqlite3.connect(f"file:{gateway.ledger_file}?mode=ro", uri=True, timeout=30)) as ledger:
            totals = "SELECT coalesce(sum(used), 0) FROM usage_totals WHERE customer_id = ?"
            held: int = ledger.execute(totals, (gateway.customer_id,)).fetchone()[0]
        if held == counted or asyncio.get_running_loop().time() > deadline:
            return held
        await asyncio.sleep(_LOOK_S)
