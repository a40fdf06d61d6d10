"""Somebody who works on a cluster while it is used: moves slots that have keys, and has replicas take over.

Each move is a real one: the slot is opened on both sides, its keys go over, the slot is given away. Each change of
master is one that was asked for (`CLUSTER FAILOVER`), which loses nothing: so counts must come out right through it.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from tests.fakes.valkey_cluster import ask

if TYPE_CHECKING:
    from collections import Counter

    from tests.fakes.port_server import PortServer
    from tests.fakes.valkey_cluster import ValkeyCluster

_PAUSE_S = 0.1
_TURNS_TO_A_FAIL_OVER = 9
_TAKEN_OVER_S = 5.0


class Disturber:
    """Of one cluster, which has replicas. `run` does not end by itself.

    Args:
        cluster: Whose.
        done: Counts what it has done.
        seed: Of what is moved where.
    """

    def __init__(self, cluster: ValkeyCluster, done: Counter[str], seed: int = 1) -> None:
        self._cluster = cluster
        self._done = done
        self._random = random.Random(seed)
        self._turns = 0

    async def run(self) -> None:
        """Disturb, again and again; what does not come off is let be."""
        while True:
            try:
                self._turns += 1
                if self._turns % _TURNS_TO_A_FAIL_OVER == 0:
                    await self._fail_over()
                else:
                    await self._move_a_slot()
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_S)
            await asyncio.sleep(_PAUSE_S)

    async def _move_a_slot(self) -> None:
        masters = [server for server in self._cluster.servers if await _role(server) == "master"]
        source, target = self._random.sample(masters, 2)
        key = await ask(source, "RANDOMKEY")
        if key is None:
            return
        slot = await ask(source, "CLUSTER", "KEYSLOT", key)
        await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self._cluster.ids[source.port])
        await ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self._cluster.ids[target.port])
        try:
            while keys := await ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
                await ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        finally:  # a slot that stays open would refuse the customers in it
            for server in (target, source):
                await ask(server, "CLUSTER", "SETSLOT", slot, "NODE", self._cluster.ids[target.port])
        self._done["moved slots"] += 1

    async def _fail_over(self) -> None:
        replicas = [server for server in self._cluster.servers if await _role(server) == "slave"]
        replica = self._random.choice(replicas)
        if (await replica.client.info("replication"))["master_link_status"] != "up":
            return
        await ask(replica, "CLUSTER", "FAILOVER")
        async with asyncio.timeout(_TAKEN_OVER_S):
            while await _role(replica) != "master":  # noqa: ASYNC110 - it waits for another process
                await asyncio.sleep(0.02)
        self._done["new masters"] += 1


async def _role(server: PortServer) -> Any:
    return (await ask(server, "ROLE"))[0]
