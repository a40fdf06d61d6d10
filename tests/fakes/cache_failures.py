"""The ways in which a cache fails, done to a real server: they begin, and end again, or happen at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.cli.ports import free_port
from tests.conftest import Parts
from tests.fakes.line import Line
from tests.fakes.snapshot_server import SnapshotServer
from tests.patience import SHORT_S

PASSWORD = "a-password-that-is-right"
"""Of the server's user `tiergate`."""


async def true_of(question: Callable[[], Awaitable[object]]) -> None:
    """Wait until something is so: another process brings it about."""
    async with asyncio.timeout(60):
        while not await question():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.01)


@dataclass
class World:
    """A gateway's parts, and the server that fails them."""

    parts: Parts
    server: SnapshotServer
    line: Line

    @property
    def raw(self) -> Redis:
        return self.server.client

    async def drop_connections(self) -> None:
        await self.raw.client_kill_filter(skipme=True)


class Slow:
    """It answers, after the deadline."""

    words = "took|longer"

    async def begin(self, world: World) -> None:
        world.line.slow_down(2 * SHORT_S)

    async def end(self, world: World) -> None:
        world.line.slow_down(0)


class Hanging:
    """Its process stands still."""

    words = "hangs"

    async def begin(self, world: World) -> None:
        os.kill(world.server.pid, signal.SIGSTOP)

    async def end(self, world: World) -> None:
        os.kill(world.server.pid, signal.SIGCONT)


class Restarting:
    """Its process is killed, and another one begins with its append-only file."""

    words = "closed the connection|Nobody listens|no such socket|hangs"

    async def begin(self, world: World) -> None:
        await world.server.kill()

    async def end(self, world: World) -> None:
        await world.server.start()


class Unreachable:
    """Nobody listens."""

    words = "Nobody listens"

    async def begin(self, world: World) -> None:
        await world.line.close()

    async def end(self, world: World) -> None:
        await world.line.open()


class CutMidReply:
    """The connection breaks within an answer."""

    words = "closed the connection"

    async def begin(self, world: World) -> None:
        world.line.cut_answers_after(3)

    async def end(self, world: World) -> None:
        world.line.hear()


class ReadOnly:
    """It has become a replica, of a primary that is not there."""

    words = "is a replica"

    async def begin(self, world: World) -> None:
        await world.raw.replicaof("127.0.0.1", str(free_port()))

    async def end(self, world: World) -> None:
        await world.raw.replicaof("NO", "ONE")


class ReplicaWithoutPrimary(ReadOnly):
    """The same, and it answers MASTERDOWN."""

    words = "lost its primary"

    async def begin(self, world: World) -> None:
        await world.raw.config_set("replica-serve-stale-data", "no")
        await super().begin(world)


class OutOfMemory:
    """It is full, and evicts nothing."""

    words = "memory is full"

    async def begin(self, world: World) -> None:
        await world.raw.config_set("maxmemory", "1")

    async def end(self, world: World) -> None:
        await world.raw.config_set("maxmemory", "0")


class BusyScript:
    """Somebody's script does not end."""

    words = "script does not end"

    async def begin(self, world: World) -> None:
        await world.raw.config_set("busy-reply-threshold", "10")
        self.client = Redis.from_url(world.server.url, socket_timeout=None)
        self.task = asyncio.create_task(self.client.eval("while true do end", 0))
        await true_of(lambda: _answers(world, "busy"))

    async def end(self, world: World) -> None:
        await world.raw.script_kill()
        with contextlib.suppress(RedisError):
            await self.task
        await self.client.aclose()


class DiskFull:
    """Its last snapshot could not be written, so it takes no writes (MISCONF)."""

    words = "to disk"

    async def begin(self, world: World) -> None:
        await world.raw.config_set("save", "3600 1")
        await world.raw.config_set("rdb-key-save-delay", "1000000")
        await world.raw.execute_command("BGSAVE")
        for child in _children_of(world.server.pid):
            os.kill(child, signal.SIGKILL)

        async def has_failed() -> bool:
            return (await world.raw.info("persistence"))["rdb_last_bgsave_status"] != "ok"

        await true_of(has_failed)

    async def end(self, world: World) -> None:
        await world.raw.config_set("save", "")


class NoPassword:
    """It begins to ask for a password that the gateway does not have (NOAUTH)."""

    words = "wants a password"

    async def begin(self, world: World) -> None:
        await world.raw.config_set("requirepass", PASSWORD)
        await world.raw.execute_command("AUTH", PASSWORD)
        await world.drop_connections()

    async def end(self, world: World) -> None:
        await world.raw.config_set("requirepass", "")


class WrongPassword:
    """The gateway's password is no longer right (WRONGPASS)."""

    words = "does not take this user"

    user = f"tiergate:{PASSWORD}@"

    async def begin(self, world: World) -> None:
        await world.raw.acl_setuser("tiergate", enabled=True, reset_passwords=True, passwords=["+another"])
        await world.drop_connections()

    async def end(self, world: World) -> None:
        await world.raw.acl_setuser("tiergate", enabled=True, reset_passwords=True, passwords=[f"+{PASSWORD}"])


class TooManyClients:
    """It takes no more connections."""

    words = "no more connections"

    async def begin(self, world: World) -> None:
        await world.raw.ping()
        await world.drop_connections()
        await world.raw.config_set("maxclients", "1")
        await world.drop_connections()

    async def end(self, world: World) -> None:
        await world.raw.config_set("maxclients", "1000")


class Loading:
    """It was killed, and takes its time to read what it has kept."""

    words = "reads its data"

    async def begin(self, world: World) -> None:
        for number in range(120):
            await world.raw.set(f"filler:{number}", "x" * 4000)
        await world.raw.bgrewriteaof()

        async def is_written() -> bool:
            return not (await world.raw.info("persistence"))["aof_rewrite_in_progress"]

        await true_of(is_written)
        await world.server.kill()
        slowly = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
        self.start = asyncio.create_task(world.server.start(*slowly))
        await true_of(lambda: _answers(world, "loading"))

    async def end(self, _world: World) -> None:
        await self.start


async def _answers(world: World, word: str) -> bool:
    """Whether the server refuses everything, with this word."""
    try:
        await world.raw.ping()
    except RedisError as error:
        return word in str(error).lower()
    return False


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


FAILURES = (
    Slow,
    Hanging,
    Restarting,
    Unreachable,
    CutMidReply,
    ReadOnly,
    ReplicaWithoutPrimary,
    OutOfMemory,
    BusyScript,
    DiskFull,
    NoPassword,
    WrongPassword,
    TooManyClients,
    Loading,
)


class Flushed:
    """FLUSHALL."""

    async def happen(self, world: World) -> None:
        await world.raw.flushall()


class ScriptsForgotten:
    """SCRIPT FLUSH."""

    async def happen(self, world: World) -> None:
        await world.raw.script_flush()


class FileCutShort:
    """Its append-only file lost its end in a power cut."""

    async def happen(self, world: World) -> None:
        await world.server.kill()
        (log,) = world.server.directory.glob("appendonlydir/*.incr.aof")
        os.truncate(log, log.stat().st_size * 9 // 10)
        await world.server.start()


class FileGone:
    """It was started anew on an empty disk."""

    async def happen(self, world: World) -> None:
        await world.server.kill()
        shutil.rmtree(world.server.directory / "appendonlydir")
        await world.server.start()


class StaleReplica:
    """A fail-over to a replica that was behind, under a connection that goes on."""

    async def prepare(self, world: World) -> None:
        await world.raw.save()
        (world.server.directory / "behind").mkdir()
        shutil.copy(world.server.directory / "dump.rdb", world.server.directory / "behind")

    async def happen(self, world: World) -> None:
        port = free_port()
        async with SnapshotServer(world.server.directory / "behind") as behind:
            await behind.listen(port)
            await world.server.become_copy_of(port)


LOSSES = (Flushed, ScriptsForgotten, FileCutShort, FileGone, StaleReplica)
